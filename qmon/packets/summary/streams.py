"""What a TCP segment carries, told from the segment alone: HTTP, TLS, SSH, DNS and the old line protocols.

Sources: RFC 9112, 8446, 4253. A segment from the middle of a stream stays TCP, unless its port is unmistakable.
"""

from __future__ import annotations

import re

from qmon.packets.summary import naming, tables
from qmon.packets.summary.line import Line
from qmon.text import plain_bytes

_HTTP = re.compile(rb"[A-Z][A-Z-]{2,15} [^ \r\n]+ HTTP/\d|HTTP/\d\.\d \d")
_HTTP_LONG = re.compile(rb"(GET|HEAD|POST|PUT|DELETE|OPTIONS|PATCH|CONNECT) [^ \r\n]+\Z")
_VERSIONS = {0x300: "SSLv3", 0x301: "TLSv1", 0x302: "TLSv1.1", 0x303: "TLSv1.2", 0x304: "TLSv1.3"}
_RECORDS = {20: "Change Cipher Spec", 21: "Alert", 22: "Handshake", 23: "Application Data"}
_HANDSHAKES = {
    0: "Hello Request", 1: "Client Hello", 2: "Server Hello", 4: "New Session Ticket", 8: "Encrypted Extensions",
    11: "Certificate", 12: "Server Key Exchange", 13: "Certificate Request", 14: "Server Hello Done",
    15: "Certificate Verify", 16: "Client Key Exchange", 20: "Finished",
}  # fmt: skip
_BGP = (
    "",
    "OPEN Message",
    "UPDATE Message",
    "NOTIFICATION Message",
    "KEEPALIVE Message",
    "ROUTE-REFRESH Message",
)
# Protocols of lines of text, by their server's port.
_LINES = {21: "FTP", 25: "SMTP", 587: "SMTP", 110: "POP", 143: "IMAP", 6667: "IRC"}
_SSH, _DNS, _BGP_PORT = 22, 53, 179
# Ports whose segments are looked into, whatever they begin with.
PORTS = (*_LINES, _SSH, _DNS, _BGP_PORT)


def payload(line: Line, at: int, source: int, destination: int) -> None:
    """Word the payload that begins at a place, if it says what it is; else leave the line as it is."""
    ports = (source, destination)
    start = line.data[at : at + 5]
    if not start:
        return
    if start[0] in _RECORDS and start[1:2] == b"\3" and start[2] <= 4 and len(start) == 5:
        _tls(line, at)
    elif start.startswith(b"SSH-"):
        line.set("SSH", f"{_side(source, destination, _SSH)}: Protocol ({line.text_line(at)})")
    elif _SSH in ports:
        line.set("SSHv2", f"{_side(source, destination, _SSH)}: Encrypted packet (len={line.end - at})")
    elif _DNS in ports:
        naming.dns(line, at + 2)
    elif _BGP_PORT in ports and line.data[at : at + 16] == b"\xff" * 16:
        line.set("BGP", tables.named(_BGP, line.data[at + 18], "message type {}"))
    elif start[:1].isupper() and _is_http(line.data, at):
        line.set("HTTP", line.text_line(at))
    else:
        port = source if source in _LINES else destination
        if port in _LINES:
            answer = "Response" if port == source else "Request"
            line.set(_LINES[port], f"{answer}: {line.text_line(at)}")


def _is_http(data: bytes, at: int) -> bool:
    if _HTTP.match(data, at):
        return True
    return len(data) - at > 1000 and _HTTP_LONG.match(data[at:]) is not None


def _side(source: int, destination: int, port: int) -> str:
    return "Server" if source == port and destination != port else "Client"


def _tls(line: Line, at: int) -> None:
    """Word the records of a segment; the first one that says its version names the protocol."""
    version = _VERSIONS.get(line.u16(at + 1), "TLS")
    words: list[str] = []
    while at + 5 <= len(line.data) and len(words) < 6 and line.data[at] in _RECORDS:
        kind, size = line.data[at], line.u16(at + 3)
        word = _RECORDS[kind]
        if kind == 22:
            word, version = _handshake(line, at + 5, size, version)
        elif kind == 21 and size == 2:
            word = f"Alert (Level: {'Fatal' if line.data[at + 5] == 2 else 'Warning'}, {line.data[at + 6]})"
        elif kind == 21:
            word = "Encrypted Alert"
        words.append(word)
        line.set(version, ", ".join(words))
        at += 5 + size


def _handshake(line: Line, at: int, size: int, version: str) -> tuple[str, str]:
    kind = line.data[at]
    length = line.u32(at) & 0xFFFFFF
    if kind not in _HANDSHAKES or length > size:
        return "Encrypted Handshake Message", version
    name = _HANDSHAKES[kind]
    if kind not in (1, 2):
        return name, version
    found, server = _hello(line, at, at + 4 + length, client=kind == 1)
    version = found or _VERSIONS.get(line.u16(at + 4), version)
    return (f"{name} (SNI={server})" if server else name), version


def _hello(line: Line, at: int, end: int, *, client: bool) -> tuple[str, str]:
    """Return the version a hello's extensions ask for or choose, and the server's name; empty where not said."""
    place = at + 38
    place += 1 + line.data[place]
    if client:
        place += 2 + line.u16(place)
        place += 1 + line.data[place]
    else:
        place += 3
    version = server = ""
    if place + 2 > end:
        return version, server
    place += 2
    for _ in range(40):
        if place + 4 > min(end, len(line.data)):
            break
        kind, size = line.u16(place), line.u16(place + 2)
        value = line.bytes(place + 4, size)
        if kind == 0 and size > 5:
            server = plain_bytes(value[5:])
        elif kind == 43:
            offered = [value[i : i + 2] for i in range(1 if client else 0, size - 1, 2)]
            version = "TLSv1.3" if b"\3\4" in offered else version
        place += 4 + size
    return version, server
