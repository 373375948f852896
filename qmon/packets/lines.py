"""A packet as one line for people, or as one record for programs.

Owns both forms; `qmon dump` and `qmon read` print them. Must never see a frame's details itself: what is said about
a packet is `summary.py`'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from qmon.packets.batch import Direction, FrameBatch, Interface
from qmon.packets.summary import summarise
from qmon.text import clock, plain

_DIRECTIONS = tuple(Direction)
_DIRECTION_TEXT = {Direction.IN: "In ", Direction.OUT: "Out", Direction.UNKNOWN: "   "}
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

    def text(self) -> str:
        """Return ``HH:MM:SS.ffffff netdev Out source > destination PROTOCOL length N: info``, plain."""
        summary = summarise(self.frame, self.link_type, length=self.length)
        words = [clock(self.time_ns)]
        if self.netdev is not None:
            words.append(plain(self.netdev))
        if self.netdev is not None or self.direction is not Direction.UNKNOWN:
            words.append(_DIRECTION_TEXT[self.direction])
        ends = f"{summary.source} > {summary.destination}" if summary.source or summary.destination else "-"
        said = f": {summary.info}" if summary.info else ""
        return f"{' '.join(words)} {ends} {summary.protocol} length {self.length}{said}"

    def record(self) -> dict[str, object]:
        """Return the fields of a JSON line; `time` is a decimal string of seconds with nine digits."""
        summary = summarise(self.frame, self.link_type, length=self.length)
        sign, ns = ("-", -self.time_ns) if self.time_ns < 0 else ("", self.time_ns)
        return {
            "seq": self.seq,
            "time": f"{sign}{ns // 10**9}.{ns % 10**9:09}",
            "netdev": self.netdev,
            "direction": _DIRECTION_NAME[self.direction],
            "source": summary.source,
            "destination": summary.destination,
            "protocol": summary.protocol,
            "length": self.length,
            "info": summary.info,
        }


def lines_of(batch: FrameBatch, interfaces: Sequence[Interface], numbers: Iterable[int]) -> Iterator[Line]:
    """Yield a batch's packets as lines; `numbers` are theirs, in order."""
    columns = (batch.time_ns, batch.interface, batch.direction, batch.length)
    rows = zip(numbers, *(column.tolist() for column in columns), strict=True)
    for index, (number, time_ns, which, direction, length) in enumerate(rows):
        on = interfaces[which]
        where, frame = _DIRECTIONS[direction], batch.frame(index)
        yield Line(number, time_ns, on.name or None, where, on.link_type, frame, length)
