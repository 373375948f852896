"""What a TCP segment carries, told from the segment alone: HTTP, TLS, SSH, DNS and the old line protocols.

Source: RFC 9112. A segment from the middle of a stream stays TCP, unless its port is unmistakable.
"""

from __future__ import annotations

import re

from qmon.packets.summary import naming, ssh, tables, tls
from qmon.packets.summary.line import Line

_HTTP = re.compile(rb"[A-Z][A-Z-]{2,15} [^ \r\n]+ HTTP/\d|HTTP/\d\.\d \d")
_HTTP_LONG = re.compile(rb"(GET|HEAD|POST|PUT|DELETE|OPTIONS|PATCH|CONNECT) [^ \r\n]+\Z")
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
_DNS, _BGP_PORT = 53, 179
# Ports whose segments are looked into, whatever they begin with.
PORTS = (*_LINES, ssh.PORT, _DNS, _BGP_PORT)


def payload(line: Line, at: int, source: int, destination: int) -> None:
    """Word the payload that begins at a place, if it says what it is; else leave the line as it is."""
    ports = (source, destination)
    start = line.data[at : at + 5]
    if not start:
        return
    if start[1:2] == b"\3" and tls.records(line, at):
        return
    if start.startswith(b"SSH-"):
        ssh.banner(line, at, source, destination)
    elif ssh.PORT in ports:
        ssh.packets(line, at, source, destination)
    elif _DNS in ports:
        naming.dns_in_stream(line, at)
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
