"""The first line of the screen: which VM or file this is, and how things stand.

Must never decide anything: it is told what to say.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.segment import Segment
from textual.strip import Strip
from textual.widget import Widget

from qmon import text
from qmon.tui.palette import palette_of

Part = tuple[str, str]


def amount(count: float) -> str:
    """Return bytes as people read them: three significant digits and a unit of 1000."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.0f} B" if unit == "B" else f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.3g} TB"


class HeaderLine(Widget):
    """Parts from the left; `right` parts at the right end, and kept when it gets narrow."""

    ALLOW_SELECT: ClassVar[bool] = False
    DEFAULT_CSS = """
    HeaderLine { dock: top; height: 1; width: 1fr; background: $panel; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._left: tuple[Part, ...] = ()
        self._right: tuple[Part, ...] = ()

    def show(self, left: Sequence[Part], right: Sequence[Part] = ()) -> None:
        """Draw other parts, if they are others; each is (style name of the palette, plain text)."""
        if (tuple(left), tuple(right)) != (self._left, self._right):
            self._left, self._right = tuple(left), tuple(right)
            self.refresh()

    def render_line(self, y: int) -> Strip:  # noqa: ARG002
        """Draw the line."""
        palette, background, width = palette_of(self.app), self.rich_style, self.size.width
        right = [segment for part in self._right for segment in self._drawn(part)]
        room = width - sum(segment.cell_length for segment in right) - 7
        left = [Segment(" qmon ", palette.accent + palette.strong), Segment(" ")]
        for style, content in self._left:
            content = text.cut(content, room - 2)
            if not content:
                break
            drawn = self._drawn((style, content))
            room -= sum(segment.cell_length for segment in drawn)
            left += drawn
        left.append(Segment(" " * max(room, 0)))
        return Strip([*left, *right]).crop_extend(0, width, background).apply_style(background)

    def _drawn(self, part: Part) -> list[Segment]:
        style, content = part
        return [Segment(content, getattr(palette_of(self.app), style)), Segment("  ")]
