"""A capture file in the dashboard's packet views.

Owns the loading, in a thread, a slice at a time, so that the first packets are on the screen while the rest is
still being read. Must never need a VM.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

from textual import on, work
from textual.app import ComposeResult

from qmon import text
from qmon.errors import QmonError
from qmon.packets.batch import FrameBatch, Note
from qmon.packets.files.source import CaptureFile
from qmon.packets.store.packet_store import PacketStore
from qmon.tui.moment import Moment
from qmon.tui.panes.conversations import ConversationsPane
from qmon.tui.panes.header import Part, amount
from qmon.tui.panes.key_bar import KeyBar
from qmon.tui.panes.notes import NotesPane
from qmon.tui.panes.packets import PacketsPane
from qmon.tui.screens.tabbed import TabbedScreen

SLICE_S = 0.08
MOST_COMMENTS = 100_000


class ViewerScreen(TabbedScreen):
    """Packets, conversations and notes of one file."""

    def __init__(self, file: CaptureFile, title: str, expression: str = "") -> None:
        self._expression = expression
        # What cannot be read again (gzipped, a pipe) is kept.
        self.store = PacketStore(source=file if file.seekable else None)
        super().__init__(
            PacketsPane(self.store, live=False, id="packets"),
            {
                "Conversations": ConversationsPane(self.store, id="conversations"),
                "Notes": NotesPane(id="notes"),
            },
        )
        self._file = file
        self._title = text.plain(title)
        self._loaded = False
        self._problem = ""
        self._interfaces_seen = 0
        self._comments: list[tuple[Note, int | None]] = []
        self._notes_by_time: list[tuple[Note, int | None]] = []

    def compose(self) -> ComposeResult:
        """Make header, tabs and panes."""
        yield self.header
        yield from self.compose_tabs()
        yield KeyBar()

    def on_mount(self) -> None:
        """Start loading."""
        super().on_mount()
        if self._expression:
            self.packets.set_filter(self._expression)
        self._load()

    @work(group="load")
    async def _load(self) -> None:
        while await asyncio.to_thread(self._load_slice):
            self.tick()
        self._loaded = True
        self.tick()
        for problem in [*map(str, self._file.damage[:3]), *filter(None, [self._problem])]:
            self.notify(text.plain(f"Damaged {problem}"), severity="error", timeout=10, markup=False)

    def _load_slice(self) -> bool:
        """Read on for a moment (in a thread); return whether there is more."""
        deadline = time.monotonic() + (SLICE_S if len(self.store) else 0)
        while True:
            try:
                batch = self._file.read_batch()
                for interface in self._file.interfaces[self._interfaces_seen :]:
                    self.store.add_interface(interface)
                    self._interfaces_seen += 1
                if batch is None:
                    return False
                self._take_comments(batch)
                self.store.append(batch)
            except QmonError as problem:
                self._problem = str(problem)
                return False
            if time.monotonic() >= deadline:
                return True

    def _take_comments(self, batch: FrameBatch) -> None:
        first = self.store.next_seq
        for at, comment in batch.comments[: MOST_COMMENTS - len(self._comments)]:
            for said in comment.split("\n"):
                self._comments.append((Note(int(batch.time_ns[at]), said, "comment"), first + at))

    def tick(self) -> None:
        """Draw what was loaded since the last time."""
        waiting = "There are no packets in this file" if self._loaded else "Reading …"
        self.open_pane.show(Moment(int(time.time()), notes=self._all_notes(), waiting=(waiting,)))
        self._show_header()

    def _all_notes(self) -> Sequence[tuple[Note, int | None]]:
        """Return the file's notes and the comments on its packets, by time."""
        count = len(self._file.notes) + len(self._comments)
        if count != len(self._notes_by_time):
            notes = [*((note, None) for note in self._file.notes), *self._comments]
            self._notes_by_time = sorted(notes, key=lambda entry: entry[0].time_ns)
        return self._notes_by_time

    def _show_header(self) -> None:
        store = self.store
        left: list[Part] = [("strong", self._title), ("dim", self._file.format)]
        right: list[Part] = [("text", f"{store.packets:,} packets"), ("text", amount(store.bytes))]
        if not self._loaded:
            right.insert(0, ("warn", f"reading {self._file.progress:.0%}"))
        if self._file.damage or self._problem:
            right.insert(0, ("bad", "damaged"))
        self.header.show(left, right)

    def save_name(self) -> str:
        """Name a file after the one that is looked at."""
        return Path(self._title).stem + "-part"

    @on(ConversationsPane.Picked)
    def _conversation_picked(self, event: ConversationsPane.Picked) -> None:
        self.open_tab("Packets")
        self.packets.set_filter(event.expression)

    @on(NotesPane.Picked)
    def _comment_picked(self, event: NotesPane.Picked) -> None:
        self.open_tab("Packets")
        self.packets.packet_list.go_to_seq(event.seq)
