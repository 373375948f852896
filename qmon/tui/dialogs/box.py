"""What all dialogs have in common: a box over the screen, esc to leave.

Owns the frame; must never know what is asked.
"""

from __future__ import annotations

import re
from typing import ClassVar, TypeVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from qmon.errors import QmonError

ResultT = TypeVar("ResultT")
_FOR_A_SHELL = re.compile(r"\bqmon [a-z]|(?<![\w-])--[a-z]|(?<![\w-])-F\b")


class Dialog(ModalScreen[ResultT]):
    """A box in the middle; its result is None when the user leaves it, `busy` while it considers what was entered."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "cancel", "Cancel")]

    busy = False
    _left = False

    @property
    def takes_keys(self) -> bool:
        """Whether a key would be for this dialog: it is there, not left yet, and not about to open another."""
        return self.is_mounted and not self._left and not self.busy

    def leave(self, result: ResultT | None) -> None:
        """Close with a result, once: keys typed ahead may still come in while the dialog goes."""
        if not self._left:
            self._left = True
            self.dismiss(result)

    def action_cancel(self) -> None:
        """Leave without a result."""
        self.leave(None)


class Box(Vertical):
    """The frame of a dialog, with plain texts in its border."""

    def __init__(self, title: str, below: str, *, wide: bool = False) -> None:
        super().__init__(classes="box wide" if wide else "box")
        # A str would be read as markup, and some titles hold foreign text.
        self.border_title = Text(title)
        self.border_subtitle = Text(below)


def hint_of(problem: QmonError) -> str:
    """Return an error's hint, unless it names commands and options that are for a shell."""
    hint = problem.hint or ""
    return "" if _FOR_A_SHELL.search(hint) else hint


def line(content: str, *, id: str | None = None, classes: str | None = None) -> Static:
    """Return a line of plain text; foreign text is safe here, for no markup is read."""
    return Static(Text(content), id=id, classes=classes, markup=False)
