"""Link layers: from a capture's link type to an Ethertype or to IP.

Numbers: tcpdump.org's LINKTYPE_ list, IEEE's Ethertypes, IEEE 802.2 SAPs.
"""

from __future__ import annotations

from collections.abc import Callable

from qmon.packets.summary import internet, radio, services, wrapped
from qmon.packets.summary.line import Line, mac
from qmon.text import plain_bytes

ETHERTYPES = {
    0x0600: "XNS",
    0x0842: "WOL",
    0x22F0: "IEEE1722",
    0x6000: "0x6000",
    0x6002: "0x6002",
    0x6003: "DEC DNA",
    0x809B: "ATALK",
    0x80F3: "AARP",
    0x8137: "IPX",
    0x8808: "MAC CTRL",
    0x8809: "Slow Protocols",
    0x8863: "PPPoED",
    0x888E: "EAPOL",
    0x8892: "PN-IO",
    0x88A2: "AoE",
    0x88A4: "ECAT",
    0x88B5: "0x88b5",
    0x88B6: "0x88b6",
    0x88B7: "OUI",
    0x88B8: "GOOSE",
    0x88CC: "LLDP",
    0x88E5: "MACSEC",
    0x88E7: "802.1ah",
    0x88F5: "MVRP",
    0x88F7: "PTPv2",
    0x8902: "CFM",
    0x8906: "FCoE",
    0x8914: "FIP",
    0x9000: "LOOP",
}
# Wireshark's epan/exported_pdu.h
DISSECTOR_NAME_TAG = 12
_VLAN_TAGS = frozenset({0x8100, 0x88A8, 0x9100, 0x9200})
_PPPOE_CODES = {
    0x09: "Active Discovery Initiation (PADI)",
    0x07: "Active Discovery Offer (PADO)",
    0x19: "Active Discovery Request (PADR)",
    0x65: "Active Discovery Session-confirmation (PADS)",
    0xA7: "Active Discovery Terminate (PADT)",
}
_PPP = {0x8021: "PPP IPCP", 0x8057: "PPP IPV6CP", 0xC021: "PPP LCP", 0xC023: "PPP PAP", 0xC223: "PPP CHAP"}
_EAPOL = ("EAP packet", "Start", "Logoff", "Key", "Encapsulated ASF alert")
_OSI = {0x81: "CLNP", 0x82: "ESIS", 0x83: "ISIS"}
_SAPS = {0xE0: "IPX", 0xF0: "NetBIOS", 0xFE: "OSI", 0x06: "IPv4", 0x7E: "X.25", 0x04: "SNA"}


def begin(line: Line, link_type: int) -> None:
    """Word a frame of any link type."""
    worded = LINKS.get(link_type)
    if worded is None:
        line.set(NAMES.get(link_type, f"LINKTYPE {link_type}"), f"{line.length} bytes")
    else:
        worded(line, 0)


def ethernet(line: Line, at: int) -> None:
    """Word an Ethernet frame, or one of 802.3."""
    line.protocol = "Ethernet"
    addresses = line.data[at : at + 12]
    line.source = line.destination = ""
    try:
        kind = line.u16(at + 12)
        if kind <= 1500:
            # 802.3: the length of what follows; the rest is padding.
            line.limit(at + 14 + kind)
            logical_link(line, at + 14)
        else:
            ethertype(line, at + 14, kind)
    finally:
        # Hardware addresses are shown where there are no others.
        if not line.destination and len(addresses) >= 6:
            line.destination = mac(addresses[:6])
        if not line.source and len(addresses) == 12:
            line.source = mac(addresses[6:])


def ethertype(line: Line, at: int, kind: int) -> None:
    """Word what follows an Ethertype, looking through VLAN tags."""
    tags = 0
    while kind in _VLAN_TAGS and tags < 8:
        line.set("VLAN", f"VLAN {line.u16(at) & 0xFFF}")
        kind = line.u16(at + 2)
        at += 4
        tags += 1
    line.payload = line.end - at
    if tags and kind <= 1500:
        logical_link(line, at)
        return
    worded = _TYPES.get(kind)
    if worded is not None:
        worded(line, at)
        return
    name = ETHERTYPES.get(kind, f"0x{kind:04x}")
    line.set(name, f"Ethernet II, type 0x{kind:04x}, {line.end - at} bytes")


def logical_link(line: Line, at: int) -> None:
    """Word an 802.2 LLC header and what follows."""
    line.payload = line.end - at
    line.set("LLC", "")
    destination, source, control = line.data[at], line.data[at + 1], line.data[at + 2]
    if destination == source == 0x42 and control == 3:
        _spanning_tree(line, at + 3)
    elif destination == 0xAA and control == 3:
        organisation, kind = line.bytes(at + 3, 3), line.u16(at + 6)
        if organisation == b"\0\0\0" or organisation == b"\0\0\xf8":
            ethertype(line, at + 8, kind)
        elif organisation == b"\0\0\x0c":
            names = {
                0x2000: "CDP",
                0x2003: "VTP",
                0x2004: "DTP",
                0x0104: "PAGP",
                0x0111: "UDLD",
                0x010B: "STP",
            }
            line.set(names.get(kind, "LLC"), f"Cisco, type 0x{kind:04x}")
        else:
            line.set("LLC", f"SNAP, OUI {organisation.hex(':')}, type 0x{kind:04x}")
    elif destination == 0xFE and control == 3:
        _osi(line, at + 3)
    else:
        line.set(
            _SAPS.get(destination, "LLC"),
            f"DSAP 0x{destination:02x}, SSAP 0x{source:02x}, control 0x{control:02x}",
        )


def _osi(line: Line, at: int) -> None:
    """Word what OSI's network layer protocol identifier (ISO/IEC TR 9577) says."""
    identifier = line.data[at]
    if identifier in (0x8E, 0xCC):
        internet.any_version(line, at + 1)
        return
    line.set(_OSI.get(identifier, "OSI"), "" if identifier in _OSI else f"NLPID 0x{identifier:02x}")
    if identifier == 0x83:
        kind = line.data[at + 4] & 0x1F
        name = "HELLO" if kind < 18 else "LSP" if kind < 24 else "CSNP" if kind < 26 else "PSNP"
        line.set(f"ISIS {name}", f"type {kind}")


def _spanning_tree(line: Line, at: int) -> None:
    line.set("STP", "")
    kind = line.data[at + 3]
    if kind == 0x80:
        line.info = "Topology Change Notification"
        return
    name = {0: "Conf.", 2: "RST."}.get(kind, f"Type {kind}.")
    name = "MST." if line.data[at + 2] == 3 else name
    priority = line.u16(at + 5)
    root = f"{priority & 0xF000}/{priority & 0xFFF}/{line.bytes(at + 7, 6).hex(':')}"
    line.info = f"{name} Root = {root}  Cost = {line.u32(at + 13)}  Port = 0x{line.u16(at + 25):04x}"


def _mpls(line: Line, at: int) -> None:
    line.set("MPLS", f"MPLS label {line.u32(at) >> 12}")
    for _ in range(16):
        last = line.u32(at) >> 8 & 1
        at += 4
        if last:
            break
    version = line.data[at] >> 4
    if version in (4, 6):
        internet.any_version(line, at)


def _pppoe_discovery(line: Line, at: int) -> None:
    code = line.data[at + 1]
    line.set("PPPoED", _PPPOE_CODES.get(code, f"Unknown code 0x{code:02x}"))


def _pppoe_session(line: Line, at: int) -> None:
    line.set("PPPoES", f"Session 0x{line.u16(at + 2):04x}")
    point_to_point(line, at + 6)


def point_to_point(line: Line, at: int) -> None:
    """Word a PPP frame, with or without address and control in front."""
    if line.bytes(at, 2) == b"\xff\x03":
        at += 2
    kind, at = (line.data[at], at + 1) if line.data[at] & 1 else (line.u16(at), at + 2)
    if kind in (0x21, 0x57):
        internet.any_version(line, at)
    else:
        line.set(_PPP.get(kind, "PPP"), f"protocol 0x{kind:04x}")


def _eapol(line: Line, at: int) -> None:
    kind = line.data[at + 1]
    line.set("EAPOL", _EAPOL[kind] if kind < len(_EAPOL) else f"Type {kind}")
    if kind == 0:
        line.set("EAP", {1: "Request", 2: "Response", 3: "Success", 4: "Failure"}.get(line.data[at + 4], ""))


def _lldp(line: Line, at: int) -> None:
    """Word the first values: chassis, port, time to live, and the system's name."""
    line.set("LLDP", "")
    words: list[str] = []
    while at + 2 <= len(line.data) and len(words) < 8:
        head = line.u16(at)
        kind, size = head >> 9, head & 0x1FF
        value = line.bytes(at + 2, size)
        at += 2 + size
        if kind == 0:
            break
        if kind in (1, 2):
            words.append(
                ("MA/" + mac(value[1:]))
                if value[:1] in (b"\3", b"\4") and size == 7
                else plain_bytes(value[1:])
            )
        elif kind == 3:
            words.append(str(int.from_bytes(value[:2], "big")))
        elif kind == 5:
            words.append("SysN=" + plain_bytes(value))
    line.info = " ".join(words)


def _slow(line: Line, at: int) -> None:
    kind = line.data[at]
    line.set({1: "LACP", 2: "MARKER", 3: "OAM", 10: "OSSP"}.get(kind, "Slow Protocols"), f"subtype {kind}")


def _loop(line: Line, at: int) -> None:
    line.set("LOOP", f"function {int.from_bytes(line.bytes(at + 2, 2), 'little')}")


def _bridged_ethernet(line: Line, at: int) -> None:
    if line.nest():
        ethernet(line, at)


def _tunnelled_ppp(line: Line, at: int) -> None:
    if at >= line.end:
        return  # An acknowledgement alone.
    line.set("PPP", "")
    if line.nest():
        point_to_point(line, at)


def _fibre_ring(line: Line, at: int) -> None:
    """FDDI: a byte of frame control, addresses, and logical link control where the control says so."""
    line.set("FDDI", f"frame control 0x{line.data[at]:02x}")
    addresses = line.bytes(at + 1, 12)
    if line.data[at] & 0xF0 in (0x50, 0xD0):
        logical_link(line, at + 13)
    line.destination = line.destination or mac(addresses[:6])
    line.source = line.source or mac(addresses[6:])


def _cisco_hdlc(line: Line, at: int) -> None:
    kind = line.u16(at + 2)
    line.set("CHDLC", f"protocol 0x{kind:04x}")
    if kind == 0x8035:
        line.set("SLARP", "Cisco keep-alive")
    elif kind != 0xFEFE:
        ethertype(line, at + 4, kind)
    else:
        _osi(line, at + 5)


def _null(line: Line, at: int) -> None:
    """BSD loopback: the address family in the order of the machine that captured."""
    line.set("NULL", "")
    internet.any_version(line, at + 4)


def _cooked(line: Line, at: int) -> None:
    _from_cooked(line, at + 4, at + 6, 8)
    ethertype_or_llc(line, at + 16, line.u16(at + 14))


def _cooked2(line: Line, at: int) -> None:
    kind, line.protocol = line.u16(at), "SLL"
    size = min(line.data[at + 11], 8)
    line.source = line.bytes(at + 12, size).hex(":")
    ethertype_or_llc(line, at + 20, kind)


def _from_cooked(line: Line, size_at: int, address_at: int, room: int) -> None:
    line.protocol = "SLL"
    line.source = line.bytes(address_at, min(line.u16(size_at), room)).hex(":")


def ethertype_or_llc(line: Line, at: int, kind: int) -> None:
    """Word what follows Linux's "cooked" header: an Ethertype, or small numbers of Linux's own."""
    if kind == 4:
        logical_link(line, at)
    elif kind <= 1500:
        line.set("SLL", f"protocol 0x{kind:04x}")
    else:
        ethertype(line, at, kind)


def _ppp_hdlc(line: Line, at: int) -> None:
    """PPP as in HDLC frames, or, told apart by the first byte (RFC 1547 4.3.1), Cisco's own framing."""
    if line.data[at] in (0x0F, 0x8F):
        _cisco_hdlc(line, at)
    else:
        line.set("PPP", "")
        point_to_point(line, at)


def _exported(line: Line, at: int) -> None:
    """Wireshark's "upper PDU": tags that name a dissector, then what it is to dissect; qmon's notes come so."""
    line.set("EXPORTED_PDU", "")
    name = ""
    while (tag := line.u16(at)) != 0:
        size = line.u16(at + 2)
        if tag == DISSECTOR_NAME_TAG:
            name = plain_bytes(line.bytes(at + 4, size).rstrip(b"\0"))
        at += 4 + size
    at += 4
    if name == "syslog":
        services.syslog(line, at)
    elif name in ("ip", "ipv6"):
        internet.any_version(line, at)
    else:
        line.set("EXPORTED_PDU", f"{name or 'unnamed'}, {line.end - at} bytes")


_TYPES: dict[int, Callable[[Line, int], None]] = {
    0x0800: internet.version4,
    0x86DD: internet.version6,
    0x0806: internet.arp,
    0x8035: internet.arp,
    0x8847: _mpls,
    0x8848: _mpls,
    0x8863: _pppoe_discovery,
    0x8864: _pppoe_session,
    0x888E: _eapol,
    0x88CC: _lldp,
    0x8809: _slow,
    0x9000: _loop,
    0x6558: _bridged_ethernet,
    0x880B: _tunnelled_ppp,
    0x88BE: wrapped.remote_span,
    0x22EB: wrapped.remote_span,
}
LINKS: dict[int, Callable[[Line, int], None]] = {
    0: _null,
    1: ethernet,
    9: _ppp_hdlc,
    10: _fibre_ring,
    12: internet.any_version,
    14: internet.any_version,
    50: _ppp_hdlc,
    101: internet.any_version,
    104: _cisco_hdlc,
    105: radio.radio,
    108: _null,
    113: _cooked,
    119: radio.prism,
    127: radio.radiotap,
    163: radio.avs,
    192: radio.per_packet,
    228: internet.version4,
    229: internet.version6,
    252: _exported,
    276: _cooked2,
}
NAMES = {
    6: "TR",
    189: "USB",
    195: "IEEE 802.15.4",
    201: "HCI",
    220: "USB",
    227: "CAN",
    231: "D-Bus",
    249: "USB",
    253: "Netlink",
}
