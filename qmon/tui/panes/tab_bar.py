"""The line of tabs: which there are, and which one is open.

Owns the choice; must never know what the tabs show.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.segment import Segment
from textual import events
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from qmon.tui.palette import palette_of


class TabBar(Widget):
    """One line; a click opens a tab."""

    ALLOW_SELECT: ClassVar[bool] = False
    DEFAULT_CSS = """
    TabBar { height: 1; width: 1fr; background: $surface; }
    """

    class Opened(Message):
        """A tab was clicked; `name` is its name."""

        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

    def __init__(self, names: Sequence[str], *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.names = tuple(names)
        self.open = self.names[0]
        self._spans: list[tuple[int, int, str]] = []

    def show(self, name: str) -> None:
        """Mark a tab as the open one."""
        self.open = name
        self.refresh()

    def render_line(self, y: int) -> Strip:  # noqa: ARG002
        """Draw the tabs; in a narrow terminal those not open lose their last letters."""
        palette, width, background = palette_of(self.app), self.size.width, self.rich_style
        full = sum(len(name) + 5 for name in self.names)
        spare = max(len(name) for name in self.names)
        while full > width and spare > 3:
            spare -= 1
            full = sum((len(n) if n == self.open else min(len(n), spare)) + 5 for n in self.names)
        segments: list[Segment] = []
        self._spans, x = [], 0
        for number, name in enumerate(self.names, 1):
            label = name if name == self.open else name[:spare]
            active = name == self.open
            under = palette.cursor if active else None
            segments += [
                Segment(f" {number} ", (palette.accent if active else palette.faint) + (under or background)),
                Segment(f"{label} ", (palette.strong if active else palette.dim) + (under or background)),
                Segment(" "),
            ]
            size = len(label) + 4
            self._spans.append((x, x + size, name))
            x += size + 1
        return Strip(segments).crop_extend(0, width, background).apply_style(background)

    def on_click(self, event: events.Click) -> None:
        """Open the tab under the mouse."""
        for start, stop, name in self._spans:
            if start <= event.x < stop:
                self.post_message(self.Opened(name))
