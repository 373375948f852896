"""`qmon send`: frames put on a VM's wire: a capture replayed, bytes, or scapy's packets."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING

import click

from qmon.cli import output as out
from qmon.cli.asking import leave, netdev_option
from qmon.cli.context import Context
from qmon.errors import UsageError

if TYPE_CHECKING:
    from qmon.wire.sending import Timed

_PROGRESS_EVERY = 1000


@dataclass(frozen=True, slots=True)
class _Asked:
    netdev: str | None
    toward: str
    file: str | None
    words: tuple[str, ...]
    hex: tuple[str, ...]
    scapy: str | None
    exchange: tuple[str, ...]
    speed: float | None
    pps: float | None
    loop: int
    yes: bool


@click.command(
    epilog="This command sends what it is given, exactly: from whichever address the frames say. Captures by qmon mark "
    "them as sent by it.\n\n\b\nExamples:\n  qmon send -r trace.pcapng arp\n"
    "  qmon send -r trace.pcapng --map 10.0.2.15=10.0.2.16 --pps 1000\n"
    "  qmon send --hex 'ffffffffffff 02716d000001 0806 …'\n"
    '  qmon send --scapy \'Ether(dst="52:54:00:12:34:56")/fuzz(IP(dst="10.0.2.15")/UDP())\' --loop 100'
)
@netdev_option
@click.option("-r", "file", metavar="FILE", help="Send the frames of a capture file; - is standard input.")
@click.option("--hex", "hexes", multiple=True, metavar="BYTES", help="Send these bytes; repeats.")
@click.option("--scapy", "expression", metavar="EXPR", help="Send what an expression of scapy gives.")
@click.option(
    "--toward",
    type=click.Choice(["guest", "network"]),
    default="guest",
    show_default=True,
    help="To the guest as from its network, or to the network as from the guest.",
)
@click.option(
    "--speed", type=click.FloatRange(min=0.001), metavar="X", help="X times as fast as in the capture."
)
@click.option("--pps", type=click.FloatRange(min=0.01), metavar="N", help="N frames a second.")
@click.option("--topspeed", is_flag=True, help="As fast as QEMU takes them.")
@click.option("--loop", type=click.IntRange(min=1), default=1, metavar="N", help="All of it N times.")
@click.option(
    "--map", "exchange", multiple=True, metavar="OLD=NEW", help="Exchange a MAC or an IP address; repeats."
)
@click.option(
    "--yes", is_flag=True, help="Send toward a network where other machines may be, without asking first."
)
@click.argument("words", nargs=-1, metavar="[FILTER]")
@click.pass_obj
def send(
    context: Context,
    *,
    netdev: str | None,
    file: str | None,
    hexes: tuple[str, ...],
    expression: str | None,
    toward: str,
    speed: float | None,
    pps: float | None,
    topspeed: bool,
    loop: int,
    exchange: tuple[str, ...],
    yes: bool,
    words: tuple[str, ...],
) -> None:
    """Put frames on a VM's wire, toward the guest or toward its network.

    With -r, trailing words choose among the frames of the file, in the language of tcpdump. Without --speed, --pps or
    --topspeed frames go in the capture's own rhythm, at most 100 a second.
    """
    if sum(bool(one) for one in (file, hexes, expression)) != 1:
        raise UsageError("what shall be sent?", hint="Give one of -r FILE, --hex BYTES, --scapy EXPR.")
    if sum((speed is not None, pps is not None, topspeed)) > 1:
        raise UsageError("--speed, --pps and --topspeed are three ways to say how fast: give one of them")
    if words and not file:
        raise UsageError("a filter chooses among the frames of a file: give -r FILE")
    from qmon.wire.wire import PPS

    rate = pps if pps is not None else None if topspeed or speed is not None else PPS
    rhythm = None if topspeed or pps is not None else speed or 1.0
    asked = _Asked(netdev, toward, file, words, hexes, expression, exchange, rhythm, rate, loop, yes)
    count = out.run(_send(context, asked))
    out.talk(f"{count} frames sent toward the {toward}")


async def _send(context: Context, asked: _Asked) -> int:
    from qmon.wire.injection import Toward
    from qmon.wire.opening import open_place
    from qmon.wire.sending import Pace, parse_map, send_frames

    exchange = parse_map(asked.exchange)
    if asked.scapy is not None:
        import_module("scapy.all")  # Whole, and before a part of it is loaded.
    toward, sent = Toward(asked.toward), 0
    async with open_place(context.target(), asked.netdev, pps=asked.pps, may_send=leave(asked.yes)) as place:
        if toward is Toward.NETWORK:
            await place.allow_network("May qmon send frames there?")
        for number in range(asked.loop):
            frames = _frames(asked, exchange, number)
            sent += await send_frames(place.wire, toward, frames, Pace(asked.speed), partial(_progress, sent))
    return sent


def _progress(before: int, more: int) -> None:
    count = before + more
    if count % _PROGRESS_EVERY == 0 and sys.stderr.isatty():
        out.talk(f"{count} frames sent")


def _frames(asked: _Asked, exchange: dict[str, str], number: int) -> Iterator[Timed]:
    from qmon.wire.sending import Timed, evaluate, mapped, parse_hex

    if asked.file is not None:
        if asked.file == "-" and number:
            raise UsageError("standard input can be sent once: --loop wants a file")
        found = _of_file(asked.file, asked.words)
    elif asked.scapy is not None:
        names = vars(import_module("scapy.all"))
        found = (Timed(frame) for frame in evaluate(asked.scapy, names))
    else:
        found = (Timed(parse_hex(text)) for text in asked.hex)
    return (Timed(mapped(one.frame, exchange), one.time_ns) for one in found)


def _of_file(path: str, words: Sequence[str]) -> Iterator[Timed]:
    from qmon.packets.batch import ETHERNET
    from qmon.packets.files.source import CaptureFile
    from qmon.packets.filters.words import selector_of
    from qmon.wire.sending import Timed

    chosen, left_out = selector_of(words), 0
    with CaptureFile(path) as file:
        while (batch := file.read_batch()) is not None:
            if chosen is not None:
                batch = batch.select(chosen.mask(batch, file.interfaces))
            for row in range(len(batch)):
                whole = batch.captured[row] == batch.length[row]
                if not whole or file.interfaces[int(batch.interface[row])].link_type != ETHERNET:
                    left_out += 1
                    continue
                yield Timed(bytes(batch.frame(row)), int(batch.time_ns[row]))
    if left_out:
        out.talk(f"qmon: {left_out} frames were not sent: they are cut off, or no Ethernet")
