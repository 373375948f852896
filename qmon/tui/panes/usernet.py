"""Connections and forwards of the user-mode network stacks, with what was captured of each.

Must never ask the VM: it draws snapshots.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.message import Message

from qmon import text
from qmon.monitor.hmp import Endpoint, UsernetConnection
from qmon.packets.store.packet_store import PacketStore
from qmon.tui.moment import Moment, Pane
from qmon.tui.panes.header import amount
from qmon.tui.table import Cell, Column, TableView
from qmon.usernet_traffic import UsernetRow, usernet_rows

REFRESH_S = 1.0
_COLUMNS = (
    Column("Netdev", 7),
    Column("Proto", 5),
    Column("State", 12),
    Column("Source", 19, share=1),
    Column("Destination", 19, share=1),
    Column("Packets", 7, right=True, need=78),
    Column("Bytes", 8, right=True, need=90),
    Column("Recv-Q", 7, right=True, need=100),
    Column("Send-Q", 7, right=True, need=100),
)


class UsernetPane(TableView, Pane):
    """One line a connection or forward."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "choose", "Show packets")]

    class Picked(Message):
        """The user wants to see the packets of a connection; `expression` is a capture filter."""

        def __init__(self, expression: str) -> None:
            super().__init__()
            self.expression = expression

    def __init__(self, store: PacketStore, *, id: str | None = None) -> None:
        super().__init__(_COLUMNS, id=id)
        self._store = store
        self._rows: tuple[UsernetRow, ...] = ()
        self._stacks = False
        self._next = 0.0

    def show(self, now: Moment) -> None:
        """Draw what the stacks hold, at most once a second."""
        snapshot, moment = now.snapshot, time.monotonic()
        if snapshot is None or moment < self._next:
            return
        self._next = moment + REFRESH_S
        fresh = usernet_rows(snapshot.usernet, self._store.conversations(), self._store.interfaces)
        if fresh != self._rows or bool(snapshot.usernet) != self._stacks:
            self._rows, self._stacks = fresh, bool(snapshot.usernet)
            if self.cursor is None and fresh:
                self.cursor = 0
            self.clear_strips()
            self.settle()

    @property
    def end_row(self) -> int:
        """How many rows there are."""
        return len(self._rows)

    def cells(self, number: int) -> Sequence[Cell]:
        """Say what is known of one connection."""
        row, palette = self._rows[number], self.palette
        connection = row.connection
        return (
            (text.plain(row.netdev), palette.dim),
            (text.plain(connection.protocol), palette.protocol(connection.protocol)),
            (text.plain(_state(connection)), palette.accent if connection.is_forward else palette.text),
            (_endpoint(connection.source), palette.text),
            (_endpoint(connection.destination), palette.text),
            ("-" if row.packets is None else f"{row.packets:,}", palette.text),
            ("-" if row.bytes is None else amount(row.bytes), palette.text),
            (str(connection.recv_queue), palette.warn if connection.recv_queue else palette.faint),
            (str(connection.send_queue), palette.warn if connection.send_queue else palette.faint),
        )

    def nothing(self) -> Sequence[str]:
        """Say why there are no rows."""
        if self._stacks:
            return ("No connections", "The guest has no connections, and no port is forwarded to it")
        return ("No user-mode network", "This VM has no netdev of type user")

    def action_choose(self) -> None:
        """Show the packets of the connection."""
        if self.cursor is None:
            return
        expression = self._rows[self.cursor].expression
        if expression:
            self.post_message(self.Picked(expression))
        else:
            self.notify("No packets of this connection were captured", timeout=3)


def _state(connection: UsernetConnection) -> str:
    if connection.is_forward:
        return "forward"
    return connection.state if connection.expires_s is None else f"{connection.expires_s} s left"


def _endpoint(end: Endpoint) -> str:
    port = "" if end.port is None else f":{end.port}"
    return text.plain(end.address) + port
