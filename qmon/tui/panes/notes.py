"""What a capture file says beside its packets: comments on them, events, gaps.

Must never interpret a note; its text is foreign.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.message import Message

from qmon import text
from qmon.packets.batch import NO_TIME, Note
from qmon.tui.dialogs.confirm import MessageDialog
from qmon.tui.moment import Moment, Pane
from qmon.tui.panes.packet_list import clock
from qmon.tui.table import Cell, Column, TableView

_COLUMNS = (
    Column("Time", 15),
    Column("Packet", 7, right=True),
    Column("Kind", 9),
    Column("What", 20, share=1),
)


class NotesPane(TableView, Pane):
    """One line a note."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "choose", "Open")]

    class Picked(Message):
        """The user wants to see the packet that a comment is on."""

        def __init__(self, seq: int) -> None:
            super().__init__()
            self.seq = seq

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(_COLUMNS, id=id)
        self._notes: Sequence[tuple[Note, int | None]] = ()

    def show(self, now: Moment) -> None:
        """Draw the notes, if there are more than before."""
        if len(now.notes) != len(self._notes):
            self._notes = tuple(now.notes)
            if self.cursor is None:
                self.cursor = 0
            self.clear_strips()
            self.settle()

    @property
    def end_row(self) -> int:
        """How many notes there are."""
        return len(self._notes)

    def cells(self, number: int) -> Sequence[Cell]:
        """Say what one note says."""
        (note, seq), palette = self._notes[number], self.palette
        whole, fraction = divmod(note.time_ns, 1_000_000_000)
        when = "" if note.time_ns == NO_TIME else f"{clock(whole)}.{fraction // 1000:06d}"
        return (
            (when, palette.dim),
            ("" if seq is None else str(seq + 1), palette.dim),
            (text.plain(note.kind), palette.accent),
            (text.plain(note.text), palette.text),
        )

    def nothing(self) -> Sequence[str]:
        """Say why there are no rows."""
        return ("This file has no notes", "No comments, no events of the VM")

    def action_choose(self) -> None:
        """Show the packet that the comment is on, or the whole of another note."""
        if self.cursor is None or not self._notes:
            return
        note, seq = self._notes[self.cursor]
        if seq is not None:
            self.post_message(self.Picked(seq))
        else:
            self.app.push_screen(MessageDialog(note.kind, note.text, error=False))
