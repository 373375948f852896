"""Names for layers and fields, as Wireshark words them where scapy's own are short."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qmon.packets.fields.registry import fields

_LAYERS = {
    "Ether": "Ethernet II",
    "Dot3": "IEEE 802.3 Ethernet",
    "LLC": "Logical-Link Control",
    "SNAP": "SNAP",
    "Dot1Q": "802.1Q Virtual LAN",
    "Dot1AD": "802.1ad Virtual LAN",
    "ARP": "Address Resolution Protocol",
    "IP": "Internet Protocol Version 4",
    "IPv6": "Internet Protocol Version 6",
    "TCP": "Transmission Control Protocol",
    "UDP": "User Datagram Protocol",
    "ICMP": "Internet Control Message Protocol",
    "IPerror": "Internet Protocol Version 4 (what the error is about)",
    "TCPerror": "Transmission Control Protocol (what the error is about)",
    "UDPerror": "User Datagram Protocol (what the error is about)",
    "ICMPerror": "Internet Control Message Protocol (what the error is about)",
    "BOOTP": "Bootstrap Protocol (DHCP)",
    "DHCP": "DHCP options",
    "DNS": "Domain Name System",
    "TFTP": "Trivial File Transfer Protocol",
    "STP": "Spanning Tree Protocol",
    "VXLAN": "Virtual eXtensible Local Area Network",
    "CookedLinux": "Linux cooked capture v1",
    "CookedLinuxV2": "Linux cooked capture v2",
    "SCTP": "Stream Control Transmission Protocol",
    "Loopback": "Null/Loopback",
}

# scapy's names of fields, by Wireshark's: their labels are those of the registry.
_FIELDS = {
    "Ether": {"dst": "eth.dst", "src": "eth.src", "type": "eth.type"},
    "Dot3": {"dst": "eth.dst", "src": "eth.src", "len": "eth.len"},
    "Dot1Q": {"prio": "vlan.priority", "dei": "vlan.dei", "id": "vlan.dei", "vlan": "vlan.id", "type": "vlan.etype"},
    "ARP": {
        "hwtype": "arp.hw.type", "ptype": "arp.proto.type", "hwlen": "arp.hw.size", "plen": "arp.proto.size",
        "op": "arp.opcode", "hwsrc": "arp.src.hw_mac", "psrc": "arp.src.proto_ipv4", "hwdst": "arp.dst.hw_mac",
        "pdst": "arp.dst.proto_ipv4",
    },
    "IP": {
        "version": "ip.version", "ihl": "ip.hdr_len", "tos": "ip.dsfield", "len": "ip.len", "id": "ip.id",
        "flags": "ip.flags", "frag": "ip.frag_offset", "ttl": "ip.ttl", "proto": "ip.proto", "chksum": "ip.checksum",
        "src": "ip.src", "dst": "ip.dst",
    },
    "IPv6": {
        "version": "ipv6.version", "tc": "ipv6.tclass", "fl": "ipv6.flow", "plen": "ipv6.plen", "nh": "ipv6.nxt",
        "hlim": "ipv6.hlim", "src": "ipv6.src", "dst": "ipv6.dst",
    },
    "TCP": {
        "sport": "tcp.srcport", "dport": "tcp.dstport", "seq": "tcp.seq_raw", "ack": "tcp.ack_raw",
        "dataofs": "tcp.hdr_len", "reserved": "tcp.flags.res", "flags": "tcp.flags",
        "window": "tcp.window_size_value", "chksum": "tcp.checksum", "urgptr": "tcp.urgent_pointer",
    },
    "UDP": {"sport": "udp.srcport", "dport": "udp.dstport", "len": "udp.length", "chksum": "udp.checksum"},
    "SCTP": {"sport": "sctp.srcport", "dport": "sctp.dstport", "tag": "sctp.verification_tag"},
    "ICMP": {
        "type": "icmp.type", "code": "icmp.code", "chksum": "icmp.checksum", "id": "icmp.ident", "seq": "icmp.seq",
        "gw": "icmp.redir_gw", "nexthopmtu": "icmp.mtu",
    },
    "BOOTP": {
        "op": "dhcp.type", "htype": "dhcp.hw.type", "hlen": "dhcp.hw.len", "hops": "dhcp.hops", "xid": "dhcp.id",
        "secs": "dhcp.secs", "flags": "dhcp.flags", "ciaddr": "dhcp.ip.client", "yiaddr": "dhcp.ip.your",
        "siaddr": "dhcp.ip.server", "giaddr": "dhcp.ip.relay", "chaddr": "dhcp.hw.mac_addr", "sname": "dhcp.server",
        "file": "dhcp.file", "options": "dhcp.cookie",
    },
    "DNS": {
        "id": "dns.id", "qr": "dns.flags.response", "opcode": "dns.flags.opcode", "aa": "dns.flags.authoritative",
        "tc": "dns.flags.truncated", "rd": "dns.flags.recdesired", "ra": "dns.flags.recavail", "z": "dns.flags.z",
        "ad": "dns.flags.authenticated", "cd": "dns.flags.checkdisable", "rcode": "dns.flags.rcode",
        "qdcount": "dns.count.queries", "ancount": "dns.count.answers", "nscount": "dns.count.auth_rr",
        "arcount": "dns.count.add_rr",
    },
}  # fmt: skip
# Parts of a message, which are no fields of Wireshark's.
_PARTS = {
    ("DNS", "qd"): "Queries", ("DNS", "an"): "Answers", ("DNS", "ns"): "Authoritative nameservers",
    ("DNS", "ar"): "Additional records",
}  # fmt: skip
# What bits that share bytes are called together: the one that says most, or a field of Wireshark's for all of them.
_GROUPS = {
    ("IP", "version"): "version", ("IP", "flags"): "flags", ("IPv6", "version"): "version", ("TCP", "dataofs"): "flags",
    ("Dot1Q", "prio"): "vlan", ("DNS", "ra"): "rcode",
}  # fmt: skip
_GROUPS_ANYWHERE = {"unicastresponse": "qclass", "cacheflush": "rclass"}
_WHOLES = {("DNS", "qr"): "dns.flags"}
_COMMON = {
    "chksum": "Checksum",
    "cksum": "Checksum",
    "src": "Source address",
    "dst": "Destination address",
    "sport": "Source port",
    "dport": "Destination port",
    "len": "Length",
    "qname": "Name",
    "qtype": "Type",
    "qclass": "Class",
    "rrname": "Name",
    "rclass": "Class",
    "cacheflush": "Cache flush",
    "unicastresponse": "Unicast response wanted",
    "ttl": "Time to live",
    "rdlen": "Data length",
    "rdata": "Data",
    "tgt": "Target address",
    "lladdr": "Link-layer address",
    "mtu": "MTU",
    "nexthopmtu": "Next-hop MTU",
    "oname": "Option",
    "trid": "Transaction ID",
    "errorcode": "Error code",
    "errormsg": "Error message",
    "op": "Opcode",
}
_SAME_AS = {"Dot1AD": "Dot1Q", "IPerror": "IP", "TCPerror": "TCP", "UDPerror": "UDP", "ICMPerror": "ICMP"}


def layer(packet: Any) -> str:
    """Return the name of a layer."""
    kind = type(packet).__name__
    return _LAYERS.get(kind) or str(getattr(packet, "name", kind))


def wireshark_name(packet: Any, described: Any) -> str:
    """Return Wireshark's name of a field, "" where it is not known."""
    kind = type(packet).__name__
    return _FIELDS.get(_SAME_AS.get(kind, kind), {}).get(str(described.name), "")


def field(packet: Any, described: Any) -> str:
    """Return the label of a field."""
    known = fields().get(wireshark_name(packet, described))
    if known is not None:
        return known.label
    name, kind = str(described.name), type(packet).__name__
    label = _PARTS.get((_SAME_AS.get(kind, kind), name)) or _COMMON.get(name)
    if label:
        return label
    words = name.replace("_", " ")
    return words[:1].upper() + words[1:]


def group(packet: Any, described: Sequence[Any]) -> tuple[str, int | None]:
    """Return what fields that share bytes are called together, and which of them says it (None: their number does)."""
    kind = type(packet).__name__
    key = _SAME_AS.get(kind, kind), str(described[0].name)
    if key in _WHOLES:
        return fields()[_WHOLES[key]].label, None
    names = [str(one.name) for one in described]
    chosen = _GROUPS.get(key) or _GROUPS_ANYWHERE.get(key[1], "")
    main = names.index(chosen) if chosen in names else 0
    return field(packet, described[main]), main
