"""Who talked to whom, how much: one line a conversation.

Owns the order. Must never count: the store does.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.message import Message

from qmon import text
from qmon.packets.store.conversations import Conversation, ConversationTable
from qmon.packets.store.packet_store import PacketStore
from qmon.tui.moment import Moment, Pane
from qmon.tui.panes.header import amount
from qmon.tui.panes.packet_list import shorten_address
from qmon.tui.table import Cell, Column, TableView

REFRESH_S = 0.5
_COLUMNS = (
    Column("Netdev", 7),
    Column("Protocol", 8),
    Column("A (spoke first)", 21, share=3),
    Column("B", 21, share=3),
    Column("Packets", 8, right=True),
    Column("Bytes", 8, right=True),
    Column("A to B", 8, right=True, need=100),
    Column("B to A", 8, right=True, need=100),
    Column("Duration", 9, right=True, need=112),
)
_ORDERS = (("bytes", 5), ("packets", 4), ("last_ns", 3), ("first_ns", 2), ("duration", 8), ("protocol", 1))
_SAID = {"last_ns": "last packet", "first_ns": "first packet"}


class ConversationsPane(TableView, Pane):
    """All conversations of a store, the largest first unless sorted otherwise."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "sort", "Sort"),
        Binding("enter", "choose", "Show packets"),
    ]

    class Picked(Message):
        """The user wants to see the packets of a conversation; `expression` is a capture filter."""

        def __init__(self, expression: str) -> None:
            super().__init__()
            self.expression = expression

    def __init__(self, store: PacketStore, *, id: str | None = None) -> None:
        super().__init__(_COLUMNS, id=id)
        self._store = store
        self._table: ConversationTable | None = None
        self._order: Sequence[int] = ()
        self._by = 0
        self.sorted_by = _ORDERS[0][1]
        self._packets = -1
        self._next = 0.0

    @property
    def end_row(self) -> int:
        """How many conversations there are."""
        return len(self._order)

    def show(self, now: Moment) -> None:  # noqa: ARG002
        """Ask the store again, if it got packets and not too soon."""
        moment = time.monotonic()
        if self._store.packets == self._packets or moment < self._next:
            return
        self._next, self._packets = moment + REFRESH_S, self._store.packets
        self._take()

    def _take(self) -> None:
        selected = (
            self._order[self.cursor] if self.cursor is not None and self.cursor < len(self._order) else None
        )
        self._table = self._store.conversations()
        key = _ORDERS[self._by][0]
        self._order = self._table.order_by(key, descending=key not in ("protocol", "first_ns")).tolist()
        if selected is not None:
            self.cursor = self._order.index(selected)
        elif self._order:
            self.cursor = 0
        self.settle()
        self.clear_strips()

    def cells(self, number: int) -> Sequence[Cell]:
        """Say what is known of one conversation."""
        assert self._table is not None
        found, palette = self._table[self._order[number]], self.palette
        netdev = text.plain(self._store.interfaces[found.interface].name)
        return (
            (netdev, palette.dim),
            (found.protocol, palette.protocol(found.protocol)),
            (_endpoint(found.address_a, found.port_a), palette.text),
            (_endpoint(found.address_b, found.port_b), palette.text),
            (f"{found.packets:,}", palette.text),
            (amount(found.bytes), palette.text),
            (amount(found.bytes_ab), palette.dim),
            (amount(found.bytes_ba), palette.dim),
            (f"{(found.last_ns - found.first_ns) / 1e9:.3f} s", palette.dim),
        )

    def nothing(self) -> Sequence[str]:
        """Say why there are no rows."""
        return ("No conversations yet", "They appear with the first packets that have addresses")

    def action_sort(self) -> None:
        """Sort by the next column."""
        self._by = (self._by + 1) % len(_ORDERS)
        name, self.sorted_by = _ORDERS[self._by]
        self._take()
        self.notify(f"Sorted by {_SAID.get(name, name)}", timeout=2)

    def action_choose(self) -> None:
        """Show the conversation's packets."""
        if self.cursor is not None and self._table is not None:
            self.post_message(self.Picked(filter_for(self._table[self._order[self.cursor]])))


def _endpoint(address: str, port: int) -> str:
    if not port:
        return address
    return f"[{shorten_address(address, 30)}]:{port}" if ":" in address else f"{address}:{port}"


def filter_for(found: Conversation) -> str:
    """Return the capture filter that lets one conversation through."""
    terms = [f"host {found.address_a}", f"host {found.address_b}"]
    transport = {"TCP": "tcp", "UDP": "udp", "SCTP": "sctp"}.get(found.protocol)
    if transport:
        terms = [transport, *terms, f"port {found.port_a}"]
        if found.port_b != found.port_a:
            terms.append(f"port {found.port_b}")
    return " and ".join(terms)
