"""The line in which a filter is typed.

Owns the text, and shows at once what is wrong with it, below the place where it goes wrong. Must never filter anything
itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
from qmon.packets.filters.selector import WrongExpression
from qmon.packets.filters.words import selector_from

_KEYS = "Enter: apply · Esc: cancel"


class FilterBar(Vertical):
    """Label, input, and the error, if there is one."""

    DEFAULT_CSS = """
    FilterBar {
        height: auto; width: 1fr; display: none; background: $panel;
        Horizontal { height: 1; }
        #filter-label { width: auto; padding: 0 1; color: $accent; }
        #filter-keys { width: auto; padding: 0 1; color: $secondary; }
        Input { width: 1fr; border: none; height: 1; padding: 0; background: $panel; }
        Input:focus { border: none; }
        #filter-error { height: auto; max-height: 3; color: $error; display: none; }
        #filter-error.-unfinished { color: $secondary; }
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

    def __init__(self, link_types: Callable[[], Sequence[int]]) -> None:
        """Take what tells the link types there are: an expression may be right on some only."""
        super().__init__(id="filter-bar")
        self._link_types = link_types
        self._history: list[str] = []
        self._at = 0

    def compose(self) -> ComposeResult:
        """Make the line."""
        with Horizontal():
            yield Static("Capture filter", id="filter-label")
            yield Input(placeholder="e.g. tcp port 80 and host 10.0.2.15", id="filter", select_on_focus=False)
            yield Static(_KEYS, id="filter-keys")
        yield Static("", id="filter-error", markup=False)

    def on_resize(self) -> None:
        """Leave most of a narrow line to what is typed."""
        roomy = self.size.width >= 90
        self.query_one("#filter-label", Static).update("Capture filter" if roomy else "Filter")
        self.query_one("#filter-keys", Static).update(_KEYS if roomy else _KEYS.partition(" · ")[0])

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

    def _problem(self, expression: str) -> QmonError | None:
        try:
            selector_from(expression, self._link_types())
        except QmonError as problem:
            return problem
        return None

    @on(Input.Changed)
    def _check(self, event: Input.Changed) -> None:
        event.stop()
        self._tell(self._problem(event.value), event.value, typing=True)

    def _tell(self, problem: QmonError | None, value: str, *, typing: bool) -> None:
        """Say what is wrong below the place where it is; that something is missing at the end is no fault yet."""
        error = self.query_one("#filter-error", Static)
        error.display = problem is not None
        if problem is None:
            return
        at = problem.at if isinstance(problem, WrongExpression) else None
        said = problem.reason if isinstance(problem, WrongExpression) else problem.message
        if at is None:
            error.update(Text(f" {text.plain(said)}"))
            return
        # The expression is the text without the spaces around it.
        before = value[: at + len(value) - len(value.lstrip())]
        first = self._input.content_region.x - self.region.x
        column = max(first + text.width(before) - round(self._input.scroll_x), first)
        said = f"▲ {text.plain(said)}"
        room = self.size.width - text.width(said) - 1
        # Where it does not fit behind its mark, it goes below it.
        pointed = " " * column + said if column <= room else " " * column + "▲\n " + said[2:]
        unfinished = typing and before.strip() == value.strip()
        error.set_class(unfinished, "-unfinished")
        error.update(Text(pointed, no_wrap=column <= room))

    @on(Input.Submitted)
    def _apply(self, event: Input.Submitted) -> None:
        event.stop()
        problem = self._problem(event.value)
        if problem is not None:
            self._tell(problem, event.value, typing=False)
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
