"""The selected packet's dissection as a tree.

Owns which branches are open (remembered from packet to packet by their labels) and the selected field. Must
never dissect: it draws the nodes it is given.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.segment import Segment
from textual.binding import Binding, BindingType
from textual.message import Message

from qmon import text
from qmon.packets.dissect import Node
from qmon.tui.rows import RowView

Labels = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Line:
    node: Node
    depth: int
    labels: Labels
    open: bool


class DetailTree(RowView):
    """Layers and fields; `field_at` finds the field of a byte."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space,enter", "toggle_branch", "Open/close"),
        Binding("right", "open", "Open", show=False),
        Binding("left", "close", "Close", show=False),
        Binding("E", "open_all", "Open all"),
        Binding("C", "close_all", "Close all"),
    ]

    class FieldSelected(Message):
        """Another field was selected by the user."""

        def __init__(self, node: Node) -> None:
            super().__init__()
            self.node = node

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._root: Node | None = None
        self._open: dict[Labels, bool] = {}
        self._lines: list[_Line] = []
        self._message = "No packet is selected"

    # Content

    def show(self, root: Node) -> None:
        """Draw another packet, keeping the selected field where the new one has it too."""
        selected = self._lines[self.cursor].labels if self.cursor is not None and self._lines else None
        self._root = root
        self._flatten()
        self.cursor = next((i for i, line in enumerate(self._lines) if line.labels == selected), None)
        if self.cursor is None:
            self.top = 0
        self.settle()

    def clear(self, message: str) -> None:
        """Draw nothing but a message."""
        self._root, self._lines, self._message, self.cursor = None, [], message, None
        self.top = 0
        self.clear_strips()

    @property
    def selected(self) -> Node | None:
        """The field under the cursor."""
        if self.cursor is None or self.cursor >= len(self._lines):
            return None
        return self._lines[self.cursor].node

    def select_byte(self, offset: int) -> Node | None:
        """Open the way to the innermost field that holds the byte, select it and return it."""
        labels: Labels = ()
        node, found = self._root, None
        while node is not None:
            node = next((child for child in node.children if _holds(child, offset)), None)
            if node is not None:
                found = node
                if labels:
                    self._open[labels] = True
                labels = (*labels, node.label)
        if found is not None:
            self._flatten()
            self.cursor = next((i for i, line in enumerate(self._lines) if line.node is found), None)
            if self.cursor is not None:
                self.show_row(self.cursor)
        return found

    def _flatten(self) -> None:
        self._lines = [] if self._root is None else list(self._walk(self._root, 0, ()))
        self.clear_strips()

    def _walk(self, parent: Node, depth: int, labels: Labels) -> Iterator[_Line]:
        layers = [number for number, node in enumerate(parent.children) if node.children]
        for number, node in enumerate(parent.children):
            own = (*labels, node.label)
            innermost = depth == 0 and [number] == layers[-1:]
            is_open = bool(node.children) and self._open.get(own, innermost)
            yield _Line(node, depth, own, is_open)
            if is_open:
                yield from self._walk(node, depth + 1, own)

    # What RowView asks for

    @property
    def end_row(self) -> int:
        """How many lines the open branches have."""
        return len(self._lines)

    def nothing(self) -> Sequence[str]:
        """Say why there is no tree."""
        return (self._message,)

    def row(self, number: int, width: int) -> Sequence[Segment]:  # noqa: ARG002
        """Draw a layer or a field."""
        line, palette = self._lines[number], self.palette
        node = line.node
        mark = ("▾ " if line.open else "▸ ") if node.children else "  "
        label, value = text.plain(node.label), text.plain(node.value)
        segments = [Segment(" " + "  " * line.depth + mark, palette.faint)]
        if line.depth == 0:
            segments.append(Segment(label, palette.strong))
            if value:
                segments.append(Segment(f"  {value}", palette.dim))
        elif not value:
            segments.append(Segment(label, palette.text))
        else:
            segments += [Segment(f"{label}: ", palette.dim), Segment(value, palette.text)]
        return segments

    # Keys and mouse

    def move_to(self, number: int, *, quietly: bool = False) -> None:
        """Put the cursor on a field and tell which bytes are its own."""
        super().move_to(number, quietly=True)
        node = self.selected
        if node is not None and not quietly:
            self.post_message(self.FieldSelected(node))

    def clicked(self, number: int, x: int) -> None:
        """Select; a click on the mark of a branch opens or closes it."""
        self.move_to(number)
        if x <= 2 * self._lines[number].depth + 2:
            self.action_toggle_branch()

    def action_choose(self) -> None:
        """Open or close."""
        self.action_toggle_branch()

    def action_toggle_branch(self) -> None:
        """Open or close the branch under the cursor."""
        if self.cursor is not None and self._lines[self.cursor].node.children:
            self._set_open(not self._lines[self.cursor].open)

    def action_open(self) -> None:
        """Open the branch, or go into it if it is open."""
        if self.cursor is None or not self._lines[self.cursor].node.children:
            return
        if self._lines[self.cursor].open:
            self.move_to(self.cursor + 1)
        else:
            self._set_open(True)

    def action_close(self) -> None:
        """Close the branch, or go to the one it belongs to."""
        if self.cursor is None:
            return
        line = self._lines[self.cursor]
        if line.open:
            self._set_open(False)
        elif line.depth:
            self.move_to(next(i for i, other in enumerate(self._lines) if other.labels == line.labels[:-1]))

    def _set_open(self, value: bool) -> None:
        assert self.cursor is not None
        self._open[self._lines[self.cursor].labels] = value
        self._flatten()
        self.show_row(self.cursor)

    def action_open_all(self) -> None:
        """Open every branch of this packet."""
        self._set_all(True)

    def action_close_all(self) -> None:
        """Close every branch of this packet."""
        self._set_all(False)

    def _set_all(self, value: bool) -> None:
        if self._root is None:
            return
        top = self._lines[self.cursor].labels[:1] if self.cursor is not None else ()
        for labels in _branches(self._root, ()):
            self._open[labels] = value
        self._flatten()
        self.cursor = next((i for i, line in enumerate(self._lines) if line.labels == top), None)
        self.settle()


def _holds(node: Node, offset: int) -> bool:
    return node.start is not None and node.stop is not None and node.start <= offset < node.stop


def _branches(node: Node, labels: Labels) -> Iterator[Labels]:
    for child in node.children:
        own = (*labels, child.label)
        if child.children:
            yield own
            yield from _branches(child, own)
