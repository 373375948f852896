"""Names for layers and fields, as Wireshark words them where scapy's own are short."""

from __future__ import annotations

from typing import Any

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

_FIELDS = {
    ("Ether", "dst"): "Destination",
    ("Ether", "src"): "Source",
    ("Ether", "type"): "Type",
    ("Dot1Q", "prio"): "Priority",
    ("Dot1Q", "dei"): "Drop eligible",
    ("Dot1Q", "id"): "Drop eligible",
    ("Dot1Q", "vlan"): "VLAN ID",
    ("ARP", "hwtype"): "Hardware type",
    ("ARP", "ptype"): "Protocol type",
    ("ARP", "hwlen"): "Hardware size",
    ("ARP", "plen"): "Protocol size",
    ("ARP", "op"): "Opcode",
    ("ARP", "hwsrc"): "Sender MAC address",
    ("ARP", "psrc"): "Sender IP address",
    ("ARP", "hwdst"): "Target MAC address",
    ("ARP", "pdst"): "Target IP address",
    ("IP", "ihl"): "Header length (words)",
    ("IP", "tos"): "Differentiated services",
    ("IP", "len"): "Total length",
    ("IP", "id"): "Identification",
    ("IP", "frag"): "Fragment offset",
    ("IP", "ttl"): "Time to live",
    ("IP", "proto"): "Protocol",
    ("IPv6", "tc"): "Traffic class",
    ("IPv6", "fl"): "Flow label",
    ("IPv6", "plen"): "Payload length",
    ("IPv6", "nh"): "Next header",
    ("IPv6", "hlim"): "Hop limit",
    ("TCP", "seq"): "Sequence number",
    ("TCP", "ack"): "Acknowledgment number",
    ("TCP", "dataofs"): "Header length (words)",
    ("TCP", "reserved"): "Reserved",
    ("TCP", "urgptr"): "Urgent pointer",
    ("ICMP", "seq"): "Sequence number",
    ("ICMP", "id"): "Identifier",
    ("ICMP", "gw"): "Gateway address",
    ("BOOTP", "op"): "Message type",
    ("BOOTP", "htype"): "Hardware type",
    ("BOOTP", "hlen"): "Hardware address length",
    ("BOOTP", "xid"): "Transaction ID",
    ("BOOTP", "secs"): "Seconds elapsed",
    ("BOOTP", "ciaddr"): "Client IP address",
    ("BOOTP", "yiaddr"): "Your (client) IP address",
    ("BOOTP", "siaddr"): "Next server IP address",
    ("BOOTP", "giaddr"): "Relay agent IP address",
    ("BOOTP", "chaddr"): "Client MAC address",
    ("BOOTP", "sname"): "Server host name",
    ("BOOTP", "file"): "Boot file name",
    ("BOOTP", "options"): "Magic cookie",
    ("DNS", "id"): "Transaction ID",
    ("DNS", "qr"): "Response",
    ("DNS", "aa"): "Authoritative",
    ("DNS", "tc"): "Truncated",
    ("DNS", "rd"): "Recursion desired",
    ("DNS", "ra"): "Recursion available",
    ("DNS", "z"): "Z",
    ("DNS", "ad"): "Answer authenticated",
    ("DNS", "cd"): "Checking disabled",
    ("DNS", "rcode"): "Reply code",
    ("DNS", "qdcount"): "Questions",
    ("DNS", "ancount"): "Answer RRs",
    ("DNS", "nscount"): "Authority RRs",
    ("DNS", "arcount"): "Additional RRs",
    ("DNS", "qd"): "Queries",
    ("DNS", "an"): "Answers",
    ("DNS", "ns"): "Authoritative nameservers",
    ("DNS", "ar"): "Additional records",
}
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


def field(packet: Any, described: Any) -> str:
    """Return the name of a field."""
    name, kind = str(described.name), type(packet).__name__
    kind = _SAME_AS.get(kind, kind)
    known = _FIELDS.get((kind, name)) or _COMMON.get(name)
    if known:
        return known
    words = name.replace("_", " ")
    return words[:1].upper() + words[1:]
