"""The keys of where the user is.

Owns their arrangement; the bindings themselves say what there is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import Screen
from textual.widgets import Static

from qmon.tui.dialogs.box import Box, Dialog
from qmon.tui.keys import keys_of
from qmon.tui.palette import palette_of

_FITS_HALF = 22
_MOVING = (
    ("j k ↓ ↑", "down, up"),
    ("g G", "first, last"),
    ("^d ^u", "half a page down, up"),
    ("pgdn pgup", "a page down, up"),
    ("tab", "next pane, shift+tab back"),
    ("1 … 9", "tabs"),
    ("^p", "actions by name"),
    ("q ^c", "leave qmon"),
)


class HelpDialog(Dialog[None]):
    """Keys of the focused pane, of the screen, and everywhere."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("question_mark,q", "cancel", "Close", show=False)]

    def __init__(self, about: Screen[Any]) -> None:
        super().__init__()
        self._groups = list(_groups(about))

    def compose(self) -> ComposeResult:
        """Make two columns of keys."""
        with Box("Keys", "Esc: close"), VerticalScroll():
            for title, keys in self._groups:
                yield Static(self._drawn(title, keys), markup=False)

    def _drawn(self, title: str, keys: Iterable[tuple[str, str]]) -> Table:
        palette = palette_of(self.app)
        table = Table.grid(padding=(0, 1), expand=True)
        entries = list(keys)
        columns = 1 if any(len(what) > _FITS_HALF for _, what in entries) else 2
        for _ in range(columns):
            table.add_column(width=11, no_wrap=True, style=palette.outgoing)
            table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
        table.add_row(Text(title, palette.heading))
        for left in range(0, len(entries), columns):
            row = entries[left : left + columns]
            table.add_row(*(Text(part) for entry in row for part in entry))
        table.add_row("")
        return table


def _groups(about: Screen[Any]) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    keys = list(keys_of(about))
    for place, everywhere in (("Here", False), ("Everywhere", True)):
        entries = [(key.name, key.what) for key in keys if key.everywhere == everywhere]
        if entries:
            yield place, entries
    yield "Moving", list(_MOVING)
