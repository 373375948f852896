"""A packet as one record for programs, and the facts that both a record and a line for people are made of.

`qmon dump` and `qmon read` print them; `line_text.py` words them for people. Must never see a frame's details itself:
what is said about a packet is the room `summary`'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from qmon.packets.batch import NO_TIME, Direction, FrameBatch, Interface
from qmon.packets.link_header import link_header
from qmon.packets.summary import summarise

_DIRECTIONS = tuple(Direction)
_DIRECTION_NAME = {Direction.IN: "in", Direction.OUT: "out", Direction.UNKNOWN: None}


@dataclass(frozen=True, slots=True)
class Line:
    """One packet to be printed; `seq` counts from 1, `netdev` is None where the source has no name for it."""

    seq: int
    time_ns: int
    netdev: str | None
    direction: Direction
    link_type: int
    frame: bytes | memoryview
    length: int

    def record(self) -> dict[str, object]:
        """Return the fields of a JSON line.

        `time` is a decimal string of seconds with nine digits, null where the capture has none. Ports and
        `source_mac`, `destination_mac` are null where the packet has none; `vlan` holds the ids of its tags,
        outermost first.
        """
        summary = summarise(self.frame, self.link_type, length=self.length)
        header = link_header(self.frame, self.link_type)
        ports = summary.ports or (None, None)
        return {
            "seq": self.seq,
            "time": None if self.time_ns == NO_TIME else decimal_time(self.time_ns, 9),
            "netdev": self.netdev,
            "direction": _DIRECTION_NAME[self.direction],
            "source": summary.source,
            "source_port": ports[0],
            "destination": summary.destination,
            "destination_port": ports[1],
            "protocol": summary.protocol,
            "length": self.length,
            "source_mac": header.source,
            "destination_mac": header.destination,
            "vlan": header.vlans,
            "info": summary.info,
        }


def decimal_time(time_ns: int, digits: int) -> str:
    """Return a moment or a span as seconds with so many decimal places, not rounded up."""
    sign, ns = ("-", -time_ns) if time_ns < 0 else ("", time_ns)
    return f"{sign}{ns // 10**9}.{ns % 10**9 // 10 ** (9 - digits):0{digits}}"


def lines_of(batch: FrameBatch, interfaces: Sequence[Interface], numbers: Iterable[int]) -> Iterator[Line]:
    """Yield a batch's packets as lines; `numbers` are theirs, in order."""
    columns = (batch.time_ns, batch.interface, batch.direction, batch.length)
    rows = zip(numbers, *(column.tolist() for column in columns), strict=True)
    for index, (number, time_ns, which, direction, length) in enumerate(rows):
        on = interfaces[which]
        where, frame = _DIRECTIONS[direction], batch.frame(index)
        yield Line(number, time_ns, on.name or None, where, on.link_type, frame, length)
