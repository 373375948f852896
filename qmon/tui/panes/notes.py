"""What a capture file says between its packets: comments, events, gaps.

Must never interpret a note; its text is foreign.
"""

from __future__ import annotations

from collections.abc import Sequence

from qmon import text
from qmon.packets.batch import NO_TIME, Note
from qmon.tui.panes.packet_list import clock
from qmon.tui.table import Cell, Column, TableView

_COLUMNS = (Column("Time", 15), Column("Kind", 9), Column("What", 20, share=1))


class NotesPane(TableView):
    """One line a note."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(_COLUMNS, id=id)
        self._notes: Sequence[Note] = ()

    def show(self, notes: Sequence[Note]) -> None:
        """Draw these notes, if there are more than before."""
        if len(notes) != len(self._notes):
            self._notes = tuple(notes)
            self.settle()

    @property
    def end_row(self) -> int:
        """How many notes there are."""
        return len(self._notes)

    def cells(self, number: int) -> Sequence[Cell]:
        """Say what one note says."""
        note, palette = self._notes[number], self.palette
        whole, fraction = divmod(note.time_ns, 1_000_000_000)
        when = "" if note.time_ns == NO_TIME else f"{clock(whole)}.{fraction // 1000:06d}"
        return (
            (when, palette.dim),
            (text.plain(note.kind), palette.accent),
            (text.plain(note.text), palette.text),
        )

    def nothing(self) -> Sequence[str]:
        """Say why there are no rows."""
        return ("This file has no notes", "qmon's own captures record here what happened to the VM")
