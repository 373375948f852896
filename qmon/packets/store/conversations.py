"""Who talked to whom, how much, kept up while packets arrive.

A conversation is found by a 64-bit number that is the same for both directions, made of addresses, ports, protocol and
interface (the guest of every user-mode netdev has 10.0.2.15) with numbers that differ in every process. The numbers are
looked up for a whole batch at once in an open-addressed table; addresses are kept once per conversation. Counting is
separate from finding, and done for many packets at once.

Owns flow ids: they count from 0 in the order of appearance and never change.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

import numpy as np

from qmon.packets.batch import NO_TIME
from qmon.packets.copying import I64, U8, U16, U32, U64, Mask
from qmon.packets.store.decode import Headers, Kind, kind_of

NO_FLOW = 0x7FFF_FFFF
REVERSED = 0x8000_0000
_FIRST_CAPACITY = 1024
_NEVER = np.iinfo(np.int64).max
# Slots of the table for each conversation at least: with few collisions, most are found at the first look.
_ROOM = 4
_SEED = np.frombuffer(os.urandom(24), np.uint64) | np.uint64(1)
_OF_PROTOCOL = np.frombuffer(os.urandom(8 * 256), np.uint64)
_A, _B = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


@dataclass(frozen=True, slots=True)
class Conversation:
    """One pair of endpoints on one interface; A is the one that spoke first.

    Times are UTC ns, `NO_TIME` where no packet has any; bytes are as on the wire.
    """

    flow: int
    interface: int
    protocol: str
    address_a: str
    port_a: int
    address_b: str
    port_b: int
    packets_ab: int
    packets_ba: int
    bytes_ab: int
    bytes_ba: int
    first_ns: int
    last_ns: int

    @property
    def packets(self) -> int:
        """Both directions."""
        return self.packets_ab + self.packets_ba

    @property
    def bytes(self) -> int:
        """Both directions."""
        return self.bytes_ab + self.bytes_ba


@dataclass(frozen=True, slots=True)
class ConversationTable:
    """All conversations at one moment as columns of n rows; the row number is the flow id.

    `endpoints` is uint8[n, 32]: A's 16 bytes, then B's (IPv4: the first 4 of each). Counts are int64[n, 2]: A to B, B
    to A. `version` is 4 or 6, `protocol` IP's number, `interface` the index of the store's interface.
    """

    interface: U16
    version: U8
    protocol: U8
    endpoints: U8
    ports: U16
    packets: I64
    bytes: I64
    first_ns: I64
    last_ns: I64

    def __len__(self) -> int:
        return len(self.protocol)

    def __getitem__(self, flow: int) -> Conversation:
        import ipaddress

        six = self.version[flow] == 6
        size = 16 if six else 4
        ends = self.endpoints[flow].tobytes()
        packets, counted = self.packets[flow].tolist(), self.bytes[flow].tolist()
        port_a, port_b = self.ports[flow].tolist()
        return Conversation(
            flow=flow,
            interface=int(self.interface[flow]),
            protocol=protocol_name(int(self.protocol[flow])),
            address_a=str(ipaddress.ip_address(ends[:size])),
            port_a=port_a,
            address_b=str(ipaddress.ip_address(ends[16 : 16 + size])),
            port_b=port_b,
            packets_ab=packets[0],
            packets_ba=packets[1],
            bytes_ab=counted[0],
            bytes_ba=counted[1],
            first_ns=int(self.first_ns[flow]),
            last_ns=int(self.last_ns[flow]),
        )

    def order_by(self, column: str, *, descending: bool = True) -> I64:
        """Return flow ids sorted by a column's name, `duration` or `flow`."""
        if column in ("packets", "bytes"):
            key: I64 = getattr(self, column).sum(axis=1)
        elif column == "duration":
            key = self.last_ns - self.first_ns
        elif column == "flow":
            key = np.arange(len(self))
        else:
            key = getattr(self, column).astype(np.int64)
        # A stable sort on the negated key, so that equal ones stay in the order of their appearance.
        return np.argsort(-key if descending else key, kind="stable")


def protocol_name(number: int) -> str:
    """Return the name of one of IP's protocols, or its number."""
    kind = kind_of(number)
    return kind.name if kind is not Kind.OTHER else f"IP {number}"


class Conversations:
    """The growing table. `assign` finds flows; `count` adds packets to them. One thread at a time."""

    def __init__(self) -> None:
        self._count = 0
        self._columns = _Columns.empty(_FIRST_CAPACITY)
        self._slots = np.zeros(_FIRST_CAPACITY * _ROOM, np.uint64)
        self._flow_at = np.zeros(_FIRST_CAPACITY * _ROOM, np.uint32)

    def __len__(self) -> int:
        return self._count

    def __repr__(self) -> str:
        return f"<Conversations {self._count}>"

    def assign(self, headers: Headers, interface: U16) -> U32:
        """Return each frame's flow id, with `REVERSED` set where it goes from B to A; `NO_FLOW` for what is not IP.

        `interface` is where each frame was seen.
        """
        key, swapped = _keys(headers, interface)
        none = headers.version == 0
        # An empty slot is 0: for what is not IP the search ends at the first look.
        key *= ~none
        flow, found = self._find(key)
        if not found.all():
            missing = np.flatnonzero(~found)
            self._add(headers, interface, key, swapped, missing)
            flow[missing], _ = self._find(key[missing])
        flow ^= swapped * np.uint32(REVERSED)
        flow[none] = NO_FLOW
        return flow

    def count(self, flow: U32, length: U32, time_ns: I64) -> None:
        """Add packets to their conversations; `flow` as `assign` gave it."""
        columns = self._columns
        # What has no conversation is counted in a row behind the last one, which is cleaned up afterwards.
        index = (flow & np.uint32(NO_FLOW)).astype(np.int64)
        nothing = self._count
        np.minimum(index, nothing, out=index)
        both = index * 2
        both += flow >> np.uint32(31)
        np.add.at(columns.packets.reshape(-1), both, 1)
        np.add.at(columns.bytes.reshape(-1), both, length.astype(np.int64))
        # NO_TIME is less than every time: where the least is another one, all have theirs.
        timed = len(time_ns) == 0 or time_ns.min() != NO_TIME
        first_ns = time_ns if timed else np.where(time_ns == NO_TIME, _NEVER, time_ns)
        np.minimum.at(columns.first_ns, index, first_ns)
        np.maximum.at(columns.last_ns, index, time_ns)
        for name in ("packets", "bytes", "first_ns", "last_ns"):
            getattr(columns, name)[nothing] = getattr(_NOTHING_YET, name)[0]

    def table(self) -> ConversationTable:
        """Return a copy of everything now."""
        return self._rows(slice(0, self._count))

    def one(self, flow: int) -> Conversation:
        """Return one conversation; IndexError if there is none."""
        if not 0 <= flow < self._count:
            raise IndexError(f"there is no conversation {flow}")
        return replace(self._rows(slice(flow, flow + 1))[0], flow=flow)

    def _rows(self, which: slice) -> ConversationTable:
        columns = self._columns
        table = ConversationTable(
            *(getattr(columns, name)[which].copy() for name in ConversationTable.__dataclass_fields__)
        )
        table.first_ns[table.first_ns == _NEVER] = NO_TIME
        return table

    def _find(self, key: U64) -> tuple[U32, Mask]:
        """Return what the table has for keys, and which of them are there."""
        slots, mask = self._slots, len(self._slots) - 1
        slot = (key & np.uint64(mask)).astype(np.int64)
        there = slots.take(slot)
        flow = self._flow_at.take(slot)
        found = there == key
        wrong = np.flatnonzero(~found)
        while len(wrong):
            # An empty slot ends the search; another's slot means that the next one is to be looked at.
            wrong = wrong[there[wrong] != 0]
            slot[wrong] = slot[wrong] + 1 & mask
            there[wrong] = slots[slot[wrong]]
            flow[wrong] = self._flow_at[slot[wrong]]
            found[wrong] = there[wrong] == key[wrong]
            wrong = wrong[~found[wrong]]
        return flow, found

    def _add(self, headers: Headers, interface: U16, key: U64, swapped: Mask, missing: I64) -> None:
        """Make new conversations, in the order in which their first packets came."""
        _, first = np.unique(key[missing], return_index=True)
        rows = missing[np.sort(first)]
        count = self._count + len(rows)
        if count >= len(self._columns.version):
            self._grow(count)
        fresh = slice(self._count, count)
        columns = self._columns
        source, destination = headers.addresses(rows)
        columns.key[fresh] = key[rows]
        columns.interface[fresh] = interface[rows]
        columns.version[fresh] = headers.version[rows]
        columns.protocol[fresh] = headers.protocol[rows]
        columns.endpoints[fresh, :16] = source
        columns.endpoints[fresh, 16:] = destination
        columns.ports[fresh, 0] = headers.source_port[rows].byteswap()
        columns.ports[fresh, 1] = headers.destination_port[rows].byteswap()
        columns.entry[fresh] = np.arange(self._count, count, dtype=np.uint32) | swapped[rows] * np.uint32(
            REVERSED
        )
        self._insert(columns.key[fresh], columns.entry[fresh])
        self._count = count

    def _grow(self, count: int) -> None:
        capacity = len(self._columns.version)
        while capacity <= count:
            capacity *= 2
        grown = _Columns.empty(capacity)
        for name in _Columns.__dataclass_fields__:
            getattr(grown, name)[: self._count] = getattr(self._columns, name)[: self._count]
        self._columns = grown
        self._slots = np.zeros(capacity * _ROOM, np.uint64)
        self._flow_at = np.zeros(capacity * _ROOM, np.uint32)
        self._insert(grown.key[: self._count], grown.entry[: self._count])

    def _insert(self, key: U64, entry: U32) -> None:
        """Put different new keys into the table: all at once, and those that found their slot taken again."""
        slots, mask = self._slots, len(self._slots) - 1
        slot = (key & np.uint64(mask)).astype(np.int64)
        waiting = np.arange(len(key))
        while len(waiting):
            free = waiting[slots[slot[waiting]] == 0]
            slots[slot[free]] = key[free]
            # Where several wanted the same slot, the last one has it.
            placed = slots[slot[waiting]] == key[waiting]
            done = waiting[placed]
            self._flow_at[slot[done]] = entry[done]
            waiting = waiting[~placed]
            slot[waiting] = slot[waiting] + 1 & mask


@dataclass(slots=True)
class _Columns:
    """What is kept of each conversation, with room for more.

    `entry` is the flow id, with `REVERSED` set where A's number is the larger one: exclusive-or with the same of a
    packet tells whether it is reversed.
    """

    key: U64
    entry: U32
    interface: U16
    version: U8
    protocol: U8
    endpoints: U8
    ports: U16
    packets: I64
    bytes: I64
    first_ns: I64
    last_ns: I64

    @classmethod
    def empty(cls, capacity: int) -> _Columns:
        return cls(
            key=np.zeros(capacity, np.uint64),
            entry=np.zeros(capacity, np.uint32),
            interface=np.zeros(capacity, np.uint16),
            version=np.zeros(capacity, np.uint8),
            protocol=np.zeros(capacity, np.uint8),
            endpoints=np.zeros((capacity, 32), np.uint8),
            ports=np.zeros((capacity, 2), np.uint16),
            packets=np.zeros((capacity, 2), np.int64),
            bytes=np.zeros((capacity, 2), np.int64),
            first_ns=np.full(capacity, _NEVER),
            last_ns=np.full(capacity, NO_TIME),
        )


_NOTHING_YET = _Columns.empty(1)


def _keys(headers: Headers, interface: U16) -> tuple[U64, Mask]:
    """Return a number for each pair of endpoints, never 0, and whether the sender's own number is the larger one."""
    source = _mixed(headers.source, headers.source_port)
    destination = _mixed(headers.destination, headers.destination_port)
    swapped: Mask = source > destination
    key = source
    key += destination
    # The protocol moves equal pairs of endpoints apart; so does IPv6, whose digest may equal an IPv4 address.
    key += _OF_PROTOCOL.take(headers.protocol)
    key += interface.astype(np.uint64) * _SEED[2]
    key ^= key >> np.uint64(32)
    key |= key == 0
    return key, swapped


def _mixed(address: U64, port: U16) -> U64:
    """Mix an endpoint into 64 bits, in the manner of splitmix64."""
    number: U64 = address * _SEED[0]
    number += port.astype(np.uint64) * _SEED[1]
    number ^= number >> np.uint64(30)
    number *= _A
    number ^= number >> np.uint64(27)
    number *= _B
    number ^= number >> np.uint64(31)
    return number
