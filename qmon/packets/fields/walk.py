"""From a frame's bytes to its layers, from the link to the application.

The same rules as Wireshark's: an Ethertype, an IP protocol or a port says what follows, TLS, HTTP and SSH are
recognised by their first bytes. Each frame is looked at alone: what a message in several segments says is found in none
of them, unless the first one holds it.

Never raises on any bytes; layers within layers are bounded.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from contextlib import suppress

from qmon.packets.fields import web
from qmon.packets.fields.layer import Facts, Layer
from qmon.packets.store.link import FAMILIES

MOST_LAYERS = 40
_ICMP_ERRORS = frozenset({3, 4, 5, 11, 12})
_ICMP6_ERRORS = frozenset({1, 2, 3, 4})
_EXTENSIONS = {
    0: "ipv6.hopopts",
    43: "ipv6.routing",
    60: "ipv6.dstopts",
    135: "mip6",
    139: "hip",
    140: "shim6",
}
UDP_PROTOCOLS = {
    53: "dns", 67: "dhcp", 68: "dhcp", 69: "tftp", 123: "ntp", 137: "nbns", 138: "nbdgm", 161: "snmp", 162: "snmp",
    500: "isakmp", 514: "syslog", 546: "dhcpv6", 547: "dhcpv6", 1900: "ssdp", 4011: "dhcp", 4789: "vxlan",
    5353: "mdns", 5355: "llmnr", 6081: "geneve",
}  # fmt: skip
_VN_TAG, _ERSPAN = 0x8926, 0x88BE
TUNNEL_PORTS = (4789, 6081)
_VLAN_TAGS = {0x8100: "vlan", 0x88A8: "ieee8021ad", 0x9100: "vlan", 0x9200: "vlan"}


class Walk:
    """The layers of one frame while they are found."""

    def __init__(self, frame: bytes, facts: Facts) -> None:
        self.data = frame
        self.facts = facts
        self.layers: list[Layer] = []

    def add(self, protocol: str, at: int, end: int) -> Layer | None:
        """Note a layer; None if there are enough of them."""
        if len(self.layers) >= MOST_LAYERS:
            return None
        below = self.layers[-1] if self.layers else None
        layer = Layer(protocol, self.data, at, end, self.facts, below, self.layers)
        self.layers.append(layer)
        return layer


def layers_of(frame: bytes | memoryview, facts: Facts) -> list[Layer]:
    """Return the layers of a frame; the first one is the frame itself."""
    data = bytes(frame)
    walk = Walk(data, facts)
    walk.add("frame", 0, facts.length or len(data))
    begin = _LINKS.get(facts.link_type)
    if begin is not None:
        with suppress(IndexError, struct.error):  # What was cut short is left out.
            begin(walk, 0, max(facts.length, len(data)))
    return walk.layers


def _u16(data: bytes, at: int) -> int:
    return int(struct.unpack_from(">H", data, at)[0])


def ethernet(walk: Walk, at: int, end: int) -> None:
    """Add an Ethernet frame."""
    layer = walk.add("eth", at, end)
    if layer is None or layer.stop < at + 14:
        return
    kind = _u16(walk.data, at + 12)
    if kind <= 1500:
        _llc(walk, at + 14, min(end, at + 14 + kind))
    else:
        ethertype(walk, kind, at + 14, end)


def ethertype(walk: Walk, kind: int, at: int, end: int) -> None:
    """Add what an Ethertype stands for."""
    if kind in _VLAN_TAGS:
        layer = walk.add(_VLAN_TAGS[kind], at, end)
        inner = _u16(walk.data, at + 2)
        if layer is None:
            return
        if inner <= 1500:
            _llc(walk, at + 4, min(end, at + 4 + inner))
        else:
            ethertype(walk, inner, at + 4, end)
    elif kind == _VN_TAG:
        walk.add("vntag", at, end)
        ethertype(walk, _u16(walk.data, at + 4), at + 6, end)
    elif kind in _ETHERTYPES:
        _ETHERTYPES[kind](walk, at, end)
    elif kind in _NAMED_ETHERTYPES:
        walk.add(_NAMED_ETHERTYPES[kind], at, end)


def _llc(walk: Walk, at: int, end: int) -> None:
    layer = walk.add("llc", at, end)
    if layer is None:
        return
    destination, control = walk.data[at], walk.data[at + 2]
    if destination == 0x42 and control == 3:
        walk.add("stp", at + 3, end)
    elif destination == 0xAA and control == 3:
        organisation, kind = walk.data[at + 3 : at + 6], _u16(walk.data, at + 6)
        if organisation in (b"\0\0\0", b"\0\0\xf8"):
            ethertype(walk, kind, at + 8, end)
        elif organisation == b"\0\0\x0c" and kind == 0x2000:
            walk.add("cdp", at + 8, end)
    elif destination == 0xFE and walk.data[at + 3] == 0x83:
        walk.add("isis", at + 3, end)


def _any_ip(walk: Walk, at: int, end: int) -> None:
    version = walk.data[at] >> 4
    if version == 4:
        ipv4(walk, at, end)
    elif version == 6:
        ipv6(walk, at, end)


def ipv4(walk: Walk, at: int, end: int) -> None:
    """Add an IPv4 packet and what it carries."""
    layer = walk.add("ip", at, end)
    if layer is None:
        return
    first = walk.data[at]
    header, total = (first & 15) * 4, _u16(walk.data, at + 2)
    if header < 20 or first >> 4 != 4:
        return
    if total >= header:
        end = min(end, at + total)
        layer.end, layer.stop = end, min(layer.stop, end)
    if _u16(walk.data, at + 6) & 0x1FFF:
        return  # Not the first fragment.
    more = bool(walk.data[at + 6] & 0x20)
    carried(walk, walk.data[at + 9], at + header, end, fragment=more)


def ipv6(walk: Walk, at: int, end: int) -> None:
    """Add an IPv6 packet, its extension headers and what it carries."""
    layer = walk.add("ipv6", at, end)
    if layer is None:
        return
    if walk.data[at] >> 4 != 6:
        return
    size, following = _u16(walk.data, at + 4), walk.data[at + 6]
    if size:
        end = min(end, at + 40 + size)
        layer.end, layer.stop = end, min(layer.stop, end)
    at += 40
    fragment = False
    for _ in range(16):
        if following == 44:
            if walk.add("ipv6.fraghdr", at, min(end, at + 8)) is None:
                return
            part = _u16(walk.data, at + 2)
            following, at = walk.data[at], at + 8
            if part & 0xFFF8:
                return
            fragment = bool(part & 1)
        elif following == 51:
            walk.add("ah", at, end)
            following, at = walk.data[at], at + (walk.data[at + 1] + 2) * 4
        elif following in _EXTENSIONS:
            size = (walk.data[at + 1] + 1) * 8
            walk.add(_EXTENSIONS[following], at, min(end, at + size))
            following, at = walk.data[at], at + size
        else:
            break
    carried(walk, following, at, end, fragment=fragment)


def carried(walk: Walk, protocol: int, at: int, end: int, *, fragment: bool = False) -> None:
    """Add what IP carries. Of a `fragment` only the transport header is looked at, as it is not whole."""
    if fragment:
        return
    add = _CARRIED.get(protocol)
    if add is not None:
        add(walk, at, end)
    elif protocol in _NAMED_PROTOCOLS:
        walk.add(_NAMED_PROTOCOLS[protocol], at, end)


def _icmp(walk: Walk, at: int, end: int) -> None:
    layer = walk.add("icmp", at, end)
    if layer is not None and walk.data[at] in _ICMP_ERRORS and layer.stop > at + 8:
        ipv4(walk, at + 8, end)


def _icmp6(walk: Walk, at: int, end: int) -> None:
    layer = walk.add("icmpv6", at, end)
    if layer is not None and walk.data[at] in _ICMP6_ERRORS and layer.stop > at + 8:
        ipv6(walk, at + 8, end)


def tcp(walk: Walk, at: int, end: int) -> None:
    """Add a TCP segment and the protocol it carries."""
    layer = walk.add("tcp", at, end)
    if layer is None or layer.stop < at + 20:
        return
    header = (walk.data[at + 12] >> 4) * 4
    start = at + header
    if header < 20 or start >= layer.stop:
        return
    source, destination = struct.unpack_from(">HH", walk.data, at)
    ports = (source, destination)
    data = walk.data[start : layer.stop]
    if 53 in ports:
        if len(data) >= 14 and _u16(data, 0) + 2 <= len(data):
            walk.add("dns", start + 2, end)
    elif data.startswith(b"SSH-") or 22 in ports:
        walk.add("ssh", start, end)
    elif web.is_tls(data):
        walk.add("tls", start, end)
    elif web.is_http(data):
        walk.add("http", start, end)
    elif 179 in ports and data[:16] == b"\xff" * 16:
        walk.add("bgp", start, end)
    else:
        port = source if source in _TCP_PORTS else destination
        if port in _TCP_PORTS:
            walk.add(_TCP_PORTS[port], start, end)


def udp(walk: Walk, at: int, end: int) -> None:
    """Add a UDP datagram and the protocol it carries."""
    layer = walk.add("udp", at, end)
    if layer is None or layer.stop < at + 8:
        return
    source, destination, size = struct.unpack_from(">HHH", walk.data, at)
    if size >= 8:
        end = min(end, at + size)
        layer.end, layer.stop = end, min(layer.stop, end)
    elif size:
        return
    if layer.stop <= at + 8:
        return
    low, high = min(source, destination), max(source, destination)
    protocol = UDP_PROTOCOLS.get(low) or UDP_PROTOCOLS.get(high)
    if protocol == "vxlan":
        if walk.add("vxlan", at + 8, end) is not None:
            ethernet(walk, at + 16, end)
    elif protocol == "geneve":
        if walk.add("geneve", at + 8, end) is not None:
            size = 8 + (walk.data[at + 8] & 0x3F) * 4
            kind = _u16(walk.data, at + 10)
            if kind == 0x6558:
                ethernet(walk, at + 8 + size, end)
            else:
                ethertype(walk, kind, at + 8 + size, end)
    elif protocol is not None:
        walk.add(protocol, at + 8, end)


def _gre(walk: Walk, at: int, end: int) -> None:
    layer = walk.add("gre", at, end)
    if layer is None:
        return
    flags, kind = _u16(walk.data, at), _u16(walk.data, at + 2)
    at += 4 + 4 * bool(flags & 0xC000) + 4 * bool(flags & 0x2000) + 4 * bool(flags & 0x1000)
    if kind == _ERSPAN:
        # Type I has no header of its own, and no sequence number in GRE's.
        walk.add("erspan", at, end)
        ethernet(walk, at + (8 if flags & 0x1000 else 0), end)
    elif flags & 7 == 0:
        ethertype(walk, kind, at, end)


def _mpls(walk: Walk, at: int, end: int) -> None:
    for _ in range(16):
        if walk.add("mpls", at, end) is None:
            return
        last = walk.data[at + 2] & 1
        at += 4
        if last:
            break
    _any_ip(walk, at, end)


def _pppoe_session(walk: Walk, at: int, end: int) -> None:
    if walk.add("pppoes", at, end) is not None:
        _ppp(walk, at + 6, end)


def _ppp(walk: Walk, at: int, end: int) -> None:
    layer = walk.add("ppp", at, end)
    if layer is None:
        return
    if walk.data[at : at + 2] == b"\xff\x03":
        at += 2
    kind, at = (walk.data[at], at + 1) if walk.data[at] & 1 else (_u16(walk.data, at), at + 2)
    if kind in (0x21, 0x57):
        _any_ip(walk, at, end)


def _authentication(walk: Walk, at: int, end: int) -> None:
    if walk.add("ah", at, end) is not None:
        carried(walk, walk.data[at], at + (walk.data[at + 1] + 2) * 4, end)


def _null(walk: Walk, at: int, end: int) -> None:
    walk.add("null", at, end)
    family = int.from_bytes(walk.data[at : at + 4], "little")
    if family not in FAMILIES:
        family = int.from_bytes(walk.data[at : at + 4], "big")
    if family in FAMILIES:
        _any_ip(walk, at + 4, end)


def _cooked(walk: Walk, at: int, end: int) -> None:
    walk.add("sll", at, end)
    _behind_cooked(walk, _u16(walk.data, at + 14), at + 16, end)


def _cooked2(walk: Walk, at: int, end: int) -> None:
    walk.add("sll", at, end)
    _behind_cooked(walk, _u16(walk.data, at), at + 20, end)


def _behind_cooked(walk: Walk, kind: int, at: int, end: int) -> None:
    if kind == 4:
        _llc(walk, at, end)
    elif kind > 1500:
        ethertype(walk, kind, at, end)


def _named(protocol: str) -> Callable[[Walk, int, int], None]:
    def add(walk: Walk, at: int, end: int) -> None:
        walk.add(protocol, at, end)

    return add


_ETHERTYPES: dict[int, Callable[[Walk, int, int], None]] = {
    0x0800: ipv4,
    0x86DD: ipv6,
    0x0806: _named("arp"),
    0x8035: _named("arp"),
    0x6558: ethernet,
    0x8847: _mpls,
    0x8848: _mpls,
    0x8864: _pppoe_session,
}
_NAMED_ETHERTYPES = {0x88CC: "lldp", 0x8863: "pppoed", 0x888E: "eapol", 0x8809: "slow", 0x9000: "loop"}
_CARRIED: dict[int, Callable[[Walk, int, int], None]] = {
    1: _icmp,
    4: ipv4,
    6: tcp,
    17: udp,
    41: ipv6,
    47: _gre,
    51: _authentication,
    58: _icmp6,
    132: _named("sctp"),
}
_NAMED_PROTOCOLS = {2: "igmp", 50: "esp", 88: "eigrp", 89: "ospf", 103: "pim", 112: "vrrp"}
_TCP_PORTS = {
    20: "ftp-data", 21: "ftp", 23: "telnet", 25: "smtp", 110: "pop", 143: "imap", 587: "smtp", 6667: "irc",
}  # fmt: skip
_LINKS: dict[int, Callable[[Walk, int, int], None]] = {
    0: _null,
    1: ethernet,
    9: _ppp,
    12: _any_ip,
    14: _any_ip,
    50: _ppp,
    101: _any_ip,
    108: _null,
    113: _cooked,
    228: _any_ip,
    229: _any_ip,
    276: _cooked2,
}
