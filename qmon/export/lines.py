"""Captured frames as lines: the output of a recording that has no file.

Owns the numbering of the packets printed. Must never wait for a reader: what it has not taken yet is the sink's.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from qmon.export.byte_sink import ByteSink, Untaken
from qmon.packets.batch import FrameBatch, Interface, Note, Statistics
from qmon.packets.line_batches import Form

_MUCH_BYTES = 1 << 20


class LineOutput:
    """Writes each packet in a form, and a line end, to standard output (the descriptor `fd`)."""

    def __init__(self, fd: int, encoding: str, form: Form) -> None:
        self.written = 0
        self.size_bytes = 0
        self.full = False
        self._sink = ByteSink.on_descriptor(fd, "standard output")
        self._untaken = Untaken(self._sink)
        self._encoding = encoding
        self._form = form

    def __repr__(self) -> str:
        return f"<LineOutput {self._sink!r} {self.written} packets>"

    @property
    def congested(self) -> bool:
        """Whether the reader is far behind."""
        return self._sink.waiting_bytes > _MUCH_BYTES

    def packets(self, batch: FrameBatch, interfaces: Sequence[Interface]) -> None:
        """Print frames; `ReaderLeft` if nobody reads, `QmonError` if they cannot be written."""
        first = self.written + 1
        shown = self._form(batch, interfaces, range(first, first + len(batch)))
        data = self._encoded("\n".join([*shown, ""]))
        start = self._sink.size + self._sink.waiting_bytes
        self.written += len(shown)
        try:
            self._sink.write(data)
        finally:
            self._untaken.add(
                start, start + len(data), len(shown), lambda taken: bisect_right(self._ends(shown), taken)
            )

    def _encoded(self, text: str) -> bytes:
        return text.encode(self._encoding, "backslashreplace")

    def _ends(self, shown: Sequence[str]) -> list[int]:
        """Return where each packet's lines end, in bytes."""
        return list(accumulate(len(self._encoded(one)) + 1 for one in shown))

    def note(self, note: Note, interfaces: Sequence[Interface]) -> None:
        """Leave notes out: gaps are told on stderr by whoever records."""

    def push(self) -> None:
        """Hand on what a slow reader has not taken yet; `ReaderLeft` as soon as it has left."""
        self._sink.push()

    async def close(
        self,
        interfaces: Sequence[Interface],  # noqa: ARG002
        statistics: Sequence[Statistics],  # noqa: ARG002
        patience_s: float | None = None,
    ) -> None:
        """Hand on what is left; stdout stays open."""
        try:
            await self._sink.empty(patience_s)
        finally:
            self.written -= self._untaken.settle()
            self._sink.close()
