"""What the dashboard and the file viewer have in common: tabs, and drawing at a bounded rate.

Owns which pane is open. Must never know what a pane shows.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import ContentSwitcher, Input

from qmon import text
from qmon.errors import QmonError
from qmon.export.saving import save
from qmon.export.wireshark_feed import show_in_wireshark
from qmon.tui.app import QmonApp
from qmon.tui.dialogs.box import hint_of
from qmon.tui.dialogs.confirm import MessageDialog
from qmon.tui.dialogs.form import Field, FormDialog
from qmon.tui.moment import Pane
from qmon.tui.panes.filter_bar import FilterBar
from qmon.tui.panes.header import HeaderLine
from qmon.tui.panes.packets import PacketsPane
from qmon.tui.panes.tab_bar import TabBar

DRAW_HZ = 30


class TabbedScreen(Screen[None]):
    """Panes under tabs; a pane's id is its tab's name in lower case."""

    DEFAULT_CSS = """
    TabbedScreen { overflow: hidden; ContentSwitcher { height: 1fr; } }
    """
    # `open_tab` says where the focus is, from the start.
    AUTO_FOCUS = ""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "Filter", priority=True, tooltip="Filter packets"),
        Binding("w", "save", "Save", tooltip="Save packets to a file"),
        Binding("W", "wireshark", "Wireshark", show=False, tooltip="Show the packets in Wireshark"),
        *(Binding(str(number), f"tab({number})", show=False) for number in range(1, 10)),
    ]

    def __init__(self, packets: PacketsPane, panes: Mapping[str, Pane]) -> None:
        """Take the panes by their tabs' names; `packets` is the one that is opened first."""
        super().__init__()
        # Widgets are kept, not queried: drawing goes on for a moment while the screen is taken down.
        self.packets = packets
        self.panes: dict[str, Pane] = {"Packets": packets, **panes}
        self.open_pane: Pane = packets
        self._tabs = TabBar(tuple(self.panes))
        self._switcher = ContentSwitcher(*self.panes.values(), initial=packets.id)
        self.header = HeaderLine()
        self._filter_from = ""
        # All packets before this one are in a file.
        self.saved = 0

    def compose_tabs(self) -> ComposeResult:
        """Make the tabs and the panes under them."""
        yield self._tabs
        yield self._switcher

    def on_mount(self) -> None:
        """Start drawing."""
        self.open_tab("Packets")
        self._draw()

    @work(group="draw")
    async def _draw(self) -> None:
        # A sleeping task costs a third of a Textual timer, and an idle dashboard does little else than this.
        while True:
            await asyncio.sleep(1 / DRAW_HZ)
            if isinstance(self.app, QmonApp) and self.app.terminal_behind:
                self.take_in()
            else:
                self.tick()

    def take_in(self) -> None:
        """Take in what is new without drawing, while the terminal takes no output."""

    def tick(self) -> None:
        """Take in what is new; called at the drawing rate."""
        raise NotImplementedError

    def open_tab(self, name: str) -> None:
        """Open a pane by its tab's name and give it the focus."""
        self._tabs.show(name)
        self.open_pane = pane = self.panes[name]
        self._switcher.current = pane.id
        self.tick()
        # Now, not by a message: the next key may be in the queue already, and it is meant for the pane.
        self.set_focus(pane.entry)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Leave a slash to the line it is typed into."""
        if action == "filter" and isinstance(self.focused, Input):
            return False
        return super().check_action(action, parameters)

    def action_filter(self) -> None:
        """Type a filter for the packets, whatever tab is open."""
        self._filter_from = self._tabs.open
        if self.open_pane is not self.packets:
            self.open_tab("Packets")
        self.packets.type_filter()

    @on(FilterBar.Left)
    def _filter_left(self) -> None:
        """Go back to the tab that the filter was asked for in."""
        if self._filter_from != "Packets":
            self.open_tab(self._filter_from)

    def save_name(self) -> str:
        """Return what a file with these packets could be called, without time and suffix."""
        raise NotImplementedError

    def ask(self, questions: Coroutine[Any, Any, object]) -> None:
        """Run something that opens dialogs; keys typed ahead are for them."""
        assert isinstance(self.app, QmonApp)
        self.app.ask(self, questions)

    def action_save(self) -> None:
        """Ask for a file and write the packets into it."""
        self.ask(self._save())

    async def _save(self) -> bool:
        """Return whether packets were saved."""
        rows = self.packets.packet_list.rows

        async def check(values: Sequence[str]) -> str:
            end = rows.store.next_seq
            path, count = await save(rows.store, values[0], values[1])
            if not values[1]:
                self.saved = end
            return f"Saved {count:,} packets to {path}"

        stem = re.sub(r"[^\w.-]", "_", self.save_name())
        fields = (
            Field("File", "capture.pcapng", f"{stem}-{time.strftime('%Y%m%d-%H%M%S')}.pcapng"),
            Field("Capture filter (empty: all packets)", "tcp port 80", rows.expression, optional=True),
        )
        dialog = FormDialog(
            "Save packets", fields, check, hints=("The suffix .pcap makes a classic pcap file.",)
        )
        said = await self.app.push_screen_wait(dialog)
        if said is not None:
            self.notify(text.plain(said), markup=False)
        return said is not None

    @work(group="wireshark")
    async def action_wireshark(self) -> None:
        """Show the packets in Wireshark, those that come too."""
        rows = self.packets.packet_list.rows
        self.notify("Starting Wireshark …", timeout=3)
        try:
            await show_in_wireshark(rows.store, rows.expression)
        except QmonError as problem:
            self.app.push_screen(MessageDialog("Show in Wireshark", problem.message, hint=hint_of(problem)))

    def action_tab(self, number: int) -> None:
        """Open a tab by its number."""
        if number <= len(self.panes):
            self.open_tab(list(self.panes)[number - 1])

    @on(TabBar.Opened)
    def _tab_clicked(self, event: TabBar.Opened) -> None:
        self.open_tab(event.name)
