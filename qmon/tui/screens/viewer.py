"""A capture file in the dashboard's packet views.

Owns the loading, in a thread, a slice at a time, so that the first packets are on the screen while the rest is
still being read. Must never need a VM.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from textual import on, work
from textual.app import ComposeResult

from qmon import text
from qmon.errors import QmonError
from qmon.packets.files.source import CaptureFile
from qmon.packets.store.packet_store import PacketStore
from qmon.tui.panes.conversations import ConversationsPane
from qmon.tui.panes.header import Part, amount
from qmon.tui.panes.key_bar import KeyBar
from qmon.tui.panes.notes import NotesPane
from qmon.tui.panes.packets import PacketsPane
from qmon.tui.screens.tabbed import TabbedScreen

SLICE_S = 0.08


class ViewerScreen(TabbedScreen):
    """Packets, conversations and notes of one file."""

    def __init__(self, file: CaptureFile, title: str) -> None:
        # What cannot be read again (gzipped, a pipe) is kept.
        self.store = PacketStore(source=file if file.seekable else None)
        self._conversations = ConversationsPane(self.store, id="conversations")
        self._notes = NotesPane(id="notes")
        super().__init__(
            PacketsPane(self.store, live=False, id="packets"),
            {"Conversations": self._conversations, "Notes": self._notes},
        )
        self._file = file
        self._title = text.plain(title)
        self._loaded = False
        self._problem = ""
        self._interfaces_seen = 0

    def compose(self) -> ComposeResult:
        """Make header, tabs and panes."""
        yield self.header
        yield from self.compose_tabs()
        yield KeyBar()

    def on_mount(self) -> None:
        """Start loading."""
        super().on_mount()
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
                self.store.append(batch)
            except QmonError as problem:
                self._problem = str(problem)
                return False
            if time.monotonic() >= deadline:
                return True

    def tick(self) -> None:
        """Draw what was loaded since the last time."""
        if self.open_pane is self.packets:
            self.packets.set_waiting(
                ("There are no packets in this file",) if self._loaded else ("Reading …",)
            )
            self.packets.tick()
        elif self.open_pane is self._conversations:
            self._conversations.tick()
        else:
            self._notes.show(self._file.notes)
        self._show_header()

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
