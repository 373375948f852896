"""ARP, IPv4 and IPv6 (RFC 826, 791, 8200), and what they carry without ports."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import NoReturn

from qmon.packets.summary import control, tables, transport
from qmon.packets.summary.line import Line, ipv4, ipv6, mac

Worded = Callable[[Line, int], None]

_HEADER4 = struct.Struct(">BxHHHxB2x4s4s")
_EXTENSIONS = frozenset({0, 43, 60, 135, 139, 140})


def any_version(line: Line, at: int) -> None:
    """Word an IP packet of the version it says itself."""
    version = line.data[at] >> 4
    if version == 4:
        version4(line, at)
    elif version == 6:
        version6(line, at)
    else:
        line.set("IP", f"Bogus IP version {version}")


def version4(line: Line, at: int) -> None:
    """Word an IPv4 packet."""
    line.protocol, line.info = "IPv4", ""
    if len(line.data) < at + 20:
        _cut4(line, at)
    first, total, number, flags, protocol, source, destination = _HEADER4.unpack_from(line.data, at)
    header = (first & 0xF) * 4
    if first >> 4 != 4:
        line.info = f"Bogus IPv4 version ({first >> 4}, must be 4)"
        return
    line.source, line.destination, line.ports = ipv4(source), ipv4(destination), None
    if header < 20:
        line.info = f"Bogus IP header length ({header}, must be at least 20)"
        return
    if total >= header:
        # What follows is padding; a length of 0 is left to hardware by the sender (a super-frame).
        line.limit(at + total)
    line.payload = max(0, line.end - at - header)
    if flags & 0x3FFF:
        offset = (flags & 0x1FFF) * 8
        name = _protocol_name(protocol)
        line.info = f"Fragmented IP protocol (proto={name} {protocol}, off={offset}, ID={number:04x})"
        return
    carried(line, at + header, protocol)


def _cut4(line: Line, at: int) -> NoReturn:
    """Say of a header that was cut short what it still says."""
    if line.data[at] >> 4 == 4:
        line.source = ipv4(line.bytes(at + 12, 4))
    raise IndexError(at)


def version6(line: Line, at: int) -> None:
    """Word an IPv6 packet, looking through its extension headers."""
    line.protocol, line.info = "IPv6", ""
    if line.data[at] >> 4 != 6:
        line.info = f"Bogus IPv6 version ({line.data[at] >> 4}, must be 6)"
        return
    line.source = ipv6(line.bytes(at + 8, 16))
    line.destination, line.ports = ipv6(line.bytes(at + 24, 16)), None
    payload, following, hops = line.u16(at + 4), line.data[at + 6], line.data[at + 7]
    at += 40
    if payload:
        line.limit(at + payload)
    line.payload = max(0, line.end - at)
    while True:  # Each header takes bytes, so that there is an end.
        if following == 44:
            part, number = line.u16(at + 2), line.u32(at + 4)
            if part & 0xFFF9:
                more = "y" if part & 1 else "n"
                line.payload = max(0, line.end - at - 8)
                line.info = f"IPv6 fragment (off={part & 0xFFF8} more={more} ident=0x{number:08x} nxt={line.data[at]})"
                return
            following, at = line.data[at], at + 8
        elif following == 51:
            following, at = line.data[at], at + (line.data[at + 1] + 2) * 4
        elif following in _EXTENSIONS:
            following, at = line.data[at], at + (line.data[at + 1] + 1) * 8
        else:
            break
    line.payload = max(0, line.end - at)
    if following == 59:
        line.info = "IPv6 no next header"
    elif following == 58:
        control.icmp6(line, at, hops)
    else:
        carried(line, at, following)


def carried(line: Line, at: int, protocol: int) -> None:
    """Word what IP carries."""
    worded = _CARRIED.get(protocol)
    if worded is not None:
        worded(line, at)
        return
    name = tables.IP_PROTOCOLS.get(protocol)
    if name is None:
        line.info = f"Unknown ({protocol})"
    else:
        line.set(name, f"{line.end - at} bytes")


def arp(line: Line, at: int) -> None:
    """Word an ARP (or RARP) packet."""
    line.set("ARP", "")
    protocol, operation = line.u16(at + 2), line.u16(at + 6)
    hardware_size, protocol_size = line.data[at + 4], line.data[at + 5]
    # RFC 826 leaves kinds and sizes of addresses open: serial lines have none of hardware, others have longer ones.
    place, ends = at + 8, []
    for size in (hardware_size, protocol_size) * 2:
        ends.append(line.bytes(place, size))
        place += size
    mine, theirs = mac(ends[0]), mac(ends[2])
    is_ip = protocol == 0x800 and protocol_size == 4
    sender, asked = ((ipv4(end) if is_ip else end.hex()) for end in (ends[1], ends[3]))
    if operation == 1:
        if sender == asked:
            line.info = f"ARP Announcement for {sender}"
        elif is_ip and sender == "0.0.0.0":
            line.info = f"Who has {asked}? (ARP Probe)"
        else:
            line.info = f"Who has {asked}? Tell {sender}"
    elif operation == 2:
        line.info = f"{sender} is at {mine}"
        if sender == asked:
            line.info = f"Gratuitous ARP for {sender} (Reply)"
    elif operation in (3, 4):
        line.set("RARP", f"Who is {theirs}? Tell {mine}" if operation == 3 else f"{theirs} is at {asked}")
    elif operation in (8, 9):
        line.set(
            "Inverse ARP", f"Who is {theirs}? Tell {mine}" if operation == 8 else f"{mine} is at {sender}"
        )
    else:
        line.info = f"opcode {operation}"


def _protocol_name(protocol: int) -> str:
    usual = {1: "ICMP", 2: "IGMP", 4: "IPIP", 6: "TCP", 17: "UDP", 41: "IPv6", 47: "GRE", 58: "IPv6-ICMP"}
    return usual.get(protocol) or tables.IP_PROTOCOLS.get(protocol, "Unknown")


def _nested4(line: Line, at: int) -> None:
    if line.nest():
        version4(line, at)


def _nested6(line: Line, at: int) -> None:
    if line.nest():
        version6(line, at)


def _generic_routing(line: Line, at: int) -> None:
    from qmon.packets.summary import link  # Tunnels are where the levels form a circle.

    flags, kind = line.u16(at), line.u16(at + 2)
    line.set("GRE", f"Encapsulated type 0x{kind:04x}")
    at += 4 + 4 * bool(flags & 0xC000) + 4 * bool(flags & 0x2000) + 4 * bool(flags & 0x1000)
    if flags & 7 == 0 and line.nest():
        link.ethertype(line, at, kind)


def _security(line: Line, at: int) -> None:
    line.set("ESP", f"ESP (SPI=0x{line.u32(at):08x})")


def _authentication(line: Line, at: int) -> None:
    line.set("AH", f"AH (SPI=0x{line.u32(at + 4):08x})")
    if line.nest():
        carried(line, at + (line.data[at + 1] + 2) * 4, line.data[at])


def _shortest_path(line: Line, at: int) -> None:
    kinds = ("", "Hello Packet", "DB Description", "LS Request", "LS Update", "LS Acknowledge")
    line.set("OSPF", tables.named(kinds, line.data[at + 1], "Unknown ({})"))


def _router_redundancy(line: Line, at: int) -> None:
    line.set("VRRP", f"Announcement (v{line.data[at] >> 4})")


_CARRIED: dict[int, Worded] = {
    1: control.icmp,
    2: control.igmp,
    4: _nested4,
    6: transport.tcp,
    17: transport.udp,
    41: _nested6,
    47: _generic_routing,
    50: _security,
    51: _authentication,
    58: control.icmp6,
    89: _shortest_path,
    112: _router_redundancy,
    132: transport.sctp,
}
