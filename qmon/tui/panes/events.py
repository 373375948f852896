"""The time line: QMP events and what qmon did, in one list.

Must never interpret an entry; its text is foreign.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from rich.style import Style
from textual.binding import Binding, BindingType

from qmon import text
from qmon.tui.dialogs.confirm import MessageDialog
from qmon.tui.moment import Moment, Pane
from qmon.tui.panes.packet_list import clock
from qmon.tui.table import Cell, Column, TableView

if TYPE_CHECKING:
    from qmon.snapshot import TimelineEntry

_COLUMNS = (Column("Time", 12), Column("Kind", 8), Column("What", 20, share=1))


class EventsPane(TableView, Pane):
    """One line an entry, the newest at the bottom and in sight unless the user goes back."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f", "follow", "Follow"),
        Binding("enter", "choose", "Open", tooltip="Show the whole entry"),
    ]

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(_COLUMNS, id=id)
        self._entries: tuple[TimelineEntry, ...] = ()
        self.follow = True

    def show(self, now: Moment) -> None:
        """Draw the time line, if there is more of it."""
        entries = self._entries if now.snapshot is None else now.snapshot.timeline
        if entries is self._entries:
            return
        self._entries = entries
        if self.follow:
            self.top = max(self.end_row - self.page, self.first_row)
            self.cursor = self.end_row - 1 if entries else None
        self.settle()

    @property
    def first_row(self) -> int:
        """The oldest entry kept."""
        return self._entries[0].seq if self._entries else 0

    @property
    def end_row(self) -> int:
        """One more than the newest entry."""
        return self._entries[-1].seq + 1 if self._entries else 0

    def cells(self, number: int) -> Sequence[Cell]:
        """Say what happened."""
        entry, palette = self._entries[number - self.first_row], self.palette
        whole, fraction = divmod(entry.time_ns, 1_000_000_000)
        return (
            (f"{clock(whole)}.{fraction // 1_000_000:03d}", palette.dim),
            (text.plain(entry.kind), self._colour(entry.kind)),
            (text.plain(entry.text), palette.text),
        )

    def _colour(self, kind: str) -> Style:
        palette = self.palette
        known = {"event": palette.accent, "change": palette.warn, "tap": palette.good, "gap": palette.bad}
        return known.get(kind, palette.outgoing)

    def nothing(self) -> Sequence[str]:
        """Say why there are no rows."""
        return ("Nothing has happened yet", "QMP events and what qmon does to the VM appear here")

    def move_to(self, number: int, *, quietly: bool = False) -> None:
        """Put the cursor on an entry; on the newest, go on following."""
        super().move_to(number, quietly=quietly)
        self.follow = self.cursor == self.end_row - 1

    def action_choose(self) -> None:
        """Show the whole of an entry."""
        if self.cursor is not None and self._entries:
            entry = self._entries[self.cursor - self.first_row]
            self.app.push_screen(MessageDialog(entry.kind, entry.text, error=False))

    def action_follow(self) -> None:
        """Go to the newest entry and stay there."""
        self.action_last()
