"""Fields of IPv4, IPv6, ICMP, ICMPv6 and IGMP (RFC 791, 8200, 792, 4443, 4861, 2236)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from qmon.packets.fields.field import Field, Kind, Table, Value
from qmon.packets.fields.layer import Layer

_IGMP3_REPORT = 0x22
_ECHO6 = frozenset({128, 129})
_SOLICITATION, _NEIGHBOR, _ADVERTISED, _ROUTER, _REDIRECT = 133, 135, 136, 134, 137
# Where the options of neighbour discovery begin.
_OPTIONS_AT = {_SOLICITATION: 8, _ROUTER: 16, _NEIGHBOR: 24, _ADVERTISED: 24, _REDIRECT: 40}


def _type_in(*kinds: int) -> Callable[[Layer], bool]:
    return lambda layer: layer.byte(0) in kinds


def _header_length(layer: Layer) -> Iterable[Value]:
    first = layer.byte(0)
    return ((first & 15) * 4,) if first >= 0 else ()


def _ipv4() -> list[Field]:
    table = Table("ip", "Internet Protocol Version 4")
    table.fields.append(Field("ip.version", Kind.NUMBER, "Version", ("ip", "ipv6"), (0,), 1, 0xF0))
    table.read("ip.hdr_len", "Header Length", Kind.NUMBER, _header_length)
    table.fixed("ip.dsfield", "Differentiated Services Field", 1, 1, Kind.HEX)
    table.fixed("ip.dsfield.dscp", "Differentiated Services Codepoint", 1, 1, mask=0xFC)
    table.fixed("ip.dsfield.ecn", "Explicit Congestion Notification", 1, 1, mask=0x03)
    table.fixed("ip.len", "Total Length", 2, 2)
    table.fixed("ip.id", "Identification", 4, 2, Kind.HEX)
    table.fixed("ip.flags", "Flags", 6, 1, Kind.HEX, mask=0xE0)
    table.flag("ip.flags.rb", "Reserved bit", 6, 0x80)
    table.flag("ip.flags.df", "Don't fragment", 6, 0x40)
    table.flag("ip.flags.mf", "More fragments", 6, 0x20)
    table.fixed("ip.frag_offset", "Fragment Offset", 6, 2, mask=0x1FFF)
    table.fixed("ip.ttl", "Time to Live", 8, 1)
    table.fixed("ip.proto", "Protocol", 9, 1)
    table.fixed("ip.checksum", "Header Checksum", 10, 2, Kind.HEX)
    table.fixed("ip.src", "Source Address", 12, 4, Kind.IPV4)
    table.fixed("ip.dst", "Destination Address", 16, 4, Kind.IPV4)
    table.fixed("ip.addr", "Source or Destination Address", (12, 16), 4, Kind.IPV4)
    return table.fields


def _ipv6() -> list[Field]:
    table = Table("ipv6", "Internet Protocol Version 6")
    table.fixed("ipv6.version", "Version", 0, 1, mask=0xF0)
    table.fixed("ipv6.tclass", "Traffic Class", 0, 4, Kind.HEX, mask=0x0FF0_0000)
    table.fixed("ipv6.tclass.dscp", "Differentiated Services Codepoint", 0, 4, mask=0x0FC0_0000)
    table.fixed("ipv6.tclass.ecn", "Explicit Congestion Notification", 0, 4, mask=0x0030_0000)
    table.fixed("ipv6.flow", "Flow Label", 1, 3, Kind.HEX, mask=0x0F_FFFF)
    table.fixed("ipv6.plen", "Payload Length", 4, 2)
    table.fixed("ipv6.nxt", "Next Header", 6, 1)
    table.fixed("ipv6.hlim", "Hop Limit", 7, 1)
    table.fixed("ipv6.src", "Source Address", 8, 16, Kind.IPV6)
    table.fixed("ipv6.dst", "Destination Address", 24, 16, Kind.IPV6)
    table.fixed("ipv6.addr", "Source or Destination Address", (8, 24), 16, Kind.IPV6)
    part = Table("ipv6.fraghdr", "Fragment Header for IPv6")
    part.fixed("ipv6.fraghdr.nxt", "Next header", 0, 1)
    part.fixed("ipv6.fraghdr.offset", "Offset", 2, 2, mask=0xFFF8)
    part.fixed("ipv6.fraghdr.more", "More Fragments", 2, 2, Kind.TRUTH, mask=1)
    part.fixed("ipv6.fraghdr.ident", "Identification", 4, 4, Kind.HEX)
    hops = Table("ipv6.hopopts", "IPv6 Hop-by-Hop Option")
    return table.fields + part.fields + hops.fields


def _icmp() -> list[Field]:
    table = Table("icmp", "Internet Control Message Protocol")
    table.fixed("icmp.type", "Type", 0, 1)
    table.fixed("icmp.code", "Code", 1, 1)
    table.fixed("icmp.checksum", "Checksum", 2, 2, Kind.HEX)
    asks = _type_in(0, 8, 13, 14, 15, 16, 17, 18)
    table.fixed("icmp.ident", "Identifier (BE)", 4, 2, when=asks)
    table.read("icmp.ident_le", "Identifier (LE)", Kind.NUMBER, _swapped(4, asks))
    table.fixed("icmp.seq", "Sequence Number (BE)", 6, 2, when=asks)
    table.read("icmp.seq_le", "Sequence Number (LE)", Kind.NUMBER, _swapped(6, asks))
    table.fixed("icmp.mtu", "MTU of next hop", 6, 2, when=lambda layer: layer.number(0, 2) == 0x0304)
    table.fixed("icmp.redir_gw", "Gateway Address", 4, 4, Kind.IPV4, when=_type_in(5))
    return table.fields


def _swapped(at: int, when: Callable[[Layer], bool]) -> Callable[[Layer], Iterable[Value]]:
    def read(layer: Layer) -> Iterable[Value]:
        raw = layer.bytes(at, 2)
        return (int.from_bytes(raw, "little"),) if raw is not None and when(layer) else ()

    return read


def _icmpv6() -> list[Field]:
    table = Table("icmpv6", "Internet Control Message Protocol v6")
    table.fixed("icmpv6.type", "Type", 0, 1)
    table.fixed("icmpv6.code", "Code", 1, 1)
    table.fixed("icmpv6.checksum", "Checksum", 2, 2, Kind.HEX)
    table.fixed("icmpv6.echo.identifier", "Identifier", 4, 2, Kind.HEX, when=_type_in(*_ECHO6))
    table.fixed("icmpv6.echo.sequence_number", "Sequence", 6, 2, when=_type_in(*_ECHO6))
    table.fixed("icmpv6.mtu", "MTU", 4, 4, when=_type_in(2))
    table.fixed("icmpv6.nd.ns.target_address", "Target Address", 8, 16, Kind.IPV6, when=_type_in(_NEIGHBOR))
    advertised = _type_in(_ADVERTISED)
    table.fixed("icmpv6.nd.na.target_address", "Target Address", 8, 16, Kind.IPV6, when=advertised)
    for name, label, bit in (("r", "Router", 0x80), ("s", "Solicited", 0x40), ("o", "Override", 0x20)):
        table.flag(f"icmpv6.nd.na.flag.{name}", label, 4, bit, when=advertised)
    router = _type_in(_ROUTER)
    table.fixed("icmpv6.nd.ra.cur_hop_limit", "Cur hop limit", 4, 1, when=router)
    table.fixed("icmpv6.nd.ra.flag", "Flags", 5, 1, Kind.HEX, when=router)
    table.flag("icmpv6.nd.ra.flag.m", "Managed address configuration", 5, 0x80, when=router)
    table.flag("icmpv6.nd.ra.flag.o", "Other configuration", 5, 0x40, when=router)
    table.fixed("icmpv6.nd.ra.flag.prf", "Prf (Default Router Preference)", 5, 1, mask=0x18, when=router)
    table.fixed("icmpv6.nd.ra.router_lifetime", "Router lifetime (s)", 6, 2, when=router)
    table.fixed("icmpv6.nd.ra.reachable_time", "Reachable time (ms)", 8, 4, when=router)
    table.fixed("icmpv6.nd.ra.retrans_timer", "Retrans timer (ms)", 12, 4, when=router)
    table.fixed("icmpv6.nd.rd.target_address", "Target Address", 8, 16, Kind.IPV6, when=_type_in(_REDIRECT))
    listener = _type_in(130, 131, 132)
    table.fixed("icmpv6.mld.multicast_address", "Multicast Address", 8, 16, Kind.IPV6, when=listener)
    table.fixed(
        "icmpv6.mldr.nb_mcast_records", "Number of Multicast Address Records", 6, 2, when=_type_in(143)
    )
    table.read("icmpv6.opt.type", "Type", Kind.NUMBER, lambda layer: (one[0] for one in _options(layer)))
    table.read("icmpv6.opt.length", "Length", Kind.NUMBER, lambda layer: (one[1] for one in _options(layer)))
    table.read(
        "icmpv6.opt.linkaddr",
        "Link-layer address",
        Kind.ETHER,
        _option((1, 2), 2, 8),
    )
    table.read(
        "icmpv6.opt.src_linkaddr",
        "Source Link-layer address",
        Kind.ETHER,
        _option((1,), 2, 8),
    )
    table.read(
        "icmpv6.opt.target_linkaddr",
        "Target Link-layer address",
        Kind.ETHER,
        _option((2,), 2, 8),
    )
    table.read("icmpv6.opt.prefix", "Prefix", Kind.IPV6, _option((3,), 16, 32))
    table.read(
        "icmpv6.opt.prefix.length",
        "Prefix Length",
        Kind.NUMBER,
        _option((3,), 2, 3),
    )
    table.read("icmpv6.opt.mtu", "MTU", Kind.NUMBER, _option((5,), 4, 8))
    table.read("icmpv6.opt.rdnss", "Recursive DNS Servers", Kind.IPV6, _name_servers)
    return table.fields


def _options(layer: Layer) -> Iterator[bytes]:
    """Yield the options of a message of neighbour discovery, each with its two bytes of type and length."""
    at = _OPTIONS_AT.get(layer.byte(0))
    if at is None:
        return
    for _ in range(64):
        size = layer.byte(at + 1) * 8
        option = layer.bytes(at, size) if size > 0 else None
        if option is None:
            return
        yield option
        at += size


def _option(kinds: tuple[int, ...], start: int, stop: int) -> Callable[[Layer], Iterable[Value]]:
    def read(layer: Layer) -> Iterable[Value]:
        found = (one for one in _options(layer) if one[0] in kinds and len(one) >= stop)
        return [int.from_bytes(one[start:stop], "big") for one in found]

    return read


def _name_servers(layer: Layer) -> Iterable[Value]:
    for one in _options(layer):
        if one[0] == 25:
            yield from (int.from_bytes(one[at : at + 16], "big") for at in range(8, len(one) - 15, 16))


def _igmp() -> list[Field]:
    table = Table("igmp", "Internet Group Management Protocol")
    table.fixed("igmp.type", "Type", 0, 1, Kind.HEX)
    table.fixed("igmp.checksum", "Checksum", 2, 2, Kind.HEX)
    table.read("igmp.maddr", "Multicast Address", Kind.IPV4, _groups)
    return table.fields


def _groups(layer: Layer) -> Iterable[Value]:
    """Return the groups that a message is about; a report of version 3 has one in each of its records."""
    if layer.byte(0) in (0x11, 0x12, 0x16, 0x17):
        group = layer.number(4, 4)
        return () if group is None else (group,)
    found: list[Value] = []
    at = 8
    for _ in range(layer.number(6, 2) or 0 if layer.byte(0) == _IGMP3_REPORT else 0):
        sources, group = layer.number(at + 2, 2), layer.number(at + 4, 4)
        if sources is None or group is None:
            break
        found.append(group)
        at += 8 + 4 * sources + 4 * layer.byte(at + 1)
    return found


def _others() -> list[Field]:
    """Return the protocols that have a name and no fields yet."""
    named = {
        "llc": "Logical-Link Control", "stp": "Spanning Tree Protocol", "lldp": "Link Layer Discovery Protocol",
        "gre": "Generic Routing Encapsulation", "esp": "Encapsulating Security Payload",
        "ah": "Authentication Header", "ospf": "Open Shortest Path First", "mpls": "MultiProtocol Label Switching",
        "pppoed": "PPP-over-Ethernet Discovery", "pppoes": "PPP-over-Ethernet Session",
        "ppp": "Point-to-Point Protocol", "eapol": "802.1X Authentication", "null": "Null/Loopback",
        "vxlan": "Virtual eXtensible Local Area Network", "geneve": "Generic Network Virtualization Encapsulation",
        "vrrp": "Virtual Router Redundancy Protocol", "pim": "Protocol Independent Multicast",
        "eigrp": "Enhanced Interior Gateway Routing Protocol", "cdp": "Cisco Discovery Protocol",
        "slow": "Slow Protocols", "loop": "Configuration Test Protocol (loopback)",
        "isis": "ISIS", "vntag": "VN-Tag", "erspan": "Encapsulated Remote Switch Packet ANalysis",
    }  # fmt: skip
    return [field for name, label in named.items() for field in Table(name, label).fields]


FIELDS = [*_ipv4(), *_ipv6(), *_icmp(), *_icmpv6(), *_igmp(), *_others()]
