"""A packet as a line for people, in the forms that tcpdump's flags -e, -q, -t, -v, -x, -X and -A ask for.

Owns the words between the fields, tcpdump's forms of times and of bytes. Must never print: text comes out.
"""

from __future__ import annotations

import struct
import time
from dataclasses import dataclass
from enum import IntEnum

from qmon.packets.batch import NO_TIME, Direction
from qmon.packets.lines import Line, decimal_time
from qmon.packets.link_header import LinkHeader, link_header
from qmon.packets.summary import summarise
from qmon.packets.summary.tables import IP_PROTOCOLS
from qmon.text import clock, plain

UNTIMED = "no time"
DIRECTION_TEXT = {Direction.IN: "In ", Direction.OUT: "Out", Direction.UNKNOWN: "   "}
_USUAL_PROTOCOLS = {1: "ICMP", 2: "IGMP", 4: "IPIP", 6: "TCP", 17: "UDP", 41: "IPv6", 47: "GRE", 58: "ICMPv6"}
_PRINTED = bytes(code if 0x21 <= code < 0x7F else 0x2E for code in range(256))
_ASCII = bytes(code if 0x20 <= code < 0x7F or code in b"\t\n\r" else 0x2E for code in range(256))
_IPV4_HEADER = struct.Struct(">BBHHHBB")


class Times(IntEnum):
    """How many times -t was given."""

    OF_DAY = 0
    NONE = 1
    SECONDS = 2
    SINCE_LAST = 3
    DATE = 4
    SINCE_FIRST = 5


class Bytes(IntEnum):
    """Which form of the packet's bytes follows its line."""

    NONE = 0
    HEX = 1
    HEX_AND_ASCII = 2
    ASCII = 3


@dataclass(frozen=True, slots=True)
class Style:
    """What lines hold. `whole_frame` says whether the bytes begin with the link layer's header, `absolute`
    whether TCP's numbers are as on the wire.
    """

    times: Times = Times.OF_DAY
    link: bool = False
    quiet: bool = False
    verbose: bool = False
    bytes: Bytes = Bytes.NONE
    whole_frame: bool = False
    absolute: bool = False


class LineText:
    """Words packets one after the other: some forms of time count from an earlier one."""

    def __init__(self, style: Style = Style()) -> None:
        self._style = style
        self._looks_at_headers = bool(style.link or style.verbose or style.bytes)
        self._first_ns: int | None = None
        self._last_ns: int | None = None

    def __repr__(self) -> str:
        return f"<LineText {self._style}>"

    def __call__(self, line: Line) -> str:
        """Return ``HH:MM:SS.ffffff netdev Out source > destination PROTOCOL length N: info``, plain.

        `length` is that of the payload, as in tcpdump; with `link` the frame's stands before. `quiet` leaves the info
        out and puts the ports behind the addresses.
        """
        style = self._style
        summary = summarise(line.frame, line.link_type, length=line.length, tcp=line.tcp)
        words = [stamp] if (stamp := self._time(line.time_ns)) else []
        if line.netdev is not None:
            words.append(plain(line.netdev))
        if line.netdev is not None or line.direction is not Direction.UNKNOWN:
            words.append(DIRECTION_TEXT[line.direction])
        header = link_header(line.frame, line.link_type) if self._looks_at_headers else LinkHeader()
        if style.link and header.size:
            words.append(header.text(line.length))
        if style.verbose and (ip := _ip_words(line, header)):
            words.append(f"{ip}\n   ")
        source, destination = summary.source, summary.destination
        if style.quiet and summary.ports:
            source, destination = f"{source}.{summary.ports[0]}", f"{destination}.{summary.ports[1]}"
        words.append(f"{source} > {destination}" if source or destination else "-")
        words.append(f"{summary.protocol} length {summary.payload_bytes}")
        said = f": {summary.info}" if summary.info and not style.quiet else ""
        return f"{' '.join(words)}{said}{self._bytes(line, header)}"

    def _time(self, time_ns: int) -> str:
        if time_ns == NO_TIME:
            return "" if self._style.times is Times.NONE else UNTIMED
        first = self._first_ns = time_ns if self._first_ns is None else self._first_ns
        last, self._last_ns = self._last_ns, time_ns
        times = self._style.times
        if times is Times.NONE:
            return ""
        if times is Times.SECONDS:
            return decimal_time(time_ns, 6)
        if times is Times.DATE:
            return _dated(time_ns)
        if times is Times.SINCE_LAST:
            return _span(time_ns - (time_ns if last is None else last))
        return _span(time_ns - first) if times is Times.SINCE_FIRST else clock(time_ns)

    def _bytes(self, line: Line, header: LinkHeader) -> str:
        if self._style.bytes is Bytes.NONE:
            return ""
        data = bytes(line.frame if self._style.whole_frame else line.frame[header.size :])
        if not data:
            return ""
        if self._style.bytes is Bytes.ASCII:
            text = data.translate(_ASCII).decode("ascii").replace("\r\n", "\n").replace("\r", ".")
            return f"\n{text}"
        return "".join(
            _hex_row(data, at, with_text=self._style.bytes is Bytes.HEX_AND_ASCII)
            for at in range(0, len(data), 16)
        )


def _hex_row(data: bytes, at: int, *, with_text: bool) -> str:
    row = data[at : at + 16]
    pairs = " ".join(row[i : i + 2].hex() for i in range(0, len(row), 2))
    shown = f"{pairs:39}  {row.translate(_PRINTED).decode('ascii')}" if with_text else pairs
    return f"\n\t0x{at:04x}:  {shown}"


def _dated(time_ns: int) -> str:
    try:
        day = time.strftime("%Y-%m-%d ", time.localtime(time_ns // 10**9))
    except (OverflowError, OSError, ValueError):
        day = ""
    return day + clock(time_ns)


def _span(ns: int) -> str:
    sign, ns = ("-", -ns) if ns < 0 else (" ", ns)
    minutes, seconds = divmod(ns // 10**9, 60)
    return f"{sign}{minutes // 60:02}:{minutes % 60:02}:{seconds:02}.{ns % 10**9 // 1000:06}"


def _ip_words(line: Line, header: LinkHeader) -> str:
    """Return what the (outermost) IP header says besides addresses, as tcpdump's -v has it; nothing without one."""
    data = bytes(line.frame[header.size : header.size + 40])
    if not data or (header.size and header.kind not in (0x0800, 0x86DD)):
        return ""
    if data[0] >> 4 == 4 and len(data) >= 20:
        _, tos, total, number, fragment, ttl, protocol = _IPV4_HEADER.unpack_from(data)
        flags = {0: "none", 1: "+", 2: "DF", 3: "+, DF"}[fragment >> 13 & 3]
        return (
            f"IP (tos 0x{tos:x}, ttl {ttl}, id {number}, offset {(fragment & 0x1FFF) * 8}, flags [{flags}], "
            f"proto {_protocol(protocol)}, length {total})"
        )
    if data[0] >> 4 == 6 and len(data) >= 40:
        first = int.from_bytes(data[:4], "big")
        traffic, flow = first >> 20 & 0xFF, first & 0xFFFFF
        begin = (f"class 0x{traffic:02x}, " if traffic else "") + (
            f"flowlabel 0x{flow:05x}, " if flow else ""
        )
        return (
            f"IP6 ({begin}hlim {data[7]}, next-header {_protocol(data[6])} "
            f"payload length: {int.from_bytes(data[4:6], 'big')})"
        )
    return ""


def _protocol(number: int) -> str:
    name = _USUAL_PROTOCOLS.get(number) or IP_PROTOCOLS.get(number, "unknown")
    return f"{name} ({number})"
