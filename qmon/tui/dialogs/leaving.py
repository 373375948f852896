"""Asking before something would be lost for good: captured packets, a VM that ends with qmon.

Must never know how to save or to leave: it says what the user chose.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from qmon import text
from qmon.tui.dialogs.box import Box, Dialog, line


class Choice(Enum):
    """What to do; None (Esc) is to stay."""

    LEAVE = auto()
    SAVE_FIRST = auto()


class LeaveDialog(Dialog[Choice]):
    """Enter or `y` leaves, `w` saves first; `q` does nothing, for a key held too long would confirm itself."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y,enter", "choose('LEAVE')", "Leave"),
        Binding("w", "choose('SAVE_FIRST')", "Save first"),
        Binding("n", "cancel", "Cancel", show=False),
        Binding("q", "nothing", show=False),
    ]

    def __init__(self, title: str, losses: Sequence[str], *, leave: str, can_save: bool) -> None:
        super().__init__()
        self._title = title
        self._losses = tuple(map(text.plain, losses))
        self._leave = leave
        self._can_save = can_save

    def compose(self) -> ComposeResult:
        """Make the question."""
        save = "w: save first · " if self._can_save else ""
        with Box(self._title, f"Enter: {self._leave} · {save}Esc: cancel"):
            for number, loss in enumerate(self._losses):
                yield line(loss, classes="danger gap" if not number else "danger")
            yield line("")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer to save only where there is something to save."""
        if action == "choose" and parameters == ("SAVE_FIRST",):
            return self._can_save
        return super().check_action(action, parameters)

    def action_choose(self, name: str) -> None:
        """Leave the dialog with a choice."""
        self.leave(Choice[name])

    def action_nothing(self) -> None:
        """Keep a key from what is below."""
