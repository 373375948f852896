"""One of several things, by its letter or with the cursor.

Must never know what is done with the choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.segment import Segment
from textual import events, on
from textual.app import ComposeResult

from qmon.tui.dialogs.box import Box, Dialog
from qmon.tui.rows import RowView, cell


@dataclass(frozen=True, slots=True)
class Choice:
    """A line of the menu; `key` chooses it at once."""

    key: str
    name: str
    about: str


class _Choices(RowView):
    def __init__(self, choices: Sequence[Choice]) -> None:
        super().__init__(id="choices")
        self._choices = choices
        self.cursor = 0

    @property
    def end_row(self) -> int:
        return len(self._choices)

    def row(self, number: int, width: int) -> Sequence[Segment]:  # noqa: ARG002
        choice, palette = self._choices[number], self.palette
        name = cell(choice.name, 16, palette.strong)
        return [Segment(f" {choice.key}  ", palette.outgoing), name, Segment(choice.about, palette.dim)]


class MenuDialog(Dialog[str]):
    """Its result is the key of what was chosen."""

    def __init__(self, title: str, choices: Sequence[Choice]) -> None:
        super().__init__()
        self._title = title
        self._choices = tuple(choices)

    def compose(self) -> ComposeResult:
        """Make the menu."""
        with Box(self._title, "Enter: choose · Esc: cancel"):
            choices = _Choices(self._choices)
            choices.styles.height = len(self._choices)
            choices.styles.margin = (1, 0)
            yield choices

    def on_mount(self) -> None:
        """Let the keys move the cursor."""
        self.set_focus(self.query_one(_Choices))

    @on(RowView.Chosen)
    def _chosen(self, event: RowView.Chosen) -> None:
        event.stop()
        self.leave(self._choices[event.row].key)

    def on_key(self, event: events.Key) -> None:
        """Choose by letter."""
        if event.character in {choice.key for choice in self._choices}:
            event.stop()
            self.leave(event.character)
