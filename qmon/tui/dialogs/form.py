"""A few lines to fill in, checked before the dialog lets go of them.

Owns the fields; what they mean is the caller's, who says with a `QmonError` what is wrong.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from textual import on, work
from textual.app import ComposeResult
from textual.widgets import Input, Static

from qmon import text
from qmon.errors import QmonError
from qmon.tui.dialogs.box import Box, Dialog, hint_of, line

ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True)
class Field:
    """A line to fill in: what it is, an example, what stands there at first, and whether it may stay empty."""

    label: str
    example: str = ""
    value: str = ""
    optional: bool = False


class FormDialog(Dialog[ResultT], Generic[ResultT]):
    """Enter goes to the next field, in the last one it is done; the result is what `check` makes of the texts."""

    def __init__(
        self,
        title: str,
        fields: Sequence[Field],
        check: Callable[[Sequence[str]], Awaitable[ResultT]],
        *,
        hints: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self._title = title
        self._fields = tuple(fields)
        self._check = check
        self._hints = tuple(hints)

    def compose(self) -> ComposeResult:
        """Make the fields."""
        enter = "apply" if len(self._fields) == 1 else "next"
        with Box(self._title, f"Enter: {enter} · Esc: cancel", wide=True):
            for number, field in enumerate(self._fields):
                yield line(field.label, classes="label")
                yield Input(
                    field.value,
                    placeholder=field.example and f"e.g. {field.example}",
                    id=f"field-{number}",
                    select_on_focus=False,
                )
            for number, hint in enumerate(self._hints):
                yield line(hint, classes="hint gap" if not number else "hint")
            yield Static("", id="form-error", classes="error gap", markup=False)

    def on_mount(self) -> None:
        """Start with the first field that has to be filled in, else with the first."""
        inputs = list(self.query(Input))
        pairs = zip(inputs, self._fields, strict=True)
        empty = (one for one, field in pairs if not (one.value or field.optional))
        self.set_focus(next(empty, inputs[0]))

    @on(Input.Changed)
    def _changed(self, event: Input.Changed) -> None:
        event.stop()
        self.query_one("#form-error", Static).update("")

    @on(Input.Submitted)
    def _entered(self, event: Input.Submitted) -> None:
        """Go to the field after this one; from the last, have everything checked."""
        event.stop()
        inputs = list(self.query(Input))
        at = inputs.index(event.input)
        if at + 1 < len(inputs):
            self.set_focus(inputs[at + 1])
        else:
            self.busy = True
            self._finish([one.value.strip() for one in inputs])

    @work(exclusive=True)
    async def _finish(self, values: Sequence[str]) -> None:
        try:
            result = await self._check(values)
        except QmonError as problem:
            said = "\n".join(filter(None, [problem.message, hint_of(problem)]))
            self.query_one("#form-error", Static).update(text.plain_lines(said))
        else:
            self.leave(result)
        finally:
            self.busy = False
