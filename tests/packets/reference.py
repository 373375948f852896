"""What the packet code must come to, written slowly and plainly: a packet at a time, no NumPy."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from qmon.packets.store.decode import Kind

WITH_PORTS = (6, 17, 132)
KINDS = {1: Kind.ICMP, 2: Kind.IGMP, 6: Kind.TCP, 17: Kind.UDP, 58: Kind.ICMPV6, 132: Kind.SCTP}
EXTENSIONS = (0, 43, 44, 51, 60, 135, 139, 140)
FAMILIES = {2: 0x0800, 10: 0x86DD, 24: 0x86DD, 28: 0x86DD, 30: 0x86DD}


@dataclass(frozen=True)
class Decoded:
    kind: Kind
    version: int = 0
    protocol: int = 0
    source: bytes = b""
    destination: bytes = b""
    source_port: int = 0
    destination_port: int = 0
    tcp_flags: int = 0


def decode(frame: bytes, link_type: int) -> Decoded:
    located = _network(frame, link_type)
    if located is None:
        return Decoded(Kind.OTHER)
    ethertype, rest = located
    if ethertype == 0x0800:
        return _ipv4(rest)
    if ethertype == 0x86DD:
        return _ipv6(rest)
    if ethertype == 0x0806:
        return Decoded(Kind.ARP)
    return Decoded(Kind.LLC if 0 < ethertype < 0x600 else Kind.OTHER)


def _network(frame: bytes, link_type: int) -> tuple[int, bytes] | None:
    ethertype, size = 0, 0
    head = frame.ljust(20, b"\0")
    if link_type == 1:
        if len(frame) < 14:
            return None
        ethertype, size = struct.unpack_from(">H", frame, 12)[0], 14
    elif link_type in (12, 14, 101, 228, 229):
        ethertype = {4: 0x0800, 6: 0x86DD}.get(head[0] >> 4, 0)
    elif link_type in (0, 108):
        family = struct.unpack_from("<H", head)[0] or struct.unpack_from(">H", head, 2)[0]
        ethertype, size = FAMILIES.get(family, 0), 4
    elif link_type == 113:
        ethertype, size = struct.unpack_from(">H", head, 14)[0], 16
    elif link_type == 276:
        ethertype, size = struct.unpack_from(">H", head)[0], 20
    else:
        return None
    if len(frame) < size:
        return None
    for _ in range(4):
        if ethertype not in (0x8100, 0x88A8, 0x9100, 0x8864) or len(frame) - size < 8:
            break
        if ethertype == 0x8864:
            inner = struct.unpack_from(">H", frame, size + 6)[0]
            ethertype, size = {0x21: 0x0800, 0x57: 0x86DD}.get(inner, 0), size + 8
        else:
            ethertype, size = struct.unpack_from(">H", frame, size + 2)[0], size + 4
    return ethertype, frame[size:]


def _ipv4(data: bytes) -> Decoded:
    if len(data) < 20 or data[0] >> 4 != 4 or data[0] & 15 < 5 or len(data) < (data[0] & 15) * 4:
        return Decoded(Kind.IPV4)
    behind = data[(data[0] & 15) * 4 :]
    fragment = struct.unpack_from(">H", data, 6)[0] & 0x1FFF
    ports = _ports(data[9], behind) if not fragment else (0, 0, 0)
    return Decoded(KINDS.get(data[9], Kind.IPV4), 4, data[9], data[12:16], data[16:20], *ports)


def _ipv6(data: bytes) -> Decoded:
    if len(data) < 40 or data[0] >> 4 != 6:
        return Decoded(Kind.IPV6)
    protocol, at, whole = data[6], 40, True
    for _ in range(8):
        if protocol not in EXTENSIONS or not whole or len(data) < at + 8:
            break
        if protocol == 44:
            whole = not struct.unpack_from(">H", data, at + 2)[0] & 0xFFF8
            size = 8
        elif protocol == 51:
            size = (data[at + 1] + 2) * 4
        else:
            size = (data[at + 1] + 1) * 8
        protocol, at = data[at], at + size
    ports = _ports(protocol, data[at:]) if whole and protocol not in EXTENSIONS else (0, 0, 0)
    return Decoded(KINDS.get(protocol, Kind.IPV6), 6, protocol, data[8:24], data[24:40], *ports)


def _ports(protocol: int, data: bytes) -> tuple[int, int, int]:
    if protocol not in WITH_PORTS or len(data) < 4:
        return 0, 0, 0
    source, destination = struct.unpack_from(">HH", data)
    return source, destination, data[13] if protocol == 6 and len(data) >= 14 else 0
