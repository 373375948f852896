"""DNS and its relatives: mDNS, LLMNR, NetBIOS names (RFC 1035, 6762, 4795, 1002).

Names may point back into the message without end: at most 64 jumps and 255 characters are followed, at most a dozen
records are looked at.
"""

from __future__ import annotations

import struct

from qmon.packets.summary import tables
from qmon.packets.summary.line import Line, ipv4, ipv6
from qmon.text import plain_bytes

_HEADER = struct.Struct(">6H")
_RECORDS = 12
_JUMPS = 64


def dns(line: Line, at: int) -> None:
    """Word a DNS message."""
    line.set("DNS", "")
    _message(line, at)


def dns_in_stream(line: Line, at: int) -> None:
    """Word the DNS messages that begin at a place of a TCP stream, each behind its length, if they are whole.

    A segment from the middle of a long answer begins with two bytes that are no length: what follows then is no
    message either.
    """
    words: list[str] = []
    while at + 14 <= len(line.data) and len(words) < 4:
        stop = at + 2 + line.u16(at)
        if stop > line.end or not _is_message(line, at + 2, stop):
            break
        _message(line, at + 2)
        words.append(line.info)
        at = stop
    if words:
        line.set("DNS", " ".join(words))


def _is_message(line: Line, at: int, stop: int) -> bool:
    """Say whether a header is one, and the questions behind it are."""
    if stop < at + 12 or line.u16(at + 2) >> 11 & 0xF not in tables.DNS_OPCODES or line.data[at + 3] & 0x40:
        return False
    place = at + 12
    for _ in range(min(line.u16(at + 4), _RECORDS)):
        try:
            _, place = _name(line, place, at)
        except IndexError:
            return False
        place += 4
    return place <= stop


def mdns(line: Line, at: int) -> None:
    """Word an mDNS message, whose questions say whether the answer may come by unicast."""
    line.set("MDNS", "")
    _message(line, at, multicast=True)


def llmnr(line: Line, at: int) -> None:
    """Word an LLMNR message."""
    line.set("LLMNR", "")
    _message(line, at)


def netbios(line: Line, at: int) -> None:
    """Word a NetBIOS name service message."""
    line.set("NBNS", "")
    flags = line.u16(at + 2)
    kinds = {
        0: "Name query",
        5: "Registration",
        6: "Release",
        7: "WACK",
        8: "Refresh",
        15: "Multi-homed registration",
    }
    line.info = tables.named(kinds, flags >> 11 & 0xF, "opcode {}") + (" response" if flags & 0x8000 else "")
    if line.u16(at + 4):
        line.info += f" {_netbios_name(line.bytes(at + 13, 32))}"


def _netbios_name(coded: bytes) -> str:
    half = [byte - 0x41 & 0xF for byte in coded]
    name = bytes(high << 4 | low for high, low in zip(half[::2], half[1::2], strict=True))
    return f"{plain_bytes(name[:15].rstrip(b' '))}<{name[15]:02x}>"


def _message(line: Line, at: int, *, multicast: bool = False) -> None:
    number, flags, *counts = _HEADER.unpack_from(line.data, at)
    words = [tables.named(tables.DNS_OPCODES, flags >> 11 & 0xF, "Unknown operation ({})")]
    if flags & 0x8000:
        words[0] += " response"
    words.append(f"0x{number:04x}")
    if flags & 0xF:
        words.append(tables.named(tables.DNS_CODES, flags & 0xF, "Unknown error ({})"))
    line.info = " ".join(words)
    place = at + 12
    for _ in range(min(counts[0], _RECORDS)):
        name, place = _name(line, place, at)
        kind, group = line.u16(place), line.u16(place + 2)
        words.append(f"{tables.named(tables.DNS_TYPES, kind, 'TYPE{}')} {name or '<Root>'}")
        if multicast:
            words[-1] += f', "{"QU" if group & 0x8000 else "QM"}" question'
        line.info = " ".join(words)
        place += 4
    for _ in range(min(sum(counts[1:]), _RECORDS)):
        word, place = _record(line, place, at)
        words.append(word)
        line.info = " ".join(words)


def _record(line: Line, at: int, start: int) -> tuple[str, int]:
    _, at = _name(line, at, start)
    kind, size, place = line.u16(at), line.u16(at + 8), at + 10
    word = tables.named(tables.DNS_TYPES, kind, "TYPE{}")
    if kind == 1 and size == 4:
        word += f" {ipv4(line.bytes(place, 4))}"
    elif kind == 28 and size == 16:
        word += f" {ipv6(line.bytes(place, 16))}"
    elif kind in (2, 5, 6, 12, 39):
        word += f" {_name(line, place, start)[0] or '<Root>'}"
    elif kind == 15:
        word += f" {line.u16(place)} {_name(line, place + 2, start)[0]}"
    elif kind == 33:
        priority, weight, port = (line.u16(place + 2 * i) for i in range(3))
        word += f" {priority} {weight} {port} {_name(line, place + 6, start)[0]}"
    return word, place + size


def _name(line: Line, at: int, start: int) -> tuple[str, int]:
    """Return the name at a place and where what follows it begins."""
    labels: list[str] = []
    end, size = 0, 0
    for _ in range(_JUMPS * 2):
        length = line.data[at]
        if length >= 0xC0:
            end = end or at + 2
            at = start + (line.u16(at) & 0x3FFF)
        elif length == 0 or size > 255:
            return ".".join(labels), end or at + 1
        else:
            labels.append(plain_bytes(line.bytes(at + 1, length)))
            size += length + 1
            at += length + 1
    raise IndexError(at)
