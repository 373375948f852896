"""`qmon wireshark`: a netdev live in Wireshark."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from qmon.cli import output, recording
from qmon.cli.completing import complete_netdev
from qmon.cli.context import Context
from qmon.cli.limit import limit_option
from qmon.errors import ExitCode

if TYPE_CHECKING:
    from qmon.export.live import Wanted
    from qmon.export.record import Totals
    from qmon.export.wireshark import Wireshark
    from qmon.packets.filters.selector import Selector


@click.command(
    epilog="\b\nExamples:\n  qmon wireshark --netdev u1\n  qmon --vm web wireshark --all not port 22",
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
    "-s",
    "snaplen",
    type=click.IntRange(1, 262_144),
    default=262_144,
    metavar="LEN",
    help="Keep LEN bytes of each.",
)
@limit_option
@click.argument("words", nargs=-1, metavar="[FILTER]")
@click.pass_obj
def wireshark(
    context: Context,
    netdevs: tuple[str, ...],
    every: bool,
    snaplen: int,
    limit_bytes: int | None,
    words: tuple[str, ...],
) -> int:
    """Start Wireshark on the live packets of a netdev.

    Trailing words are a filter in the language of tcpdump. The capture ends when Wireshark is closed, the VM ends,
    or with Ctrl-C, which leaves Wireshark open with what it has.
    """
    from qmon.capture.vm import LIMIT_BYTES, CaptureOptions
    from qmon.export.live import Wanted

    chosen = recording.filter_of(words, command="" if netdevs or every else "wireshark")
    options = CaptureOptions(snaplen=snaplen, limit_bytes=limit_bytes or LIMIT_BYTES)
    wanted = Wanted(context.targets(), netdevs, all=every, options=options)
    return output.run(_wireshark(wanted, chosen))


async def _wireshark(wanted: Wanted, chosen: Selector | None) -> int:
    from qmon.export.capture_file import FileOptions, open_file
    from qmon.export.live import open_live
    from qmon.export.record import record
    from qmon.export.wireshark import Wireshark

    program = Wireshark()
    async with open_live(wanted, output.talk) as live:
        with program:
            options = FileOptions((live.comment,), live.names, wanted.options.snaplen)
            sink = await open_file("-", stdout=program.descriptor, options=options)
            program.end_of_stream()
            output.talk(f"{', '.join(live.tapped)} in Wireshark; Ctrl-C ends the capture")
            totals = await record(live.sources, sink, filter=chosen, on_note=recording.say_note)
            return _close(program, totals)


def _close(program: Wireshark, totals: Totals) -> int:
    if not totals.written and (failure := program.failure()) is not None:
        raise failure
    return recording.close(totals) if totals.error else ExitCode.DONE
