"""The last line of the screen: the keys that do something where you are.

Owns which of them fit; the bindings of the focused widget, its screen and the app say what there is.
"""

from __future__ import annotations

from typing import ClassVar

from rich.segment import Segment
from textual import events
from textual.screen import Screen
from textual.strip import Strip
from textual.widget import Widget

from qmon.tui.palette import palette_of

_NAMES = {
    "slash": "/", "question_mark": "?", "colon": ":", "space": "space", "escape": "esc", "enter": "enter",
    "ctrl+c": "^c", "ctrl+p": "^p", "ctrl+s": "^s", "backslash": "\\",
}  # fmt: skip


def key_name(keys: str) -> str:
    """Return the first of a binding's keys as people write it."""
    first = keys.split(",")[0]
    return _NAMES.get(first, first.replace("ctrl+", "^"))


class KeyBar(Widget):
    """Keys and what they do, most local first; those that do not fit are left to `?`."""

    ALLOW_SELECT: ClassVar[bool] = False
    DEFAULT_CSS = """
    KeyBar { dock: bottom; height: 1; width: 1fr; background: $footer-background; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._spans: list[tuple[int, int, str]] = []

    def on_mount(self) -> None:
        """Follow the focus."""
        self.screen.bindings_updated_signal.subscribe(self, self._changed)

    def _changed(self, screen: Screen[object]) -> None:  # noqa: ARG002
        self.refresh()

    def _keys(self) -> list[tuple[str, str, str]]:
        shown: dict[tuple[str, str], tuple[str, str, str]] = {}
        for active in self.screen.active_bindings.values():
            binding = active.binding
            if binding.show and binding.description and active.enabled:
                name = binding.key_display or key_name(binding.key)
                shown.setdefault(
                    (binding.action, binding.description), (name, binding.description, binding.key)
                )
        return list(shown.values())

    def render_line(self, y: int) -> Strip:  # noqa: ARG002
        """Draw what fits."""
        palette, background, width = palette_of(self.app), self.rich_style, self.size.width
        keys = self._keys()
        last = [key for key in keys if key[0] in ("?", "q")]
        rest = [key for key in keys if key not in last]
        room = width - sum(len(name) + len(what) + 3 for name, what, _ in last) - 1
        segments, x = [Segment(" ")], 1
        self._spans = []
        for name, what, key in rest:
            size = len(name) + len(what) + 3
            if x + size <= room:
                segments += [Segment(name, palette.outgoing), Segment(f" {what}  ", palette.dim)]
                self._spans.append((x, x + size - 2, key))
                x += size
        segments.append(Segment(" " * max(room - x + 1, 0)))
        x = max(room + 1, x)
        for name, what, key in last:
            size = len(name) + len(what) + 3
            segments += [Segment(name, palette.outgoing), Segment(f" {what}  ", palette.dim)]
            self._spans.append((x, x + size - 2, key))
            x += size
        return Strip(segments).crop_extend(0, width, background).apply_style(background)

    async def on_click(self, event: events.Click) -> None:
        """Do what the key under the mouse does."""
        for start, stop, key in self._spans:
            if start <= event.x < stop:
                self.app.simulate_key(key.split(",")[0])
