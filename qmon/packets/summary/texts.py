"""Protocols of lines of text: HTTP, SIP, RTSP, and the old ones told apart by port (RFC 9112, 3261, 7826).

An HTTP message that goes on in the next segment stays TCP, as in Wireshark; its first line is told all the same.
"""

from __future__ import annotations

import re

from qmon.packets.summary.line import Line

_HTTP = re.compile(rb"[A-Z][A-Z-]{2,15} [^ \r\n]+ HTTP/\d|HTTP/\d\.\d \d")
_HTTP_LONG = re.compile(rb"(GET|HEAD|POST|PUT|DELETE|OPTIONS|PATCH|CONNECT) [^ \r\n]+\Z")
_SIP = re.compile(rb"[A-Z]{3,12} (sips?|tel):[^\r\n]+ SIP/2\.0\r?\n|SIP/2\.0 \d{3} ")
_RTSP = re.compile(rb"[A-Z_]{4,16} [^ \r\n]+ RTSP/1\.0\r?\n|RTSP/1\.0 \d{3} ")
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,12})", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[ \t]*chunked", re.IGNORECASE)
_TYPE = re.compile(rb"\r\ncontent-type:[ \t]*([\w/+.-]+)", re.IGNORECASE)
_WEBSOCKET = re.compile(rb"\r\nupgrade:[ \t]*websocket\r\n", re.IGNORECASE)
_WITHOUT_BODY = re.compile(rb"HTTP/\d\.\d (1\d\d|204|304)")
# Whoever closes the connection behind a body need not say its length.
_CLOSED_BEHIND = re.compile(rb"HTTP/\d\.\d \d")
_KINDS = {
    b"application/ocsp-request": "OCSP", b"application/ocsp-response": "OCSP", b"application/json": "HTTP/JSON",
    b"application/xml": "HTTP/XML", b"text/xml": "HTTP/XML", b"application/soap+xml": "HTTP/XML",
}  # fmt: skip
# By their server's port.
LINES = {21: "FTP", 25: "SMTP", 587: "SMTP", 110: "POP", 143: "IMAP", 6667: "IRC", 23: "TELNET"}
_NOT_TEXT = re.compile(rb"[^\t\r\n\x20-\x7e]")


def by_content(line: Line, at: int) -> bool:
    """Word a segment that begins as a message of HTTP, RTSP, SIP or FIX does; False if it does not."""
    data = line.data
    if _HTTP.match(data, at) or (len(data) - at > 1000 and _HTTP_LONG.match(data[at:])):
        _http(line, at)
    elif _RTSP.match(data, at):
        line.set("RTSP", line.text_line(at))
    elif _SIP.match(data, at):
        sip(line, at)
    elif data.startswith(b"8=FIX", at):
        _goes_on_as(line, "FIX")
        line.set("FIX", line.text_line(at).replace("\\x01", " "))
    elif data.startswith(b"RFB 00", at):
        _goes_on_as(line, "VNC")
        line.set("VNC", f"Protocol version: {line.text_line(at + 4)}")
    else:
        return False
    return True


def _goes_on_as(line: Line, protocol: str) -> None:
    if line.talk is not None:
        line.talk.speaks = protocol


def _http(line: Line, at: int) -> None:
    first = line.text_line(at)
    if first.startswith("HTTP/1.1 101") and _WEBSOCKET.search(line.data, at):
        _goes_on_as(line, "WebSocket")
    if _goes_on(line, at):
        line.info = f"{first} [goes on in the next segment]"
        return
    kind = _TYPE.search(line.data, at)
    line.set(_KINDS.get(kind[1].lower(), "HTTP") if kind else "HTTP", first)


def _goes_on(line: Line, at: int) -> bool:
    """Say whether a message surely does not end in its segment."""
    data = line.data
    head = data.find(b"\r\n\r\n", at)
    if len(data) < line.end and head < 0:
        return False  # The end was not captured, or not looked at.
    if head < 0:
        return True
    length = _LENGTH.search(data, at, head)
    if length:
        return head + 4 + int(length[1]) > line.end
    if len(data) < line.end:
        return False
    if _CHUNKED.search(data, at, head):
        return not data.endswith(b"0\r\n\r\n")
    closed = _CLOSED_BEHIND.match(data, at) and not _WITHOUT_BODY.match(data, at)
    return bool(closed and _TYPE.search(data, at, head))


def sip(line: Line, at: int) -> None:
    """Word a SIP message, if it is one."""
    if _SIP.match(line.data, at):
        head = line.data.find(b"\r\n\r\n", at)
        described = b"application/sdp" in line.data[at : max(head, at)] and line.data.startswith(
            b"v=", head + 4
        )
        line.set("SIP/SDP" if described else "SIP", line.text_line(at))


def by_port(line: Line, at: int) -> None:
    """Word a line of one of the old protocols: text, or telnet's commands."""
    source, destination = line.ports or (0, 0)
    port = source if source in LINES else destination
    protocol = LINES[port]
    if protocol == "TELNET":
        if line.data[at] == 0xFF or not _NOT_TEXT.search(line.data, at, at + 64):
            line.set("TELNET", "Telnet Data")
    elif not _NOT_TEXT.search(line.data[at : at + 64].partition(b"\n")[0]):
        line.set(protocol, f"{'Response' if port == source else 'Request'}: {line.text_line(at)}")
