"""The packets pane: list, dissection tree and bytes, linked.

Owns how the three follow each other: the selected packet is dissected in a thread, a selected field marks its
bytes, a selected byte opens its field. Must depend on nothing but a packet store.
"""

from __future__ import annotations

import asyncio
import time
from typing import ClassVar

from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widget import Widget

from qmon import text
from qmon.errors import QmonError
from qmon.packets.batch import Direction
from qmon.packets.dissect import dissect
from qmon.packets.store.packet_store import PacketStore
from qmon.tui.moment import Moment, Pane
from qmon.tui.panes.detail import DetailTree
from qmon.tui.panes.filter_bar import FilterBar
from qmon.tui.panes.hexdump import HexView
from qmon.tui.panes.packet_list import PacketList
from qmon.tui.panes.packet_status import PacketStatus, StatusRule
from qmon.tui.rows import RowView

WARM_UP_AFTER_S = 0.15
# A pane of fewer lines shows the list or the selected packet, not both.
LOW = 14
# While the list follows, so often the newest packet is dissected: nobody reads faster.
FOLLOW_EVERY_S = 0.25
_DIRECTIONS = {Direction.IN: "to the guest", Direction.OUT: "from the guest", Direction.UNKNOWN: ""}


class PacketsPane(Vertical, Pane):
    """Everything about packets."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "match(1)", "Next match", show=False),
        Binding("N", "match(-1)", "Previous match", show=False),
        Binding("m", "marking", "Mark instead of hide", show=False),
        Binding("escape", "back", "Back", show=False),
        Binding("x", "toggle_bytes", "Show or hide bytes", show=False),
    ]
    DEFAULT_CSS = """
    PacketsPane {
        PacketList { height: 3fr; }
        #selected { height: 2fr; min-height: 6; }
        DetailTree { width: 1fr; }
        HexView { width: 76; border-left: vkey $border; }
        &.-narrow HexView { width: 43; }
        &.-no-bytes HexView { display: none; }
        &.-slim HexView { display: none; }
        &.-slim.-bytes HexView { display: block; }
        &.-low #selected { display: none; }
        &.-low.-into #selected { display: block; height: 1fr; }
        &.-low.-into PacketList { display: none; }
    }
    """

    def __init__(self, store: PacketStore, *, live: bool, id: str | None = None) -> None:
        super().__init__(id=id)
        self._store = store
        self._rule = StatusRule()
        self._filter = FilterBar(lambda: [interface.link_type for interface in store.interfaces])
        self.packet_list = PacketList(store, live=live, id="packet-list")
        self.detail = DetailTree(id="detail")
        self.hex_view = HexView(id="bytes")
        self._wanted: int | None = None
        self._shown: int | None = None
        self._next_look = 0.0
        # Until the dissector is loaded nothing is dissected; what is wanted then comes first.
        self._dissecting = True

    def compose(self) -> ComposeResult:
        """Make list, rule, tree and bytes."""
        yield self._filter
        yield self.packet_list
        yield self._rule
        with Horizontal(id="selected"):
            yield self.detail
            yield self.hex_view

    def on_mount(self) -> None:
        """Have the dissector loaded, but only after the first screen is drawn: it takes 0.2 s."""
        self._warm_up()

    @work(group="dissect")
    async def _warm_up(self) -> None:
        await asyncio.sleep(WARM_UP_AFTER_S)
        await asyncio.to_thread(dissect, b"", 1)
        self._dissecting = False
        self._load()

    @property
    def entry(self) -> Widget:
        """What gets the focus when the pane is opened."""
        return self.packet_list

    @property
    def busy(self) -> bool:
        """Whether there is something to do without new packets: for a filter, or for the selected packet."""
        return self.packet_list.rows.behind > 0 or self._outrun

    @property
    def _outrun(self) -> bool:
        """Whether the list has followed to a packet that is not dissected yet."""
        return self.packet_list.follow and self._wanted != self.packet_list.selected_seq

    @property
    def _shows_selected(self) -> bool:
        return not self.has_class("-low") or self.has_class("-into")

    def on_resize(self) -> None:
        """Give the bytes 16 or 8 columns, or the whole room to the tree; where it is low, to list or packet."""
        self.set_class(self.size.width < 132, "-narrow")
        self.set_class(self.size.width < 70, "-slim")
        self.set_class(self.size.height < LOW, "-low")

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """A packet that is looked into stays, whatever comes."""
        into = event.widget in (self.detail, self.hex_view)
        if into:
            self.packet_list.stay(self._shown)
        self.set_class(into, "-into")
        if into:
            self._load()

    def show(self, now: Moment) -> None:
        """Take in new packets."""
        if tuple(now.waiting) != tuple(self.packet_list.waiting_lines):
            self.packet_list.waiting_lines = tuple(now.waiting)
            self.packet_list.refresh()
        self.packet_list.tick()
        if self._outrun and time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + FOLLOW_EVERY_S
            self._select()
        self.update_status()

    def update_status(self) -> None:
        """Bring the rule between list and packet up to date."""
        rows = self.packet_list.rows
        self._rule.show(
            PacketStatus(
                shown=rows.matches,
                total=self._store.packets,
                expression=rows.expression,
                only_matches=rows.only_matches,
                behind=rows.behind,
                follow=self.packet_list.follow,
                paused=rows.paused,
                selected=self._describe(self._shown),
            )
        )

    def _describe(self, seq: int | None) -> str:
        if seq is None or not self._store.first_seq <= seq < self._store.next_seq:
            return ""
        row = self._store.row(seq)
        name = text.plain(self._store.interfaces[row.interface].name)
        cut = f" ({row.captured} captured)" if row.captured != row.length else ""
        where = " ".join(filter(None, [name, _DIRECTIONS[row.direction]]))
        return f"Packet {seq + 1} · {row.length} bytes{cut}" + (f" · {where}" if where else "")

    # The selected packet

    @on(RowView.Highlighted, "#packet-list")
    def _packet_selected(self, event: RowView.Highlighted) -> None:
        event.stop()
        self._select()

    def _select(self) -> None:
        self._wanted = self.packet_list.selected_seq
        if self._wanted is None:
            self._shown = None
            self.detail.clear("No packet is selected")
            self.hex_view.show(b"")
        else:
            self._load()

    def _load(self) -> None:
        if self._dissecting or self._wanted is None or self._wanted == self._shown:
            return
        if not self._shows_selected:
            return
        seq = self._wanted
        try:
            frame, link_type = self._store.frame(seq), self._store.link_type(seq)
        except (QmonError, IndexError) as problem:
            self._shown = seq
            self.hex_view.show(b"")
            self.detail.clear(text.plain(str(problem)))
            return
        self._dissecting = True
        self._dissect(seq, frame, link_type)

    @work(group="dissect")
    async def _dissect(self, seq: int, frame: bytes, link_type: int) -> None:
        root = await asyncio.to_thread(dissect, frame, link_type)
        self._dissecting = False
        if self._wanted is None:
            return
        self._shown = seq
        self.hex_view.show(frame)
        self.detail.show(root)
        if self.detail.has_focus and self.detail.cursor is None:
            # They were entered before this packet's were there.
            self.detail.move_to(0)
        selected = self.detail.selected
        if selected is not None:
            self.hex_view.mark(selected.start, selected.stop)
        self.update_status()
        self._load()

    # Linked both ways

    @on(DetailTree.FieldSelected)
    def _field_selected(self, event: DetailTree.FieldSelected) -> None:
        event.stop()
        self.hex_view.mark(event.node.start, event.node.stop)

    @on(HexView.ByteSelected)
    def _byte_selected(self, event: HexView.ByteSelected) -> None:
        event.stop()
        node = self.detail.select_byte(event.offset)
        if node is not None:
            self.hex_view.mark(node.start, node.stop, reveal=False)

    @on(RowView.Chosen, "#packet-list")
    def _into(self, event: RowView.Chosen) -> None:
        event.stop()
        # At once, not when the focus has come: it might have followed further by then.
        self.packet_list.stay(event.row if not self.packet_list.rows.filtering else None)
        self.screen.set_focus(self.detail)
        if self.detail.cursor is None:
            self.detail.move_to(0)

    # Filter

    @on(PacketList.ModeChanged)
    def _mode_changed(self) -> None:
        self.update_status()

    def type_filter(self) -> None:
        """Open the line in which a filter is typed."""
        self._filter.open(self.packet_list.rows.expression)

    @on(FilterBar.Applied)
    def _filter_applied(self, event: FilterBar.Applied) -> None:
        event.stop()
        self.set_filter(event.expression)
        self._leave_filter()

    @on(FilterBar.Left)
    def _leave_filter(self) -> None:
        self._filter.close()
        self.screen.set_focus(self.packet_list)

    def set_filter(self, expression: str) -> None:
        """Filter the list; UsageError if libpcap does not understand the expression."""
        self.packet_list.set_filter(expression)
        self.update_status()

    def action_match(self, step: int) -> None:
        """Go to the next or previous packet that the filter matches."""
        rows = self.packet_list.rows
        if not rows.filtering:
            self.notify("There is no filter: press / to set one")
            return
        at = self.packet_list.selected_seq
        found = rows.match_after(-1 if at is None else at, step)
        if found is None:
            self.notify("No further match" if step > 0 else "No earlier match")
        else:
            self.packet_list.go_to_seq(found)

    def action_marking(self) -> None:
        """Let the filter mark what matches among all packets, or hide the others."""
        self.packet_list.set_only_matches(not self.packet_list.rows.only_matches)
        self.update_status()

    def action_back(self) -> None:
        """Out: from tree or bytes to the list, from the list to all packets."""
        if not self.packet_list.has_focus:
            self.screen.set_focus(self.packet_list)
        elif self.packet_list.rows.filtering:
            self.set_filter("")

    def action_toggle_bytes(self) -> None:
        """Hide or show the bytes."""
        self.toggle_class("-bytes" if self.has_class("-slim") else "-no-bytes")
