"""The network of the VM as a tree, and what can be done to it from there.

Owns the cursor's place in the tree. Must never change the VM: it says what the user asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.segment import Segment
from textual.binding import Binding, BindingType
from textual.message import Message

from qmon import text
from qmon.network.model import Forward
from qmon.tui.moment import Moment, Pane
from qmon.tui.network_lines import TreeLine, forward_parts, tree_lines
from qmon.tui.rows import RowView


class NetworkPane(RowView, Pane):
    """NICs, netdevs, forwards; marks for taps and links."""

    HAS_HEADING = True
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space,t", "tap", "Tap on/off", tooltip="Start or stop capturing a netdev"),
        Binding("d,delete", "ask('remove')", "Remove", tooltip="Remove the netdev, NIC or forward"),
        Binding("l", "ask('link')", "Link", tooltip="Set the NIC's link up or down"),
        Binding("enter", "choose", "Details", show=False),
        Binding("escape", "leave", "Back", show=False),
    ]

    class Asked(Message):
        """The user wants something done to a line: `what` is tap, remove, link or details."""

        def __init__(self, what: str, line: TreeLine) -> None:
            super().__init__()
            self.what = what
            self.line = line

    class Left(Message):
        """The user goes back to where they were."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._lines: tuple[TreeLine, ...] = ()
        self._version = -1

    def show(self, now: Moment) -> None:
        """Draw another state of the network, the cursor on what it was on."""
        if now.snapshot is None or now.snapshot.version == self._version:
            return
        self._version = now.snapshot.version
        fresh = tree_lines(now.snapshot)
        if fresh == self._lines:
            return
        selected = self.selected
        self._lines = fresh
        if selected is not None:
            same = (i for i, one in enumerate(fresh) if (one.kind, one.id) == (selected.kind, selected.id))
            self.cursor = next(same, self.cursor)
        self.settle()
        if self.cursor is None and fresh:
            self.move_to(0)
        self.clear_strips()

    @property
    def selected(self) -> TreeLine | None:
        """The line under the cursor."""
        return (
            self._lines[self.cursor] if self.cursor is not None and self.cursor < len(self._lines) else None
        )

    # What RowView asks for

    @property
    def end_row(self) -> int:
        """How many lines the tree has."""
        return len(self._lines)

    def selectable(self, number: int) -> bool:
        """Headings and notes cannot be chosen."""
        return self._lines[number].kind not in ("heading", "note", "hub")

    def heading(self, width: int) -> Sequence[Segment]:  # noqa: ARG002
        """Draw the title."""
        return [Segment(" Network", self.palette.heading)]

    def row(self, number: int, width: int) -> Sequence[Segment]:
        """Draw a line: guide, words, and the mark at the right."""
        line, palette = self._lines[number], self.palette
        style, mark = line.mark
        room = width - (text.width(mark) + 1 if mark else 0) - 1
        segments = [Segment(" "), Segment(line.guide, palette.track)]
        room -= 1 + text.width(line.guide)
        parts = forward_parts(line.subject, room) if isinstance(line.subject, Forward) else line.parts
        for part_style, content in parts:
            content = text.cut(content, max(room, 0))
            segments += [Segment(content, getattr(palette, part_style)), Segment(" ")]
            room -= text.width(content) + 1
        segments += [Segment(" " * max(room, 0)), Segment(mark, getattr(palette, style))]
        return segments

    def nothing(self) -> Sequence[str]:
        """Say why the tree is empty."""
        return ("No network", "a: add a netdev and a NIC")

    # Keys

    def _post(self, what: str) -> None:
        if self.selected is not None:
            self.post_message(self.Asked(what, self.selected))

    def action_tap(self) -> None:
        """Start or end the capture of the netdev here, or of the NIC's."""
        self._post("tap")

    def action_ask(self, what: str) -> None:
        """Ask for something to be done to what is under the cursor."""
        self._post(what)

    def action_choose(self) -> None:
        """Show all that is known of what is under the cursor."""
        self._post("details")

    def action_leave(self) -> None:
        """Go back."""
        self.post_message(self.Left())
