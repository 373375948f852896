"""The selected packet's bytes, in hexadecimal and as text.

Owns the byte under the cursor and the marked range. Must never know what the bytes mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding, BindingType
from textual.message import Message

from qmon.tui.rows import RowView


def bytes_per_row(width: int) -> int:
    """Return 16, 8 or 4: how many bytes a row of `width` cells shows (offset, hex and text columns)."""
    return next((count for count in (16, 8) if _width_of(count) <= width), 4)


def _width_of(count: int) -> int:
    return 1 + 4 + 2 + 3 * count + count // 8 + count


class HexView(RowView):
    """A hex dump with a cursor on one byte and one marked range."""

    SHOW_CURSOR = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,h", "step(-1)", "Previous byte", show=False),
        Binding("right,l", "step(1)", "Next byte", show=False),
    ]

    class ByteSelected(Message):
        """The user went to a byte."""

        def __init__(self, offset: int) -> None:
            super().__init__()
            self.offset = offset

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._data = b""
        self._marked = (0, 0)
        self._at: int | None = None

    def show(self, data: bytes) -> None:
        """Draw another frame, with nothing marked."""
        self._data, self._marked, self._at, self.top = data, (0, 0), None, 0
        self.clear_strips()

    def mark(self, start: int | None, stop: int | None, *, reveal: bool = True) -> None:
        """Mark the bytes of a field, or none, and bring them into sight."""
        self._marked = (start, stop) if start is not None and stop is not None else (0, 0)
        if self._at is not None and not self._marked[0] <= self._at < self._marked[1]:
            self._at = None
        if reveal and self._marked[1] > self._marked[0]:
            self.show_row((self._marked[1] - 1) // self._count)
            self.show_row(self._marked[0] // self._count)
        self.clear_strips()

    @property
    def marked(self) -> tuple[int, int]:
        """The marked bytes, half open; start equals stop when nothing is marked."""
        return self._marked

    @property
    def _count(self) -> int:
        return bytes_per_row(max(self.size.width - 1, 1))

    @property
    def end_row(self) -> int:
        """How many rows the frame takes."""
        return -(-len(self._data) // self._count)

    def row(self, number: int, width: int) -> Sequence[Segment]:  # noqa: ARG002
        """Draw one row: offset, bytes, text."""
        palette, count = self.palette, self._count
        start = number * count
        segments = [Segment(f" {start:04x}  ", palette.faint)]
        letters: list[Segment] = []
        for offset in range(start, start + count):
            if offset >= len(self._data):
                segments.append(Segment("   "))
            else:
                byte = self._data[offset]
                style = self._style(offset, byte)
                inside = self._marked[0] <= offset < self._marked[1] - 1 and (offset + 1) % count
                segments += [Segment(f"{byte:02x}", style), Segment(" ", palette.cursor if inside else None)]
                letters.append(Segment(chr(byte) if 32 <= byte < 127 else "·", style))
            if (offset + 1) % 8 == 0:
                segments.append(Segment(" "))
        return [*segments, *letters]

    def _style(self, offset: int, byte: int) -> Style:
        if offset == self._at:
            return self.palette.mark
        if self._marked[0] <= offset < self._marked[1]:
            return self.palette.cursor
        if byte == 0:
            return self.palette.faint
        return self.palette.text if 32 <= byte < 127 else self.palette.dim

    # Keys and mouse: the cursor is a byte, not a row

    def _go(self, offset: int) -> None:
        if not self._data:
            return
        self._at = min(max(offset, 0), len(self._data) - 1)
        self.show_row(self._at // self._count)
        self.clear_strips()
        self.post_message(self.ByteSelected(self._at))

    @property
    def _position(self) -> int:
        return self._at if self._at is not None else self._marked[0]

    def action_step(self, count: int) -> None:
        """Move by bytes."""
        self._go(self._position + count if self._at is not None else self._position)

    def action_move(self, count: int) -> None:
        """Move by rows."""
        self._go(self._position + count * self._count if self._at is not None else self._position)

    def action_move_pages(self, pages: float) -> None:
        """Move by pages."""
        self._go(self._position + round(self.page * pages) * self._count)

    def action_first(self) -> None:
        """Go to the first byte."""
        self._go(0)

    def action_last(self) -> None:
        """Go to the last byte."""
        self._go(len(self._data) - 1)

    def clicked(self, number: int, x: int) -> None:
        """Go to the byte under the mouse, in either column."""
        count = self._count
        hexadecimal = x - 7
        letters = x - 7 - 3 * count - count // 8
        if 0 <= letters < count:
            column = letters
        else:
            column = (hexadecimal - hexadecimal // 25) // 3
        if 0 <= column < count:
            self._go(min(number * count + column, len(self._data) - 1))
