"""Asking before the VM is changed, with the exact commands that will be sent.

Must never send anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll

from qmon import text
from qmon.tui.dialogs.box import Box, Dialog, line


class ConfirmDialog(Dialog[bool]):
    """Enter or `y` says yes; esc or `n` says no."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y,enter", "yes", "Apply"),
        Binding("n,q", "cancel", "Cancel", show=False),
    ]

    def __init__(self, title: str, commands: Sequence[str] = (), *, warning: str = "") -> None:
        super().__init__()
        self._title = text.plain(title)
        self._commands = tuple(map(text.plain, commands))
        self._warning = text.plain_lines(warning)

    def compose(self) -> ComposeResult:
        """Make the question."""
        with Box(self._title, "Enter: apply · Esc: cancel"):
            if self._warning:
                yield line(self._warning, classes="danger gap")
            if self._commands:
                yield line("This will be sent:", classes="label")
                with VerticalScroll(classes="commands", can_focus=False):
                    for command in self._commands:
                        yield line(command)
            yield line("")

    def action_yes(self) -> None:
        """Agree."""
        self.leave(True)


class MessageDialog(Dialog[None]):
    """A text in full until the user has read it; an error unless told."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter,q,space", "cancel", "Close", show=False)]

    def __init__(self, title: str, content: str, *, hint: str = "", error: bool = True) -> None:
        super().__init__()
        self._error = error
        self._title = text.plain(title)
        self._content = text.plain_lines(content)
        self._hint = text.plain_lines(hint)

    def compose(self) -> ComposeResult:
        """Make the message."""
        with Box("Failed" if self._error else self._title, "Esc: close"):
            if self._error:
                yield line(self._title, classes="gap")
            with VerticalScroll(classes="gap"):
                yield line(self._content, classes="error" if self._error else None)
                if self._hint:
                    yield line(self._hint, classes="hint gap")
            yield line("")
