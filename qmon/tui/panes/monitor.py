"""A prompt to the VM's monitor, HMP or QMP, with history and completion.

Owns the lines shown; the session does the talking. Replies are foreign text.
"""

from __future__ import annotations

import json
import shlex
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.suggester import SuggestFromList
from textual.widget import Widget
from textual.widgets import Input, Static

from qmon import text
from qmon.errors import QmonError, UsageError
from qmon.monitor.arguments import json_object, qmp_arguments
from qmon.monitor.protocol import Monitor
from qmon.network.dangers import danger_of, danger_of_line
from qmon.tui.dialogs.confirm import ConfirmDialog
from qmon.tui.moment import Moment, Pane
from qmon.tui.rows import RowView

LINES_KEPT, SAID_KEPT = 5000, 1000
HISTORY_KEPT = 500
PROMPTS = {"hmp": "(qemu) ", "qmp": "qmp> "}


@dataclass(frozen=True, slots=True)
class _Line:
    style: str
    content: str


class Transcript(RowView):
    """What was asked and answered."""

    def __init__(self) -> None:
        super().__init__(id="transcript")
        self._said: deque[_Line] = deque(maxlen=SAID_KEPT)
        self._lines: list[_Line] = []
        self._width = 0
        self._forgotten = 0

    def add(self, content: str, style: str = "text") -> None:
        """Add one or more lines of foreign text, broken where they are too long, and bring them into sight."""
        said = _Line(style, content)
        self._said.append(said)
        self._break(said)
        self.top = max(self.end_row - self.page, self.first_row)
        self.settle()

    def on_resize(self) -> None:
        """Break everything anew for another width."""
        if self._width and self._width != self._room:
            self._lines.clear()
            for said in self._said:
                self._break(said)
            self.top = max(self.end_row - self.page, self.first_row)
        super().on_resize()

    @property
    def _room(self) -> int:
        return max(self.size.width - 2, 20)

    def _break(self, said: _Line) -> None:
        self._width = self._room
        self._lines += [_Line(said.style, line) for line in _in_rows(said.content, self._width)]
        surplus = len(self._lines) - LINES_KEPT
        if surplus > 0:
            del self._lines[:surplus]
            self._forgotten += surplus

    def clear(self) -> None:
        """Forget everything."""
        self._forgotten = self.end_row
        self._lines.clear()
        self._said.clear()
        self.top = self.first_row
        self.settle()

    @property
    def first_row(self) -> int:
        """The oldest line kept."""
        return self._forgotten

    @property
    def end_row(self) -> int:
        """One more than the newest line."""
        return self._forgotten + len(self._lines)

    def row(self, number: int, width: int) -> Sequence[Segment]:  # noqa: ARG002
        """Draw one line."""
        line = self._lines[number - self._forgotten]
        return [Segment(" " + line.content, getattr(self.palette, line.style))]

    def nothing(self) -> Sequence[str]:
        """Say what can be done here."""
        return (
            "Talk to the VM's monitor",
            "info network · info usernet · hostfwd_add …",
            "Ctrl-T: HMP/QMP · Tab: complete · ↑: earlier lines",
            "Esc: leave the prompt, for other keys",
        )


def _in_rows(content: str, width: int) -> Iterator[str]:
    """Break foreign text into plain rows of at most `width` cells, with spaces for its tabs."""
    for line in text.plain_lines(content.expandtabs()).rstrip("\n").split("\n"):
        rest = line
        while len(rest) > width or cell_len(rest) > width:
            size = width
            while size > 1 and cell_len(rest[:size]) > width:
                size -= 1
            yield rest[:size]
            rest = rest[size:]
        yield rest


class Prompt(Input):
    """The input line; up and down go through what was sent before."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "recall(-1)", "Earlier", show=False),
        Binding("down", "recall(1)", "Later", show=False),
        Binding("tab", "complete", "Complete", priority=True),
    ]

    def __init__(self) -> None:
        super().__init__(id="prompt", select_on_focus=False)
        self.history: list[str] = []
        self._at = 0

    def sent(self, line: str) -> None:
        """Remember a line."""
        if self.history[-1:] != [line]:
            self.history.append(line)
            del self.history[:-HISTORY_KEPT]
        self._at = len(self.history)
        self.value = ""

    def action_recall(self, step: int) -> None:
        """Take back an earlier or later line."""
        self._at = min(max(self._at + step, 0), len(self.history))
        self.value = self.history[self._at] if self._at < len(self.history) else ""
        self.cursor_position = len(self.value)

    def action_complete(self) -> None:
        """Take what is suggested for the text as it is now; the prompt keeps the focus in any case."""
        suggestion = self._suggestion
        # A suggestion is made in the background: the one that is here may be for an earlier text.
        if suggestion.startswith(self.value) and self.value:
            self.value = suggestion
            self.cursor_position = len(self.value)


class MonitorPane(Vertical, Pane):
    """Transcript and prompt."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+t", "switch", "HMP/QMP"),
        Binding("ctrl+l", "clear", "Clear", show=False),
        Binding("escape", "leave", "Leave prompt", tooltip="Leave the prompt, for other keys; back into it"),
    ]
    DEFAULT_CSS = """
    MonitorPane {
        #prompt-line { height: 1; background: $panel; }
        #prompt-name { width: auto; color: $accent; padding: 0 0 0 1; }
        Prompt { width: 1fr; padding: 0; }
    }
    """

    def __init__(
        self, session: Callable[[], Monitor | None], sent: Callable[[str], None], *, id: str | None = None
    ) -> None:
        super().__init__(id=id)
        self._session = session
        self._sent = sent
        self.mode = "hmp"
        self._learnt_from: Monitor | None = None
        self._names: dict[str, tuple[str, ...]] = {}
        self.transcript = Transcript()
        self._prompt = Prompt()
        self._label = Static(PROMPTS["hmp"], id="prompt-name", markup=False)

    def compose(self) -> ComposeResult:
        """Make transcript and prompt."""
        yield self.transcript
        with Horizontal(id="prompt-line"):
            yield self._label
            yield self._prompt

    @property
    def entry(self) -> Widget:
        """The prompt."""
        return self._prompt

    def show(self, now: Moment) -> None:  # noqa: ARG002
        """Learn which commands there are, for completion, once there is somebody to ask."""
        if self.mode not in self._names and self._session() is not self._learnt_from:
            self._learnt_from = self._session()
            self._learn(self.mode)

    def action_switch(self) -> None:
        """Change between HMP and QMP."""
        self.mode = "qmp" if self.mode == "hmp" else "hmp"
        self._label.update(PROMPTS[self.mode])
        self._learn(self.mode)

    def action_leave(self) -> None:
        """Out of the prompt, so that other keys do what they do elsewhere; back into it."""
        prompt = self._prompt
        self.screen.set_focus(self.transcript if prompt.has_focus else prompt)

    def action_clear(self) -> None:
        """Forget the transcript."""
        self.transcript.clear()

    @work(group="learn", exclusive=True)
    async def _learn(self, mode: str) -> None:
        session = self._session()
        if mode not in self._names and session is not None:
            try:
                names = await (_hmp_names(session) if mode == "hmp" else _qmp_names(session))
            except QmonError:
                return  # Completion is a convenience; the prompt says so itself if the monitor is gone.
            self._names[mode] = names
        if mode == self.mode:
            self._prompt.suggester = SuggestFromList(self._names.get(mode, ()), case_sensitive=True)

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        line = event.value.strip()
        if line:
            self._prompt.sent(line)
            self.ask(line)

    @work(group="ask")
    async def ask(self, line: str) -> None:
        """Send a line and show the reply."""
        mode = self.mode
        self.transcript.add(PROMPTS[mode] + line, "accent")
        session = self._session()
        if session is None:
            self.transcript.add("The monitor is disconnected; qmon reconnects by itself", "bad")
            return
        if not await self._agreed(session, mode, line):
            return
        self._sent(f"{mode}: {line}")
        send: Awaitable[str] = session.hmp(line) if mode == "hmp" else _qmp(session, line)
        try:
            reply = await send
        except QmonError as problem:
            self.transcript.add(str(problem), "bad")
        else:
            if reply:
                self.transcript.add(reply)

    async def _agreed(self, session: Monitor, mode: str, line: str) -> bool:
        """Ask before a line that is known to end this VM, or to hold it up."""
        try:
            danger = await (
                danger_of_line(session, line) if mode == "hmp" else danger_of(session, *parse_qmp(line))
            )
        except QmonError:  # What is wrong with the line is told when it is sent.
            return True
        if danger is None:
            return True
        dialog = ConfirmDialog("Send this to the VM?", (line,), warning=danger)
        if await self.app.push_screen_wait(dialog):
            return True
        self.transcript.add("not sent", "dim")
        return False


async def _hmp_names(session: Monitor) -> tuple[str, ...]:
    names = []
    for line in (await session.hmp("help")).splitlines():
        head = line.split(" ", 1)[0]
        names += [name for name in head.split("|") if name.replace("_", "").replace("-", "").isalnum()]
    return (*_COMMON_HMP, *sorted(set(names)))


_COMMON_HMP = (
    "info network",
    "info usernet",
    "info qtree",
    "info status",
    "info pci",
    "hostfwd_add",
    "hostfwd_remove",
)


async def _qmp_names(session: Monitor) -> tuple[str, ...]:
    return tuple(sorted(await session.commands()))


def parse_qmp(line: str) -> tuple[str, dict[str, object] | None]:
    """Split `COMMAND [ARGUMENTS]`, JSON or NAME=VALUE; a whole QMP object is taken too. UsageError if it is neither."""
    hint = 'write: COMMAND name=value …, or COMMAND {"name": value}'
    try:
        if line.startswith("{"):
            whole = json_object(line)
            command, arguments = whole.get("execute"), whole.get("arguments")
        else:
            command, _, rest = line.partition(" ")
            rest = rest.strip()
            words = [rest] if rest.startswith("{") else shlex.split(rest)
            arguments = qmp_arguments(words) if words else None
    except UsageError as problem:
        raise UsageError(problem.message, hint=hint) from None
    except ValueError:  # shlex's, which says it in Python's words.
        raise UsageError("a quotation mark is not closed", hint=hint) from None
    if not isinstance(command, str):
        raise UsageError('the object has no "execute" with a command in it', hint=hint)
    if not (arguments is None or isinstance(arguments, dict)):
        raise UsageError("arguments are one JSON object", hint=hint)
    return command, arguments


async def _qmp(session: Monitor, line: str) -> str:
    command, arguments = parse_qmp(line)
    return json.dumps(await session.execute(command, arguments), indent=2)
