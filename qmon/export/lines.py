"""Captured frames as lines: the output of a recording that has no file.

Owns the numbering of the packets printed. Must never write to stdout itself: each line is handed to its caller's
writer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from qmon.packets.batch import FrameBatch, Interface, Note, Statistics
from qmon.packets.lines import Line, lines_of


class LineOutput:
    """Hands a `Line` a packet to `write`, and calls `flush` when a batch has been handed on."""

    def __init__(self, write: Callable[[Line], None], flush: Callable[[], None]) -> None:
        self.written = 0
        self.size_bytes = 0
        self.congested = False
        self.full = False
        self._write = write
        self._flush = flush

    def __repr__(self) -> str:
        return f"<LineOutput {self.written} packets>"

    def packets(self, batch: FrameBatch, interfaces: Sequence[Interface]) -> None:
        """Print frames."""
        first = self.written + 1
        self.written += len(batch)
        for line in lines_of(batch, interfaces, range(first, first + len(batch))):
            self._write(line)
        self._flush()

    def note(self, note: Note, interfaces: Sequence[Interface]) -> None:
        """Leave notes out: gaps are told on stderr by whoever records."""

    def push(self) -> None:
        """Do nothing: a line is printed when it comes."""

    async def close(self, interfaces: Sequence[Interface], statistics: Sequence[Statistics]) -> None:
        """Do nothing: stdout stays open."""
