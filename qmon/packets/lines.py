"""The facts of one packet that is to be printed.

`line_text` words them for people, in the style that was asked for; `line_batches` words whole batches in the usual
style, and as records for programs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from qmon.packets.analysis.segments import TcpColumns
from qmon.packets.batch import Direction, FrameBatch, Interface

_DIRECTIONS = tuple(Direction)
DIRECTION_NAME = {Direction.IN: "in", Direction.OUT: "out", Direction.UNKNOWN: None}


@dataclass(frozen=True, slots=True)
class Line:
    """One packet to be printed; `seq` counts from 1, `netdev` is None where the source has no name for it.

    `tcp` is how a segment's sequence number, acknowledgement and window are to be read (None: as on the wire).
    """

    seq: int
    time_ns: int
    netdev: str | None
    direction: Direction
    link_type: int
    frame: bytes | memoryview
    length: int
    tcp: tuple[int, int, int] | None = None


def decimal_time(time_ns: int, digits: int) -> str:
    """Return a moment or a span as seconds with so many decimal places, not rounded up."""
    sign, ns = ("-", -time_ns) if time_ns < 0 else ("", time_ns)
    return f"{sign}{ns // 10**9}.{ns % 10**9 // 10 ** (9 - digits):0{digits}}"


def lines_of(
    batch: FrameBatch,
    interfaces: Sequence[Interface],
    numbers: Iterable[int],
    tcp: TcpColumns | None = None,
) -> Iterator[Line]:
    """Yield a batch's packets as lines; `numbers` are theirs, in order."""
    columns = (batch.time_ns, batch.interface, batch.direction, batch.length)
    rows = zip(numbers, *(column.tolist() for column in columns), strict=True)
    for index, (number, time_ns, which, direction, length) in enumerate(rows):
        on = interfaces[which]
        where, frame = _DIRECTIONS[direction], batch.frame(index)
        told = None if tcp is None else tcp.row(index)
        yield Line(number, time_ns, on.name or None, where, on.link_type, frame, length, told)
