"""Rows of `info usernet` joined with what was captured of the same connections (pure).

Owns the matching. Must never draw.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qmon.monitor.hmp import Connection, Endpoint, UsernetStack
from qmon.packets.store.conversations import Conversation, ConversationTable


@dataclass(frozen=True, slots=True)
class UsernetRow:
    """One row of a user-mode stack. `packets` and `bytes` are None where nothing captured belongs to it."""

    netdev: str
    connection: Connection
    packets: int | None
    bytes: int | None
    expression: str


def usernet_rows(stacks: Sequence[UsernetStack], table: ConversationTable) -> tuple[UsernetRow, ...]:
    """Return every row with the traffic captured for it; forwards first.

    A connection that the guest opened is found by both its ends. Of one that came through a forward the stack
    tells the host's side, which is not on the guest's wire, so there and for the forward itself all flows with
    the guest's end are summed up.
    """
    rows = [_joined(stack.netdev, connection, table) for stack in stacks for connection in stack.connections]
    return tuple(sorted(rows, key=lambda row: not row.connection.is_forward))


def _joined(netdev: str, connection: Connection, table: ConversationTable) -> UsernetRow:
    guest, far = connection.source, connection.destination
    found = _flows(table, connection.protocol, guest, far)
    if not found:
        guest = connection.destination
        found = _flows(table, connection.protocol, guest, None)
    packets = sum(flow.packets for flow in found) if found else None
    size = sum(flow.bytes for flow in found) if found else None
    return UsernetRow(netdev, connection, packets, size, _expression(connection, guest, bool(found)))


def _flows(
    table: ConversationTable, protocol: str, guest: Endpoint, far: Endpoint | None
) -> list[Conversation]:
    if not guest.port or not len(table):
        return []
    near = (table.ports == guest.port).any(axis=1)
    if far is not None:
        near &= (table.ports == (far.port or 0)).any(axis=1)
    found = (table[int(flow)] for flow in np.flatnonzero(near))
    return [flow for flow in found if flow.protocol == protocol and _fits(flow, guest, far)]


def _fits(flow: Conversation, guest: Endpoint, far: Endpoint | None) -> bool:
    ends = {(flow.address_a, flow.port_a), (flow.address_b, flow.port_b)}
    wanted = {(guest.address, guest.port)} | ({(far.address, far.port)} if far else set())
    return wanted <= ends


def _expression(connection: Connection, guest: Endpoint, found: bool) -> str:
    protocol = connection.protocol.lower()
    if not found or protocol not in ("tcp", "udp"):
        return ""
    terms = [protocol, f"host {guest.address}", f"port {guest.port}"]
    if guest is connection.source:
        terms += [f"host {connection.destination.address}", f"port {connection.destination.port}"]
    return " and ".join(terms)
