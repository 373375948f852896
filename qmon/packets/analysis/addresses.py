"""Which addresses each MAC at the guest's end of a wire has, from DHCP, ARP, neighbour discovery and traffic.

The idea: of a batch only frames that the guest sent count, and DHCP acknowledgements to it. MAC and address of each are
folded into one number, and only the few numbers that differ are looked at one by one.

Owns the judgement of what an address in a frame proves. Never raises on any bytes; a guest that invents addresses fills
its own list only, which is bounded.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from qmon.packets.batch import ETHERNET, Direction, FrameBatch, Interface
from qmon.packets.copying import I64, U8, Mask, clipped_items_at

PER_MAC, MACS = 64, 256
# Far enough for an ARP packet and a neighbour advertisement's target.
_WINDOW = 80
_TAGS = (0x8100, 0x88A8)
_ARP, _IPV4, _IPV6 = 0x0806, 0x0800, 0x86DD
_UDP, _ICMPV6, _SOLICITATION, _ADVERTISEMENT = 17, 58, 135, 136
_COOKIE = b"\x63\x82\x53\x63"
_ACK = 5
# Odd, so that different (MAC, address) pairs seldom meet in one number.
_FOLD = np.int64(0x1E35_A7BD_1E35_A7BD)


class Source(StrEnum):
    """How an address is known; the strongest first."""

    DHCP = "dhcp"
    ARP = "arp"
    ND = "nd"
    ASKED = "asked"
    TRAFFIC = "traffic"


_STRENGTH = {source: number for number, source in enumerate(Source)}


@dataclass(frozen=True, slots=True)
class KnownAddress:
    """An address, how it is known, and when (UTC ns) it was last seen."""

    address: str
    source: Source
    seen_ns: int


class AddressBook:
    """What is known so far, by interface name and MAC (as text); `version` grows with what is new."""

    def __init__(self) -> None:
        self.version = 0
        self._known: dict[tuple[str, str], dict[str, KnownAddress]] = {}

    def __repr__(self) -> str:
        return f"<AddressBook of {len(self._known)} MACs>"

    def of(self, netdev: str, mac: str) -> tuple[KnownAddress, ...]:
        """Return what is known of a MAC on a netdev, IPv4 first."""
        known = self._known.get((netdev, mac.lower()), {})
        return tuple(sorted(known.values(), key=lambda one: (":" in one.address, one.address)))

    def entries(self) -> Mapping[tuple[str, str], tuple[KnownAddress, ...]]:
        """Return all that is known, by (netdev, MAC)."""
        return {key: tuple(known.values()) for key, known in self._known.items()}

    def learn(self, netdev: str, mac: str, address: str, source: Source, seen_ns: int) -> None:
        """Take in one address; it replaces what was known of it where it is no weaker."""
        key = netdev, mac.lower()
        if key not in self._known and len(self._known) >= MACS:
            return
        known = self._known.setdefault(key, {})
        before = known.get(address)
        if before is None:
            if len(known) >= PER_MAC:
                return
            self.version += 1
        elif _STRENGTH[before.source] < _STRENGTH[source]:
            source = before.source
        known[address] = KnownAddress(address, source, max(seen_ns, before.seen_ns if before else 0))

    def see(self, batch: FrameBatch, interfaces: Sequence[Interface]) -> None:
        """Learn from some frames; their `interface` is an index into `interfaces`."""
        ethernet = np.array([one.link_type == ETHERNET for one in interfaces], np.bool_)
        if not len(batch) or not ethernet.any():
            return
        batch = batch.select(ethernet[np.minimum(batch.interface, len(ethernet) - 1)])
        names = [one.name for one in interfaces]
        self._see_sent(batch.select(batch.direction == Direction.OUT), names)
        self._see_leases(batch.select(batch.direction != Direction.OUT), names)

    # What the guest sent

    def _see_sent(self, batch: FrameBatch, names: Sequence[str]) -> None:
        if not len(batch):
            return
        window = _windows(batch)
        kind = _be(window, 12, 2)
        captured = batch.captured.astype(np.int64)
        arp = (kind == _ARP) & (captured >= 42)
        ipv4 = (kind == _IPV4) & (captured >= 34)
        ipv6 = (kind == _IPV6) & (captured >= 54)
        self._learn4(batch, window, arp, names, 22, 28, Source.ARP)
        self._learn4(batch, window, ipv4, names, 6, 26, Source.TRAFFIC)
        told = ipv6 & (window[:, 20] == _ICMPV6) & (captured >= 78)
        advert = told & (window[:, 54] == _ADVERTISEMENT)
        tentative = told & (window[:, 54] == _SOLICITATION) & (_be(window, 22, 8) == 0)
        self._learn6(batch, window, advert | tentative, names, 62, Source.ND)
        self._learn6(batch, window, told & (window[:, 54] == _SOLICITATION), names, 22, Source.ND)
        self._learn6(batch, window, ipv6, names, 22, Source.TRAFFIC)

    def _learn4(
        self, batch: FrameBatch, window: U8, which: Mask, names: Sequence[str], mac: int, at: int, how: Source
    ) -> None:
        rows = np.flatnonzero(which)
        address = _be(window, at, 4)[rows]
        # Neither "this host" nor loopback, nor a group, nor broadcast (RFC 5735).
        good = (address >= 1 << 24) & (address >> 24 != 127) & (address < 224 << 24)
        self._learn_rows(
            batch,
            window,
            rows[good],
            names,
            mac,
            slice(at, at + 4),
            how,
            _fold(window, mac, address[good], rows[good]),
        )

    def _learn6(
        self, batch: FrameBatch, window: U8, which: Mask, names: Sequence[str], at: int, how: Source
    ) -> None:
        rows = np.flatnonzero(which & (window[:, at] != 0xFF))
        high, low = _be(window, at, 8)[rows], _be(window, at + 8, 8)[rows]
        good = (high != 0) | ((low != 0) & (low != 1))
        folded = _fold(window, 6, (high ^ low * _FOLD)[good], rows[good])
        self._learn_rows(batch, window, rows[good], names, 6, slice(at, at + 16), how, folded)

    def _learn_rows(
        self,
        batch: FrameBatch,
        window: U8,
        rows: I64,
        names: Sequence[str],
        mac: int,
        address: slice,
        how: Source,
        folded: I64,
    ) -> None:
        """Learn from the last row of each kind."""
        if not len(rows):
            return
        backwards = rows[::-1]
        key = folded[::-1] * _FOLD + batch.interface[backwards]
        _, first = np.unique(key, return_index=True)
        for row in backwards[first]:
            owner = bytes(window[row, mac : mac + 6]).hex(":")
            found = str(ipaddress.ip_address(bytes(window[row, address])))
            self.learn(names[int(batch.interface[row])], owner, found, how, int(batch.time_ns[row]))

    # What it was given

    def _see_leases(self, batch: FrameBatch, names: Sequence[str]) -> None:
        if not len(batch):
            return
        window = _windows(batch)
        dhcp = (_be(window, 12, 2) == _IPV4) & (window[:, 14] == 0x45) & (window[:, 23] == _UDP)
        dhcp &= (_be(window, 34, 4) == (67 << 16 | 68)) & (batch.captured >= 42 + 244)
        for row in np.flatnonzero(dhcp):
            message = bytes(batch.frame(int(row)))[42:]
            given = message[16:20]
            if message[236:240] == _COOKIE and any(given) and _is_ack(message[240:]):
                owner, address = message[28:34].hex(":"), str(ipaddress.IPv4Address(given))
                self.learn(
                    names[int(batch.interface[row])], owner, address, Source.DHCP, int(batch.time_ns[row])
                )


def _windows(batch: FrameBatch) -> U8:
    """Return the first bytes of each frame, without a VLAN tag; zeros stand for what is missing."""
    window = clipped_items_at(batch.data, _WINDOW, batch.offset).reshape(-1, _WINDOW)
    tagged = np.flatnonzero(np.isin(_be(window, 12, 2), _TAGS))
    if len(tagged):
        window = window.copy()
        window[tagged, 12:-4] = window[tagged, 16:]
    return window


def _be(window: U8, at: int, size: int) -> I64:
    result = np.zeros(len(window), np.int64)
    for column in range(at, at + size):
        result = result << 8 | window[:, column]
    return result


def _fold(window: U8, mac: int, address: I64, rows: I64) -> I64:
    folded: I64 = _be(window, mac, 6)[rows] * _FOLD ^ address
    return folded


def _is_ack(options: bytes) -> bool:
    at = 0
    while at + 2 < len(options) and options[at] != 0xFF:
        if options[at] == 0:
            at += 1
            continue
        if options[at] == 53:
            return options[at + 2] == _ACK
        at += 2 + options[at + 1]
    return False
