"""Everything that can be done here, found by its name.

Owns the search. What an action does is the caller's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from rich.segment import Segment
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Input

from qmon.tui.dialogs.box import Box, Dialog
from qmon.tui.rows import RowView, cell

_ROWS = 12


@dataclass(frozen=True, slots=True)
class Action:
    """Something to do, the key that does it too ("" for none), and what the dialog returns for it."""

    what: str
    key: str
    result: Any


class _Found(RowView, can_focus=False):
    def __init__(self, actions: Sequence[Action]) -> None:
        super().__init__(id="found")
        self._all = tuple(actions)
        self.actions = self._all
        self.cursor = 0

    def search(self, words: str) -> None:
        """Keep the actions in which every word begins a word, or stands somewhere."""
        wanted = words.lower().split()
        self.actions = tuple(one for one in self._all if all(word in one.what.lower() for word in wanted))
        self.top, self.cursor = 0, 0 if self.actions else None
        self.clear_strips()

    @property
    def end_row(self) -> int:
        return len(self.actions)

    def row_key(self, number: int) -> object:
        return self.actions[number].what

    def row(self, number: int, width: int) -> Sequence[Segment]:
        action, palette = self.actions[number], self.palette
        room = width - 12
        return [
            Segment(" "),
            Segment(cell(action.what, room, palette.text).text, palette.text),
            Segment(cell(action.key, 10, palette.outgoing, right=True).text, palette.outgoing),
        ]

    def nothing(self) -> Sequence[str]:
        return ("Nothing here is called so",)


class ActionsDialog(Dialog[Any]):
    """Its result is that of the action that was chosen."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down", "move(1)", "Down", show=False, priority=True),
        Binding("up", "move(-1)", "Up", show=False, priority=True),
        Binding("ctrl+p", "cancel", "Cancel", show=False, priority=True),
    ]

    def __init__(self, actions: Sequence[Action]) -> None:
        super().__init__()
        self._found = _Found(actions)

    def compose(self) -> ComposeResult:
        """Make the line and the list."""
        with Box("Actions", "Enter: do it · ↑↓: choose · Esc: cancel"):
            search = Input(placeholder="Type a part of its name", id="search")
            search.styles.margin = (1, 0)
            yield search
            self._found.styles.height = min(self._found.end_row, _ROWS)
            yield self._found

    def on_mount(self) -> None:
        """Start with the line."""
        self.set_focus(self.query_one(Input))

    def action_move(self, count: int) -> None:
        """Move the cursor in the list; the line keeps the focus."""
        self._found.action_move(count)

    @on(Input.Changed)
    def _changed(self, event: Input.Changed) -> None:
        event.stop()
        self._found.search(event.value)

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self._choose()

    @on(RowView.Chosen)
    def _chosen(self, event: RowView.Chosen) -> None:
        event.stop()
        self._choose()

    def _choose(self) -> None:
        if self._found.cursor is not None and self._found.actions:
            self.leave(self._found.actions[self._found.cursor].result)
