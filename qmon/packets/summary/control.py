"""ICMP, ICMPv6 with neighbour discovery, IGMP (RFC 792, 4443, 4861, 3810, 2236, 3376)."""

from __future__ import annotations

from qmon.packets.summary import tables
from qmon.packets.summary.line import Line, ipv4, ipv6, mac


def icmp(line: Line, at: int) -> None:
    """Word an ICMP message."""
    line.set("ICMP", "")
    kind, code = line.data[at], line.data[at + 1]
    name = tables.named(tables.ICMP_TYPES, kind, "Type {}")
    line.info = name
    if kind in (0, 8):
        number = line.u16(at + 6)
        swapped = number >> 8 | (number & 0xFF) << 8
        line.info = f"{name:20} id=0x{line.u16(at + 4):04x}, seq={number}/{swapped}"
        return
    if kind == 3:
        line.info = f"{name} ({tables.named(tables.UNREACHABLE, code, 'code {}')})"
        if code == 4:
            line.info += f" mtu={line.u16(at + 6)}"
    elif kind == 5:
        line.info = (
            f"{name} ({tables.named(tables.REDIRECT, code, 'code {}')}) to {ipv4(line.bytes(at + 4, 4))}"
        )
    elif kind == 11:
        line.info = f"{name} ({tables.named(tables.EXCEEDED, code, 'code {}')})"
    if kind in (3, 4, 5, 11, 12):
        line.info += _about(line, at + 8)


def _about(line: Line, at: int) -> str:
    """Say which packet an error is about, if that much of it is there."""
    header = line.data[at : at + 20]
    if len(header) < 20 or header[0] >> 4 != 4:
        return ""
    ports = line.data[at + (header[0] & 0xF) * 4 :][:4]
    name = {6: " tcp", 17: " udp"}.get(header[9])
    if name is None or len(ports) < 4:
        return f" for {ipv4(header[16:20])}"
    return f" for {ipv4(header[16:20])}{name}/{ports[2] << 8 | ports[3]}"


def icmp6(line: Line, at: int, hops: int = -1) -> None:
    """Word an ICMPv6 message; `hops` is the hop limit where it is known."""
    line.set("ICMPv6", "")
    kind, code = line.data[at], line.data[at + 1]
    name = tables.named(tables.ICMP6_TYPES, kind, "Type {}")
    line.info = name
    if kind in (128, 129):
        line.info = f"{name} id=0x{line.u16(at + 4):04x}, seq={line.u16(at + 6)}"
        if hops >= 0:
            line.info += f", hop limit={hops}"
    elif kind == 1:
        line.info = f"{name} ({tables.named(tables.UNREACHABLE6, code, 'code {}')})"
    elif kind == 2:
        line.info = f"{name} mtu={line.u32(at + 4)}"
    elif kind == 3:
        line.info = f"{name} ({tables.named(tables.EXCEEDED6, code, 'code {}')})"
    elif kind == 133:
        line.info = name + _from(line, at + 8, 1)
    elif kind == 134:
        line.info = name + _from(line, at + 16, 1)
    elif kind == 135:
        line.info = f"{name} for {ipv6(line.bytes(at + 8, 16))}{_from(line, at + 24, 1)}"
    elif kind == 136:
        flags = [
            word for bit, word in ((0x80, "rtr"), (0x40, "sol"), (0x20, "ovr")) if line.data[at + 4] & bit
        ]
        said = f" ({', '.join(flags)})" if flags else ""
        address = _link_address(line, at + 24, 2)
        line.info = f"{name} {ipv6(line.bytes(at + 8, 16))}{said}{f' is at {address}' if address else ''}"
    elif kind in (130, 131, 132):
        line.info = name + (f" for {ipv6(line.bytes(at + 8, 16))}" if any(line.bytes(at + 8, 16)) else "")


def _from(line: Line, at: int, wanted: int) -> str:
    address = _link_address(line, at, wanted)
    return f" from {address}" if address else ""


def _link_address(line: Line, at: int, wanted: int) -> str:
    """Return the link-layer address among a neighbour discovery message's options."""
    for _ in range(16):
        option = line.data[at : at + 8]
        if len(option) < 8 or not option[1]:
            break
        if option[0] == wanted:
            return mac(option[2:8])
        at += option[1] * 8
    return ""


_RECORDS = ("", "Include", "Exclude", "Leave", "Join", "Allow new sources", "Block old sources")


def igmp(line: Line, at: int) -> None:
    """Word an IGMP message; a query of 8 bytes is of version 1 or 2, longer ones are of version 3."""
    kind, size = line.data[at], len(line.data) - at
    line.set("IGMP", f"Type 0x{kind:02x}")
    if kind == 0x11:
        version = 3 if size >= 12 else 2 if line.data[at + 1] else 1
        group = line.bytes(at + 4, 4)
        about = f"specific for group {ipv4(group)}" if any(group) else "general"
        line.set(f"IGMPv{version}", f"Membership Query, {about}")
    elif kind in (0x12, 0x16):
        line.set(
            "IGMPv1" if kind == 0x12 else "IGMPv2", f"Membership Report group {ipv4(line.bytes(at + 4, 4))}"
        )
    elif kind == 0x17:
        line.set("IGMPv2", f"Leave Group {ipv4(line.bytes(at + 4, 4))}")
    elif kind == 0x22:
        line.set("IGMPv3", "Membership Report")
        _records(line, at)


def _records(line: Line, at: int) -> None:
    count = line.u16(at + 6)
    at += 8
    for _ in range(min(count, 4)):
        kind, sources = line.data[at], line.u16(at + 2)
        group = ipv4(line.bytes(at + 4, 4))
        what = tables.named(_RECORDS, kind, "record type {}")
        line.info += f" / {what} group {group}" + (f" with {sources} sources" if sources else "")
        at += 8 + 4 * sources + 4 * line.data[at + 1]
