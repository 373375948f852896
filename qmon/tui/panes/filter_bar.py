"""The line in which a capture filter is typed.

Owns the text and shows at once what libpcap has against it. Must never filter anything itself.
"""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.widgets import Input, Static

from qmon import text
from qmon.errors import QmonError
from qmon.packets.filters.capture_filter import COMMON_LINK_TYPES
from qmon.packets.filters.words import selector_of


class FilterBar(Vertical):
    """Label, input, and the error, if there is one."""

    DEFAULT_CSS = """
    FilterBar {
        height: auto; width: 1fr; display: none; background: $panel;
        Horizontal { height: 1; }
        #filter-label { width: auto; padding: 0 1; color: $accent; }
        Input { width: 1fr; border: none; height: 1; padding: 0; background: $panel; }
        Input:focus { border: none; }
        #filter-error { height: auto; max-height: 3; padding: 0 1; color: $error; display: none; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Leave"),
        Binding("up", "recall(-1)", "Earlier", show=False),
        Binding("down", "recall(1)", "Later", show=False),
    ]

    class Applied(Message):
        """The user wants this filter; an empty one means none."""

        def __init__(self, expression: str) -> None:
            super().__init__()
            self.expression = expression

    class Left(Message):
        """The user left the line without applying it."""

    def __init__(self) -> None:
        super().__init__(id="filter-bar")
        self._history: list[str] = []
        self._at = 0

    def compose(self) -> ComposeResult:
        """Make the line."""
        with Horizontal():
            yield Static("capture filter", id="filter-label")
            yield Input(placeholder="tcp port 80 and host 10.0.2.15", id="filter", select_on_focus=False)
        yield Static("", id="filter-error", markup=False)

    @property
    def _input(self) -> Input:
        return self.query_one(Input)

    def open(self, expression: str) -> None:
        """Show the line with a filter to change."""
        self.display = True
        self._at = len(self._history)
        self._input.value = expression
        self._input.cursor_position = len(expression)
        self.screen.set_focus(self._input)

    def close(self) -> None:
        """Hide the line."""
        self.display = False

    def _problem(self, expression: str) -> str:
        if not expression.strip():
            return ""
        try:
            selector_of(expression, COMMON_LINK_TYPES)
        except QmonError as problem:
            return text.plain(problem.message)
        return ""

    @on(Input.Changed)
    def _check(self, event: Input.Changed) -> None:
        event.stop()
        problem = self._problem(event.value)
        error = self.query_one("#filter-error", Static)
        error.display = bool(problem)
        error.update(Text(problem))

    @on(Input.Submitted)
    def _apply(self, event: Input.Submitted) -> None:
        event.stop()
        if self._problem(event.value):
            return
        expression = event.value.strip()
        if expression and expression not in self._history[-1:]:
            self._history.append(expression)
        self.post_message(self.Applied(expression))

    def action_leave(self) -> None:
        """Go back to the list, the filter as it was."""
        self.post_message(self.Left())

    def action_recall(self, step: int) -> None:
        """Take an earlier or later filter back."""
        self._at = min(max(self._at + step, 0), len(self._history))
        self._input.value = self._history[self._at] if self._at < len(self._history) else ""
        self._input.cursor_position = len(self._input.value)
