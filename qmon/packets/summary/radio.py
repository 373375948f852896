"""802.11 frames, with or without what a driver puts in front (IEEE 802.11-2020 9.2, 9.3; radiotap.org).

Names are Wireshark's. What is encrypted or aggregated is not looked into.
"""

from __future__ import annotations

from qmon.packets.summary.line import Line, mac
from qmon.text import plain_bytes

_MANAGEMENT = (
    "Association Request", "Association Response", "Reassociation Request", "Reassociation Response", "Probe Request",
    "Probe Response", "Measurement Pilot", "", "Beacon frame", "ATIM", "Disassociate", "Authentication",
    "Deauthentication", "Action", "Action No Ack", "",
)  # fmt: skip
# Where the elements of a management frame begin, of which the first one often is the network's name.
_FIXED_BYTES = {0: 4, 1: 6, 2: 10, 3: 6, 4: 0, 5: 12, 8: 12}
# The name, and what the second address is called; "" where there is none.
_CONTROL = {
    2: ("Trigger", "TA"), 4: ("Beamforming Report Poll", "TA"), 5: ("VHT/HE NDP Announcement", "TA"),
    7: ("Control Wrapper", ""), 8: ("802.11 Block Ack Req", "TA"), 9: ("802.11 Block Ack", "TA"),
    10: ("Power-Save poll", "TA"), 11: ("Request-to-send", "TA"), 12: ("Clear-to-send", ""),
    13: ("Acknowledgement", ""), 14: ("CF-End (Control-frame)", "BSSID"),
    15: ("CF-End + CF-Ack (Control-frame)", "TA"),
}  # fmt: skip
_DATA = (
    "Data", "Data + CF-Ack", "Data + CF-Poll", "Data + CF-Ack + CF-Poll", "Null function (No data)",
    "Acknowledgement (No data)", "CF-Poll (No data)", "CF-Ack/Poll (No data)", "QoS Data",
    "QoS Data + CF-Acknowledgment", "QoS Data + CF-Poll", "QoS Data + CF-Ack + CF-Poll",
    "QoS Null function (No data)", "", "QoS CF-Poll (No Data)", "QoS CF-Ack + CF-Poll (No data)",
)  # fmt: skip
_RESERVED = "Unrecognized (Reserved frame)"
_TO_DS, _FROM_DS, _PROTECTED, _ORDER = 1, 2, 0x40, 0x80


def radio(line: Line, at: int, *, checked: bool = False) -> None:
    """Word an 802.11 frame; `checked` says that a check sum ended it, which is no longer in `line`."""
    line.set("802.11", "")
    kind, subtype, flags = line.data[at] >> 2 & 3, line.data[at] >> 4, line.data[at + 1]
    said = "".join(letter if flags >> 7 - i & 1 else "." for i, letter in enumerate("opmPRMFT"))
    said = f"Flags={said}{'C' if checked else ''}"
    if kind == 1:
        _control(line, at, subtype, said)
    elif kind == 3:
        line.info = f"{'DMG Beacon' if subtype == 0 else _RESERVED}, {said}"
    else:
        names = _DATA if kind == 2 else _MANAGEMENT
        line.info = f"{names[subtype] or _RESERVED}, {said}"
        first, second, third = (mac(line.bytes(at + 4 + 6 * i, 6)) for i in range(3))
        line.destination, line.source = first, second
        sequence = line.u16(at + 22)
        number = (sequence & 0xFF) << 4 | sequence >> 12
        line.info = f"{names[subtype] or _RESERVED}, SN={number}, FN={sequence >> 8 & 0xF}, {said}"
        if kind == 0:
            if not flags & _PROTECTED:
                _management(line, at + 24 + 4 * bool(flags & _ORDER), subtype)
            return
        if flags & _TO_DS:
            line.destination = third
        if flags & _FROM_DS:
            line.source = mac(line.bytes(at + 24, 6)) if flags & _TO_DS else third
        at += 30 if flags & (_TO_DS | _FROM_DS) == 3 else 24
        if subtype & 8:
            aggregated = line.data[at] & 0x80
            at += 2 + 4 * bool(flags & _ORDER)
            if aggregated:
                return
        if not subtype & 4 and not flags & _PROTECTED:
            _carried(line, at)


def _control(line: Line, at: int, subtype: int, said: str) -> None:
    name, second = _CONTROL.get(subtype, (_RESERVED, ""))
    line.info = f"{name}, {said}"
    line.destination = f"{mac(line.bytes(at + 4, 6))} ({'BSSID' if subtype == 10 else 'RA'})"
    if second:
        line.source = f"{mac(line.bytes(at + 10, 6))} ({second})"


def _management(line: Line, at: int, subtype: int) -> None:
    fixed = _FIXED_BYTES.get(subtype)
    if fixed is None:
        return
    if subtype in (5, 8):
        line.info += f", BI={int.from_bytes(line.bytes(at + 8, 2), 'little')}"
    at += fixed
    while at + 2 <= len(line.data):
        size = line.data[at + 1]
        if line.data[at] == 0:
            name = plain_bytes(line.bytes(at + 2, size))
            line.info += f', SSID="{name}"' if size else ", SSID=Wildcard (Broadcast)"
            return
        at += 2 + size


def _carried(line: Line, at: int) -> None:
    from qmon.packets.summary import link  # A radio carries what a cable does.

    if line.data[at : at + 3] == b"\xaa\xaa\3" and at + 8 <= len(line.data):
        source, destination, named = line.source, line.destination, (line.protocol, line.info)
        link.logical_link(line, at)
        line.source, line.destination = line.source or source, line.destination or destination
        if line.protocol == "LLC":
            line.protocol, line.info = named


def radiotap(line: Line, at: int) -> None:
    """Word what follows a radiotap header, whose flags say whether a check sum ends the frame."""
    line.set("802.11", "")
    size = int.from_bytes(line.bytes(at + 2, 2), "little")
    place, present = at + 4, 0x80000000
    words = []
    while present & 0x80000000 and place < at + size:
        present = int.from_bytes(line.bytes(place, 4), "little")
        words.append(present)
        place += 4
    checked = False
    if words and words[0] & 2:
        if words[0] & 1:
            place = at + (place - at + 7 & ~7) + 8
        checked = bool(line.data[place] & 0x10)
    if checked:
        line.limit(line.end - 4)
    radio(line, at + size, checked=checked)


def prism(line: Line, at: int) -> None:
    """Word what follows a Prism header, or the one of AVS under the same number."""
    if line.u32(at) >> 12 == 0x80211:
        avs(line, at)
        return
    line.set("802.11", "")
    radio(line, at + int.from_bytes(line.bytes(at + 4, 4), "little"))


def avs(line: Line, at: int) -> None:
    """Word what follows an AVS header."""
    line.set("802.11", "")
    radio(line, at + line.u32(at + 4))


def per_packet(line: Line, at: int) -> None:
    """Word what follows a PPI header, which names a link type."""
    from qmon.packets.summary import link

    line.set("PPI", "")
    size, kind = (int.from_bytes(line.bytes(at + 2 * i, 2 * i), "little") for i in (1, 2))
    worded = link.LINKS.get(kind)
    if worded is None:
        line.info = f"link type {kind}"
    elif line.nest():
        worded(line, at + size)
