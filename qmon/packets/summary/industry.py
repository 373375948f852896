"""Protocols of plants and grids in one TCP segment or datagram, each told by its header, not by its port alone.

Sources: Modbus Messaging on TCP/IP V1.0b, IEEE 1815 (DNP3), IEC 60870-5-104, IEEE C37.118.2, ODVA's CIP volume 2,
RFC 1006 and 905 (TPKT, COTP), Beckhoff's AMS.
"""

from __future__ import annotations

from qmon.packets.summary.line import Line

_COTP = {0xE0: "CR", 0xD0: "CC", 0x80: "DR", 0xC0: "DC", 0xF0: "DT", 0x10: "ED", 0x60: "AK", 0x70: "ER"}
_COTP_DATA = 0xF0
_S7COMM = 0x32
_ENIP = {
    0x04: "List Services", 0x63: "List Identity", 0x64: "List Interfaces", 0x65: "Register Session",
    0x66: "Unregister Session", 0x6F: "Send RR Data", 0x70: "Send Unit Data",
}  # fmt: skip
_CIP_ITEMS = (0xB1, 0xB2)
_PHASOR_FRAMES = (
    "Data Frame",
    "Header Frame",
    "Configuration Frame 1",
    "Configuration Frame 2",
    "Command Frame",
)


def modbus(line: Line, at: int) -> None:
    """Word a Modbus request or response, whose header says its length."""
    size = line.u16(at + 4)
    if line.u16(at + 2) == 0 and 2 <= size <= 254 and at + 6 + size <= line.end:
        line.set(
            "Modbus/TCP",
            f"Transaction {line.u16(at)}, unit {line.data[at + 6]}, function {line.data[at + 7] & 0x7F}",
        )


def dnp3(line: Line, at: int) -> None:
    """Word a DNP3 link frame."""
    if line.u16(at) == 0x0564 and line.data[at + 2] >= 5:
        ends = [int.from_bytes(line.bytes(at + 4 + 2 * i, 2), "little") for i in (1, 0)]
        line.set("DNP 3.0", f"from {ends[0]} to {ends[1]}, len={line.data[at + 2]}")


def telecontrol(line: Line, at: int) -> None:
    """Word the frames of IEC 60870-5-104 in a segment; information frames are named after what they carry."""
    words = []
    carries = False
    while at + 6 <= len(line.data) and line.data[at] == 0x68 and 4 <= line.data[at + 1] <= 253:
        size, first = line.data[at + 1], line.data[at + 2]
        if at + 2 + size > line.end:
            break
        words.append("I" if not first & 1 else "S" if not first & 2 else "U")
        carries = carries or (not first & 1 and size > 4)
        at += 2 + size
    if words:
        line.set("IEC 60870-5 ASDU" if carries else "IEC 60870-5-104", ", ".join(words))


def phasor(line: Line, at: int) -> None:
    """Word an IEEE C37.118 frame that is whole."""
    first, kind, size = line.data[at], line.data[at + 1] >> 4, line.u16(at + 2)
    if first == 0xAA and kind <= 5 and 16 <= size <= line.end - at:
        name = _PHASOR_FRAMES[kind] if kind < 5 else "Configuration Frame 3"
        line.set("SYNCHROPHASOR", f"{name}, id {line.u16(at + 4)}")


def ethernet_ip(line: Line, at: int) -> None:
    """Word EtherNet/IP's encapsulation, or that it carries CIP."""
    command, size = (int.from_bytes(line.bytes(at + i, 2), "little") for i in (0, 2))
    if command not in _ENIP or at + 24 + size > line.end or line.bytes(at + 20, 4) != bytes(4):
        return
    line.set("ENIP", f"{_ENIP[command]}, session 0x{int.from_bytes(line.bytes(at + 4, 4), 'little'):08x}")
    if command < 0x6F or size < 8:
        return
    count, place = int.from_bytes(line.bytes(at + 30, 2), "little"), at + 32
    for _ in range(min(count, 4)):
        item, length = (int.from_bytes(line.bytes(place + i, 2), "little") for i in (0, 2))
        if item in _CIP_ITEMS and length:
            _common_industrial(line, place + 4 + 2 * (item == 0xB1))
        place += 4 + length


def _common_industrial(line: Line, at: int) -> None:
    """Word a CIP message; a request's path says which class is asked (volume 1, appendix C)."""
    service, asked = line.data[at], line.bytes(at + 2, 2)
    if service & 0x80:
        line.set("CIP", f"Service 0x{service & 0x7F:02x} Response")
        return
    protocol = "CIP"
    if asked == b"\x20\x67" and service in (0x4B, 0x4C):
        protocol = "CIP PCCC"
    elif asked == b"\x20\x06" and service in (0x4E, 0x54, 0x5B):
        protocol = "CIP CM"
    line.set(protocol, f"Service 0x{service:02x} Request")


def ams(line: Line, at: int) -> None:
    """Word Beckhoff's AMS over TCP."""
    size = int.from_bytes(line.bytes(at + 2, 4), "little")
    if line.u16(at) == 0 and 32 <= size == line.end - at - 6:
        command = int.from_bytes(line.bytes(at + 22, 2), "little")
        line.set("AMS", f"command {command}, {'response' if line.data[at + 24] & 1 else 'request'}")


def transport_packet(line: Line, at: int) -> None:
    """Word a TPKT and the COTP packet in it, or what that carries."""
    size = line.u16(at + 2)
    if line.u16(at) != 0x0300 or not 7 <= size <= line.end - at:
        return
    head, kind = line.data[at + 4], line.data[at + 5] & 0xF0
    if kind not in _COTP or head + 5 > size:
        return
    line.set("COTP", f"{_COTP[kind]} TPDU")
    inner = at + 5 + head
    if kind == _COTP_DATA and inner < at + size and line.data[inner] == _S7COMM:
        jobs = {1: "Job", 2: "Ack", 3: "Ack_Data", 7: "Userdata"}
        line.set("S7COMM", f"ROSCTR:[{jobs.get(line.data[inner + 1], line.data[inner + 1])}]")


def remote_desktop(line: Line, at: int) -> None:
    """Word the first packets of a remote desktop session: a negotiation within a COTP connection."""
    transport_packet(line, at)
    if line.protocol != "COTP":
        return
    kind, inner = line.data[at + 5] & 0xF0, line.data[at + 11 : line.end]
    if kind in (0xE0, 0xD0) and (inner.startswith(b"Cookie: ") or inner[:1] in (b"\1", b"\2", b"\3")):
        line.set("RDP", "Negotiate Request" if kind == 0xE0 else "Negotiate Response")
    elif kind == _COTP_DATA:
        line.set("T.125", f"{line.u16(at + 2)} bytes")
