"""Encrypted and wrapped datagrams: QUIC, DTLS, WireGuard, OpenVPN, IPsec through NAT, GTP, L2TP, ERSPAN.

Sources: RFC 9000, 9369, 6347, 3948, 2661; WireGuard's whitepaper; OpenVPN's wire protocol; 3GPP TS 29.281;
draft-foschiano-erspan. What names itself is named on any port; the rest needs its port and its header.
"""

from __future__ import annotations

from qmon.packets.summary import tables
from qmon.packets.summary.line import Line

QUIC_PORT = 443
_QUIC_KINDS = ("Initial", "0-RTT", "Handshake", "Retry")
_QUIC_2 = 0x6B3343CF
_DTLS = {0xFEFF: "DTLSv1.0", 0xFEFD: "DTLSv1.2"}
_DTLS_KINDS = {20: "Change Cipher Spec", 21: "Alert", 22: "Handshake", 23: "Application Data"}
_DTLS_MESSAGES = {
    0: "Hello Request", 1: "Client Hello", 2: "Server Hello", 3: "Hello Verify Request", 4: "New Session Ticket",
    11: "Certificate", 12: "Server Key Exchange", 13: "Certificate Request", 14: "Server Hello Done",
    15: "Certificate Verify", 16: "Client Key Exchange", 20: "Finished",
}  # fmt: skip
_WIREGUARD = {1: ("Handshake Initiation", 148), 2: ("Handshake Response", 92), 3: ("Cookie Reply", 64)}
_OPENVPN = {
    1: "P_CONTROL_HARD_RESET_CLIENT_V1", 2: "P_CONTROL_HARD_RESET_SERVER_V1", 3: "P_CONTROL_SOFT_RESET_V1",
    4: "P_CONTROL_V1", 5: "P_ACK_V1", 6: "P_DATA_V1", 7: "P_CONTROL_HARD_RESET_CLIENT_V2",
    8: "P_CONTROL_HARD_RESET_SERVER_V2", 9: "P_DATA_V2", 10: "P_CONTROL_HARD_RESET_CLIENT_V3",
}  # fmt: skip
_GTP = {1: "Echo request", 2: "Echo response", 16: "Create PDP context request", 17: "Create PDP context response",
        18: "Update PDP context request", 19: "Update PDP context response", 20: "Delete PDP context request",
        21: "Delete PDP context response", 26: "Error indication", 254: "End Marker", 255: "T-PDU"}  # fmt: skip
_IKE = {
    2: "Identity Protection (Main Mode)", 4: "Aggressive", 5: "Informational", 32: "Quick Mode", 34: "IKE_SA_INIT",
    35: "IKE_AUTH", 36: "CREATE_CHILD_SA", 37: "INFORMATIONAL",
}  # fmt: skip


def is_quic(version: int) -> bool:
    """Say whether a long header's version is one of QUIC's: 1, 2, or a draft of the IETF."""
    return version in (1, _QUIC_2) or 0xFF000011 <= version <= 0xFF000022


def by_content(line: Line, at: int, source: int, destination: int) -> None:
    """Word a datagram on ports that say nothing, if its content is unmistakable."""
    data, size = line.data, line.end - at
    first = data[at]
    if data[at + 4 : at + 8] == b"\x21\x12\xa4\x42" and first < 4:
        kinds = {1: "Binding Request", 0x101: "Binding Success Response", 0x111: "Binding Error Response"}
        line.set("STUN", tables.named(kinds, line.u16(at), "message 0x{:04x}"))
    elif size >= 21 and first & 0x80 and is_quic(line.u32(at + 1)):
        quic(line, at)
    elif size >= 21 and first & 0xC0 == 0xC0 and data[at + 1] == 0x51 and data[at + 2 : at + 5].isdigit():
        _goes_on_as(line, "GQUIC")
        line.set("GQUIC", f"Version Q{data[at + 2 : at + 5].decode()}")
    elif size >= 13 and first in _DTLS_KINDS and line.u16(at + 1) in _DTLS:
        _dtls(line, at)
    elif size >= 32 and 1 <= first <= 4 and data[at + 1 : at + 4] == b"\0\0\0":
        _wireguard(line, at, size)
    elif QUIC_PORT in (source, destination):
        _quic_on_its_port(line, at, size)


def _goes_on_as(line: Line, protocol: str) -> None:
    if line.talk is not None:
        line.talk.speaks = protocol


def quic(line: Line, at: int) -> None:
    """Word a packet with a long header."""
    size = line.data[at + 5]
    kind = line.data[at] >> 4 & 3
    kind = (kind - 1) & 3 if line.u32(at + 1) == _QUIC_2 else kind
    _goes_on_as(line, "QUIC")
    line.set("QUIC", f"{_QUIC_KINDS[kind]}, DCID={line.bytes(at + 6, min(size, 20)).hex()}")


def _quic_on_its_port(line: Line, at: int, size: int) -> None:
    first = line.data[at]
    if first & 0xC0 == 0xC0 and size >= 7 and line.u32(at + 1) == 0:
        line.set("QUIC", f"Version Negotiation, DCID={line.bytes(at + 6, min(line.data[at + 5], 20)).hex()}")
    elif (
        first & 0x09 == 0x09 and size >= 14 and line.data[at + 9] == 0x51 and line.bytes(at + 10, 3).isdigit()
    ):
        _goes_on_as(line, "GQUIC")
        line.set("GQUIC", f"Version Q{line.bytes(at + 10, 3).decode()}")
    elif first & 0xC0 == 0x40 and size >= 21:
        known = line.talk.speaks if line.talk is not None else ""
        line.set(known or "QUIC", "Protected Payload (KP0)")


def _dtls(line: Line, at: int) -> None:
    """Word the records of a datagram that are whole."""
    words: list[str] = []
    version = _DTLS[line.u16(at + 1)]
    while at + 13 <= len(line.data) and len(words) < 8:
        kind, size, epoch = line.data[at], line.u16(at + 11), line.u16(at + 3)
        if kind not in _DTLS_KINDS or line.u16(at + 1) not in _DTLS or at + 13 + size > line.end:
            break
        word = _DTLS_KINDS[kind]
        if kind == 22:
            name = _DTLS_MESSAGES.get(line.data[at + 13]) if at + 13 < len(line.data) and not epoch else None
            word = name or "Encrypted Handshake Message"
        elif kind == 21 and epoch:
            word = "Encrypted Alert"
        words.append(word)
        at += 13 + size
    if words:
        line.set(version, ", ".join(words))


def _wireguard(line: Line, at: int, size: int) -> None:
    kind = line.data[at]
    receiver = int.from_bytes(line.bytes(at + 4, 4), "little")
    if kind == 4 and size % 16 == 0:
        counter = int.from_bytes(line.bytes(at + 8, 8), "little")
        line.set(
            "WireGuard", f"Transport Data, receiver=0x{receiver:08X}, counter={counter}, datalen={size - 32}"
        )
    elif kind in _WIREGUARD and _WIREGUARD[kind][1] == size:
        line.set("WireGuard", f"{_WIREGUARD[kind][0]}, 0x{receiver:08X}")


def openvpn(line: Line, at: int) -> None:
    """Word an OpenVPN packet; in a stream, behind its length."""
    kind, size = line.data[at] >> 3, line.end - at
    if kind in _OPENVPN and (size >= 14 if kind not in (6, 9) else size >= 20):
        line.set("OpenVPN", f"MessageType: {_OPENVPN[kind]}")


def through_nat(line: Line, at: int) -> None:
    """Word what IPsec sends through NAT: a keep-alive, IKE behind four zeros, or ESP."""
    if line.end - at == 1 and line.data[at] == 0xFF:
        line.set("UDPENCAP", "NAT-keepalive")
    elif line.end - at >= 32 and line.u32(at) == 0:
        key_exchange(line, at + 4)
    elif line.end - at >= 8:
        line.set("ESP", f"ESP (SPI=0x{line.u32(at):08x})")


def key_exchange(line: Line, at: int) -> None:
    """Word an IKE message."""
    if line.end - at >= 28 and line.data[at + 17] >> 4 in (1, 2):
        line.set("ISAKMP", tables.named(_IKE, line.data[at + 18], "exchange type {}"))


def tunnelled_user(line: Line, at: int) -> None:
    """Look into a GTP-U tunnel (version 1), which Wireshark names together with what it carries."""
    from qmon.packets.summary import internet

    flags, kind = line.data[at], line.data[at + 1]
    if flags >> 5 == 2:
        line.set("GTPv2", f"message type {kind}")
        return
    if flags >> 5 != 1 or (not flags & 0x10 and kind == 255):
        return
    line.set("GTP", tables.named(_GTP, kind, "message type {}"))
    inner = at + 8 + 4 * bool(flags & 7)
    following = line.data[inner - 1] if flags & 4 else 0
    while following and inner < len(line.data):
        size = line.data[inner] * 4
        if not size:
            return
        following, inner = line.data[inner + size - 1], inner + size
    if kind == 255 and inner < line.end and line.data[inner] >> 4 in (4, 6) and line.nest():
        internet.any_version(line, inner)
        line.protocol = f"GTP <{line.protocol}>"


def layer2_tunnel(line: Line, at: int) -> None:
    """Word L2TP version 2: a control message, or what a session carries."""
    from qmon.packets.summary import link

    flags = line.u16(at)
    if flags & 0xF != 2:
        return
    line.set("L2TP", "Control Message" if flags & 0x8000 else "Data Message")
    place = at + 2 + 2 * bool(flags & 0x4000) + 4 + 4 * bool(flags & 0x0800)
    if flags & 0x0200:
        place += 2 + line.u16(place)
    if not flags & 0x8000 and line.nest():
        link.point_to_point(line, place)


def remote_span(line: Line, at: int) -> None:
    """Look into ERSPAN of version 1 (called type II) or 2 (type III)."""
    from qmon.packets.summary import link

    version = line.data[at] >> 4
    line.set("ERSPAN", f"session {line.u16(at + 2) & 0x3FF}")
    if version not in (1, 2) or not line.nest():
        return
    head = 8 if version == 1 else 12 + 8 * (line.data[at + 11] & 1)
    if version == 1 or line.u16(at + 10) >> 11 & 0x1F in (0, 0x10):
        link.ethernet(line, at + head)
