"""Rows of `info usernet` joined with what was captured of the same connections (pure).

Owns the matching. Must never draw.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qmon.monitor.hmp import Endpoint, UsernetConnection, UsernetStack
from qmon.packets.batch import Interface
from qmon.packets.store.conversations import Conversation, ConversationTable


@dataclass(frozen=True, slots=True)
class UsernetRow:
    """One row of a user-mode stack. `packets` and `bytes` are None where nothing captured belongs to it."""

    netdev: str
    connection: UsernetConnection
    packets: int | None
    bytes: int | None
    expression: str


def usernet_rows(
    stacks: Sequence[UsernetStack], table: ConversationTable, interfaces: Sequence[Interface]
) -> tuple[UsernetRow, ...]:
    """Return every row with the traffic captured for it on its own netdev; forwards first.

    `interfaces` are those of the table's store, each named after its netdev. A connection that the guest opened is
    found by both its ends. A forward has all flows with the guest's end it leads to. Of a single connection through a
    forward the stack tells the host's side, which is not on the guest's wire: which flow it is cannot be known.
    """
    rows = [
        _joined(stack, connection, table, [i for i, one in enumerate(interfaces) if one.name == stack.netdev])
        for stack in stacks
        for connection in stack.connections
    ]
    return tuple(sorted(rows, key=lambda row: not row.connection.is_forward))


def _joined(
    stack: UsernetStack, connection: UsernetConnection, table: ConversationTable, seen_on: Sequence[int]
) -> UsernetRow:
    guest, far = connection.source, connection.destination
    if connection.is_forward:
        found = _flows(table, seen_on, connection.protocol, connection.destination, None)
    else:
        found = _flows(table, seen_on, connection.protocol, guest, far)
    if connection.is_forward or (not found and _came_through_a_forward(stack, connection)):
        guest = connection.destination
        known = bool(found or _flows(table, seen_on, connection.protocol, guest, None))
    else:
        known = bool(found)
    packets = sum(flow.packets for flow in found) if found else None
    size = sum(flow.bytes for flow in found) if found else None
    return UsernetRow(stack.netdev, connection, packets, size, _expression(connection, guest, known))


def _came_through_a_forward(stack: UsernetStack, connection: UsernetConnection) -> bool:
    return any(
        one.is_forward
        and one.protocol == connection.protocol
        and one.destination.port == connection.destination.port
        and one.destination.address == connection.destination.address
        for one in stack.connections
    )


def _flows(
    table: ConversationTable, seen_on: Sequence[int], protocol: str, guest: Endpoint, far: Endpoint | None
) -> list[Conversation]:
    if not guest.port or not len(table):
        return []
    near = (table.ports == guest.port).any(axis=1) & np.isin(table.interface, seen_on)
    if far is not None:
        near &= (table.ports == (far.port or 0)).any(axis=1)
    found = (table[int(flow)] for flow in np.flatnonzero(near))
    return [flow for flow in found if flow.protocol == protocol and _fits(flow, guest, far)]


def _fits(flow: Conversation, guest: Endpoint, far: Endpoint | None) -> bool:
    ends = {(flow.address_a, flow.port_a), (flow.address_b, flow.port_b)}
    wanted = {(guest.address, guest.port)} | ({(far.address, far.port)} if far else set())
    return wanted <= ends


def _expression(connection: UsernetConnection, guest: Endpoint, found: bool) -> str:
    protocol = connection.protocol.lower()
    if not found or protocol not in ("tcp", "udp"):
        return ""
    terms = [protocol, f"host {guest.address}", f"port {guest.port}"]
    if guest is connection.source:
        terms += [f"host {connection.destination.address}", f"port {connection.destination.port}"]
    return " and ".join(terms)
