"""`qmon dump`: a netdev's packets, as lines or as a file.

Owns the spelling of the options. Must never hold what a capture is: `export.live` and `export.record` do the work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from qmon.cli import output
from qmon.cli.context import Context
from qmon.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from qmon.export.capture_file import Output
    from qmon.export.live import Live, Wanted
    from qmon.export.record import Filter, Stop, Totals
    from qmon.packets.batch import Note


@dataclass(frozen=True, slots=True)
class _Asked:
    """The options that say where frames go."""

    file: str | None
    form: str | None
    lines: str
    snaplen: int
    limits: tuple[str, ...]
    ring: tuple[str, ...]
    count: int | None
    notes: bool


@click.command()
@click.option(
    "--netdev", "netdevs", multiple=True, metavar="ID", help="Which netdev; repeats. With several VMs: VM/ID."
)
@click.option("--all", "every", is_flag=True, help="Every netdev, and those that are plugged in later.")
@click.option("-w", "file", metavar="FILE", help="Write a capture file; - is standard output.")
@click.option("-F", "form", type=click.Choice(["pcap", "pcapng"]), help="Its format. Default: by the suffix.")
@click.option("-c", "count", type=click.IntRange(min=1), metavar="N", help="End after N packets.")
@click.option(
    "-s",
    "snaplen",
    type=click.IntRange(min=1, max=262_144),
    default=262_144,
    metavar="LEN",
    help="Keep LEN bytes of each.",
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
@click.option("--no-events", is_flag=True, help="Leave the VM's events and other changes out of the file.")
@click.option("--raw-time", is_flag=True, help="Keep QEMU's own stamps instead of the host's time.")
@click.option(
    "--sweep", is_flag=True, help="Remove filters that qmons of other hosts or containers left, too."
)
@output.stream_option
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
    no_events: bool,
    raw_time: bool,
    sweep: bool,
    output: str,
    words: tuple[str, ...],
) -> int:
    """Capture packets of a netdev: a line each, or with -w a file.

    Trailing words are a filter in the language of tcpdump. The VM is left as it was, however this ends.
    """
    from qmon.cli import output as out
    from qmon.export.live import Wanted

    asked = _Asked(file, form, output, snaplen, limits, ring, count, not no_events)
    wanted = Wanted(
        context.targets(),
        netdevs,
        all=every,
        snaplen=snaplen,
        raw_time=raw_time,
        events=not no_events,
        sweep_foreign=sweep,
    )
    return out.run(_dump(wanted, asked, words))


async def _dump(wanted: Wanted, asked: _Asked, words: Sequence[str]) -> int:
    from qmon.export.live import open_live
    from qmon.export.record import record

    stop = _stop(asked)
    chosen = _filter(words)
    async with open_live(wanted, output.talk) as live:
        _check_format(asked, wanted, live)
        sink = await _open(asked, live)
        output.talk(f"capturing {', '.join(live.tapped)}; Ctrl-C ends it")
        totals = await record(
            live.sources, sink, filter=chosen, stop=stop, notes=asked.notes, on_note=_say_gap
        )
    return _close(totals)


def _close(totals: Totals) -> int:
    output.talk(totals.line())
    if totals.error is not None:
        output.error(totals.error.message, totals.error.hint)
        return ExitCode.FAILED
    return ExitCode.DONE


def _say_gap(note: Note) -> None:
    if note.kind in ("gap", "change", "monitor"):
        output.talk(f"qmon: {note.text}")


def _filter(words: Sequence[str]) -> Filter | None:
    expression = " ".join(words).strip()
    if not expression:
        return None
    from qmon.packets.capture_filter import compile_filter

    return compile_filter(expression)


def _stop(asked: _Asked) -> Stop:
    from qmon.export.record import Stop

    packets, seconds, kilobytes = asked.count, None, None
    for limit in asked.limits:
        what, number = _pair(limit, "-a", ("duration", "filesize", "packets"))
        if what == "duration":
            seconds = number
        elif what == "filesize":
            if asked.file is None:
                raise UsageError("-a filesize:KB needs a file: -w FILE")
            kilobytes = int(number)
        else:
            packets = int(number)
    return Stop(packets, seconds, kilobytes)


def _pair(text: str, option: str, names: Sequence[str]) -> tuple[str, float]:
    """Read `what:number`."""
    what, colon, number = text.partition(":")
    try:
        value = float(number) if what in ("duration", "interval") else int(number)
    except ValueError:
        value = 0
    if not colon or what not in names or value <= 0:
        raise UsageError(f"{option} {text} is not understood", hint=f"It takes {':N, '.join(names)}:N.")
    return what, value


def _check_format(asked: _Asked, wanted: Wanted, live: Live) -> None:
    from qmon.export.capture_file import PCAP, format_of

    if asked.file is None or format_of(asked.file, asked.form) != PCAP:
        return
    if len(live.tapped) > 1 or wanted.all:
        raise UsageError(
            "the pcap format has room for one netdev only",
            hint="Write pcapng: another suffix than .pcap, or -F pcapng.",
        )


async def _open(asked: _Asked, live: Live) -> Output:
    from qmon.export.capture_file import FileOptions, open_file

    if asked.file is None:
        from qmon.export.lines import LineOutput

        return LineOutput(output.packet_line if asked.lines == "text" else output.packet_record, output.flush)
    stdout = output.binary_stdout().fileno() if asked.file == "-" else None
    options = FileOptions(live.comment, live.names, asked.snaplen)
    return await open_file(asked.file, stdout=stdout, form=asked.form, options=options)
