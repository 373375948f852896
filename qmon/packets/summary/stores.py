"""Databases and brokers in one TCP segment, each told by the lengths and numbers its messages begin with.

Sources: PostgreSQL's protocol 3, MySQL's client/server protocol, RESP, OASIS MQTT 3.1.1, AMQP 0-9-1, MS-TDS.
"""

from __future__ import annotations

import re

from qmon.packets.summary.line import Line
from qmon.text import plain_bytes

_MQTT = (
    "", "Connect Command", "Connect Ack", "Publish Message", "Publish Ack", "Publish Received", "Publish Release",
    "Publish Complete", "Subscribe Request", "Subscribe Ack", "Unsubscribe Request", "Unsubscribe Ack", "Ping Request",
    "Ping Response", "Disconnect Req", "Authentication Exchange",
)  # fmt: skip
_RESP = re.compile(rb"[+\-:$*][^\r\n]{0,400}\r\n")
_STARTUP = {
    196608: "Startup message",
    80877103: "SSL request",
    80877102: "Cancel request",
    80877104: "GSS request",
}
_TDS = {
    1: "SQL batch", 2: "Login", 3: "Remote Procedure Call", 4: "Response", 6: "Attention", 16: "TDS7 login",
    18: "TDS7 pre-login",
}  # fmt: skip


def postgresql(line: Line, at: int) -> None:
    """Word a start-up message, or messages that each say their type and length and fill the segment."""
    if line.data[at] == 0:
        size, code = line.u32(at), line.u32(at + 4)
        if size == line.end - at and code in _STARTUP:
            line.set("PGSQL", _STARTUP[code])
        return
    kinds: list[str] = []
    while at + 5 <= len(line.data) and len(kinds) < 12:
        kind, size = line.data[at], line.u32(at + 1)
        if not chr(kind).isalnum() or size < 4 or at + 1 + size > line.end:
            break
        kinds.append(chr(kind))
        at += 1 + size
    if kinds and (at >= line.end or at + 5 > len(line.data)):
        line.set("PGSQL", "/".join(kinds))


def mysql(line: Line, at: int) -> None:
    """Word a packet that is as long as it says."""
    size, number = int.from_bytes(line.bytes(at, 3), "little"), line.data[at + 3]
    if not 0 < size <= line.end - at - 4 or number > 64:
        return
    first = line.data[at + 4]
    if number == 0 and first == 10 and line.ports is not None and line.ports[0] == 3306:
        line.set(
            "MySQL",
            f"Server Greeting version={plain_bytes(line.data[at + 5 : at + 40].partition(bytes(1))[0])}",
        )
    else:
        words = {0x00: "OK", 0xFF: "Error"}
        line.set("MySQL", f"packet {number}{': ' + words[first] if number and first in words else ''}")


def redis(line: Line, at: int) -> None:
    """Word RESP by its first line."""
    found = _RESP.match(line.data, at)
    if found:
        line.set("RESP", plain_bytes(found.group().rstrip()))


def mqtt(line: Line, at: int) -> None:
    """Word the MQTT messages that fill a segment."""
    words: list[str] = []
    while at + 2 <= len(line.data) and len(words) < 8:
        kind, size, place = line.data[at] >> 4, 0, at + 1
        for shift in (0, 7, 14, 21):
            byte = line.data[place]
            size |= (byte & 0x7F) << shift
            place += 1
            if not byte & 0x80:
                break
        if not kind or place + size > line.end:
            break
        words.append(_MQTT[kind])
        at = place + size
    if words and at == line.end:
        line.set("MQTT", ", ".join(words))


def amqp(line: Line, at: int) -> None:
    """Word the header of a connection, or a frame that ends where it says."""
    if line.data[at : at + 4] == b"AMQP":
        line.set("AMQP", f"Protocol-Header {'-'.join(map(str, line.bytes(at + 5, 3)))}")
        return
    kind, size = line.data[at], line.u32(at + 3)
    if kind in (1, 2, 3, 8) and at + 8 + size <= line.end and line.data[at + 7 + size] == 0xCE:
        names = {1: "Method", 2: "Content-Header", 3: "Content-Body", 8: "Heartbeat"}
        line.set("AMQP", f"{names[kind]}, channel {line.u16(at + 1)}")


def tabular(line: Line, at: int) -> None:
    """Word a TDS packet."""
    kind, size = line.data[at], line.u16(at + 2)
    if kind in _TDS and line.data[at + 1] < 0x20 and 8 <= size <= line.end - at:
        line.set("TDS", _TDS[kind])
