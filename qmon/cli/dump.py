"""`qmon dump`: a netdev's packets, as lines or as a file.

Owns the spelling of the options. Must never hold what a capture is: `export.live` and `export.record` do the work.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from qmon.cli import output, recording
from qmon.cli.completing import complete_file, complete_netdev
from qmon.cli.context import Context
from qmon.cli.display_option import display_option
from qmon.cli.dump_output import Asked, check, check_words, open_output, stop_of
from qmon.cli.limit import limit_option
from qmon.cli.line_options import line_options
from qmon.errors import UsageError

if TYPE_CHECKING:
    from qmon.export.live import Wanted
    from qmon.packets.line_text import Style


@click.command(
    epilog="Flags are tcpdump's where it has them: -i -n -e -v -q -t -x -X -A -c -s -w -C -G -W -l.\n\n\b\nExamples:\n"
    "  qmon dump -i u1 port 53\n"
    "  qmon dump -i u1 -w trace.pcapng\n"
    "  qmon dump --all -w - | wireshark -k -i -\n"
    "  qmon dump -i u1 -w ring.pcapng -b filesize:10000 -b files:5",
)
@click.option(
    "-i",
    "--netdev",
    "netdevs",
    multiple=True,
    metavar="ID",
    shell_complete=complete_netdev,
    help="Which netdev; repeats. With several VMs: VM/ID.",
)
@click.option("--all", "every", is_flag=True, help="Every netdev, and those that are plugged in later.")
@click.option(
    "-w",
    "file",
    metavar="FILE",
    shell_complete=complete_file,
    help="Write a capture file; - is standard output.",
)
@click.option("-F", "form", type=click.Choice(["pcap", "pcapng"]), help="Its format. Default: by the suffix.")
@click.option("-c", "count", type=click.IntRange(min=1), metavar="N", help="End after N packets.")
@click.option(
    "-s",
    "snaplen",
    type=click.IntRange(min=0, max=262_144),
    default=0,
    metavar="LEN",
    help="Keep LEN bytes of each; 0 keeps all.",
)
@click.option(
    "-a", "limits", multiple=True, metavar="WHAT:N", help="End after duration:S, filesize:KB or packets:N."
)
@click.option(
    "-b",
    "ring",
    multiple=True,
    metavar="WHAT:N",
    help="Next file after filesize:KB, duration:S, …; files:N keeps the last N.",
)
@click.option(
    "-C", "megabytes", type=click.IntRange(min=1), metavar="MB", help="Next file after MB, as tcpdump."
)
@click.option(
    "-G",
    "every_s",
    type=click.IntRange(min=1),
    metavar="S",
    help="Next file after S seconds; % in FILE is as of strftime.",
)
@click.option(
    "-W",
    "files",
    type=click.IntRange(min=1),
    metavar="N",
    help="With -C keep N files in turn; with -G end after N.",
)
@click.option(
    "--flight-recorder",
    "recorder",
    metavar="SPAN",
    help="Keep the last SPAN (30s, 64MB) in memory; write it on SIGUSR1, Enter, RESET, panic, watchdog.",
)
@click.option(
    "--events",
    type=click.Choice(["journal", "comment", "none"]),
    default="journal",
    show_default=True,
    help="The VM's events and other changes in a pcapng file: journal entries, comments on the next packet, none.",
)
@click.option("--no-events", is_flag=True, help="The same as --events none.")
@click.option("--raw-time", is_flag=True, help="Keep QEMU's own stamps instead of the host's time.")
@click.option(
    "--sweep", is_flag=True, help="Remove filters that qmons of other hosts or containers left, too."
)
@click.option(
    "--remote-mirror",
    is_flag=True,
    help="For a monitor on another host: mirror over TCP. A slow network can then hold the VM up.",
)
@click.option(
    "--sink-dir",
    "sink_dir",
    type=click.Path(file_okay=False, exists=True),
    metavar="DIR",
    help="Have QEMU write to a file in DIR, which is deleted at the end. If qmon is killed, QEMU writes on.",
)
@limit_option
@display_option
@line_options
@output.stream_option
@recording.no_file_option
@click.argument("words", nargs=-1, metavar="[FILTER]")
@click.pass_obj
def dump(
    context: Context,
    *,
    netdevs: tuple[str, ...],
    every: bool,
    file: str | None,
    form: str | None,
    count: int | None,
    snaplen: int,
    limits: tuple[str, ...],
    ring: tuple[str, ...],
    megabytes: int | None,
    every_s: int | None,
    files: int | None,
    recorder: str | None,
    events: str,
    no_events: bool,
    raw_time: bool,
    sweep: bool,
    remote_mirror: bool,
    sink_dir: str | None,
    limit_bytes: int | None,
    display: str,
    style: Style,
    output: str,
    words: tuple[str, ...],
) -> int:
    """Capture packets of a netdev: a line each, or with -w a file.

    Trailing words are a filter in the language of tcpdump, -Y takes one in Wireshark's. The VM is left
    as it was, however this ends.
    """
    from qmon.capture.vm import LIMIT_BYTES, CaptureOptions
    from qmon.cli import output as out
    from qmon.export.live import Wanted
    from qmon.packets.batch import DEFAULT_SNAPLEN

    if remote_mirror and sink_dir is not None:
        raise UsageError("--remote-mirror and --sink-dir are two ways to one end: give one of them")
    if file is not None and output == "jsonl":
        raise UsageError("-w writes a capture file and -o jsonl prints lines: give one of them")
    notes = "none" if no_events else events
    snaplen = snaplen or DEFAULT_SNAPLEN
    asked = Asked(
        file, form, output, style, snaplen, count, notes, limits, ring, megabytes, every_s, files, recorder
    )
    options = CaptureOptions(
        snaplen=snaplen,
        limit_bytes=limit_bytes or LIMIT_BYTES,
        raw_time=raw_time,
        events=notes != "none" or recorder is not None,
        sweep_foreign=sweep,
        remote_mirror=remote_mirror,
        sink_folder=Path(sink_dir) if sink_dir else None,
    )
    wanted = Wanted(context.targets(), netdevs, all=every, options=options)
    return out.run(_dump(wanted, asked, words, display))


async def _dump(wanted: Wanted, asked: Asked, words: Sequence[str], display: str) -> int:
    from qmon.export.live import open_live
    from qmon.export.record import record
    from qmon.packets.filters.words import both_of, display_filter

    stop = stop_of(asked)
    check_words(asked)
    captured = recording.filter_of(words, command="" if wanted.netdevs or wanted.all else "dump")
    chosen = both_of(display_filter(display), captured)
    async with open_live(wanted, output.talk) as live:
        check(asked, several=len(live.tapped) > 1 or wanted.all)
        sink = await open_output(asked, live)
        output.talk(f"capturing {', '.join(live.tapped)}; Ctrl-C ends it")
        totals = await record(
            live.sources,
            sink,
            filter=chosen,
            stop=stop,
            notes=asked.notes != "none" or asked.recorder is not None,
            on_note=recording.say_note,
        )
    return recording.close(totals)
