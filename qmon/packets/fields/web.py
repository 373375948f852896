"""Fields of HTTP, TLS and SSH, as far as one segment tells them (RFC 9112, 8446, 6066, 7301, 4253)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from qmon.packets.fields.field import Field, Kind, Table, Value
from qmon.packets.fields.layer import Layer
from qmon.text import plain_bytes

_START = re.compile(
    rb"(?:([A-Z][A-Z-]{2,15}) ([^ \r\n]+) (HTTP/\d\.\d)|(HTTP/\d\.\d) (\d{3})(?: ([^\r\n]*))?)\r?(?:\n|\Z)"
)
_MOST_LINES = 200
_HANDSHAKE, _ALERT, _CHANGE, _DATA = 22, 21, 20, 23
_HELLOS = {1: "client", 2: "server"}
_MOST_RECORDS = 64
# Headers that have a field of their own: after "http.".
_HEADERS = {
    "host": "Host", "user_agent": "User-Agent", "server": "Server", "content_type": "Content-Type",
    "content_encoding": "Content-Encoding", "transfer_encoding": "Transfer-Encoding", "connection": "Connection",
    "accept": "Accept", "accept_language": "Accept-Language", "accept_encoding": "Accept-Encoding",
    "cookie": "Cookie", "set_cookie": "Set-Cookie", "referer": "Referer", "location": "Location", "date": "Date",
    "cache_control": "Cache-Control", "last_modified": "Last-Modified", "authorization": "Authorization",
    "upgrade": "Upgrade", "www_authenticate": "WWW-Authenticate", "x_forwarded_for": "X-Forwarded-For",
    "content_length_header": "Content-Length",
}  # fmt: skip


def is_http(data: bytes) -> bool:
    """Say whether a segment begins an HTTP message."""
    return data[:1].isupper() and _START.match(data) is not None


def is_tls(data: bytes) -> bool:
    """Say whether a segment begins with a record of TLS that is all there."""
    if len(data) < 6 or not _CHANGE <= data[0] <= _DATA or data[1] != 3 or data[2] > 4:
        return False
    return int.from_bytes(data[3:5], "big") + 5 <= len(data)


def _message(layer: Layer) -> tuple[tuple[str | None, ...], list[tuple[str, str]]]:
    """Return the parts of the first line, and the headers as (name, value)."""
    if layer.cache is None:
        data = layer.data[layer.at : layer.stop]
        match = _START.match(data)
        parts = (
            tuple(None if part is None else plain_bytes(part) for part in match.groups())
            if match
            else (None,) * 6
        )
        head = data[match.end() if match else 0 :].partition(b"\r\n\r\n")[0]
        pairs = (line.partition(b":") for line in head.split(b"\n")[:_MOST_LINES])
        headers = [(plain_bytes(name), plain_bytes(value.strip())) for name, colon, value in pairs if colon]
        layer.cache = parts, headers
    found: tuple[tuple[str | None, ...], list[tuple[str, str]]] = layer.cache
    return found


def _part(place: int) -> Callable[[Layer], Iterable[Value]]:
    def read(layer: Layer) -> Iterable[Value]:
        part = _message(layer)[0][place]
        return () if part is None else (part,)

    return read


def _code(layer: Layer) -> Iterable[Value]:
    code = _message(layer)[0][4]
    return () if code is None else (int(code),)


def _header(name: str) -> Callable[[Layer], Iterable[Value]]:
    wanted = name.lower()
    return lambda layer: [value for one, value in _message(layer)[1] if one.lower() == wanted]


def _content_length(layer: Layer) -> Iterable[Value]:
    return [
        int(value)
        for value in _header("Content-Length")(layer)
        if str(value).isdecimal() and len(str(value)) < 20
    ]


def _lines(place: int) -> Callable[[Layer], Iterable[Value]]:
    def read(layer: Layer) -> Iterable[Value]:
        parts, headers = _message(layer)
        return [f"{name}: {value}\\r\\n" for name, value in headers] if parts[place] is not None else ()

    return read


def _full_uri(layer: Layer) -> Iterable[Value]:
    parts, _ = _message(layer)
    hosts, uri = [str(host) for host in _header("Host")(layer)], parts[1]
    if uri is None or not hosts:
        return ()
    return (uri if "://" in uri else f"http://{hosts[0]}{uri}",)


def _query(part: int) -> Callable[[Layer], Iterable[Value]]:
    def read(layer: Layer) -> Iterable[Value]:
        path, mark, query = (_message(layer)[0][1] or "").partition("?")
        return ((path, query)[part],) if mark else ()

    return read


def _http() -> list[Field]:
    table = Table("http", "Hypertext Transfer Protocol", like=("ssdp",))
    table.read(
        "http.request", "Request", Kind.TRUTH, lambda at: (1,) if _message(at)[0][0] is not None else ()
    )
    table.read(
        "http.response", "Response", Kind.TRUTH, lambda at: (1,) if _message(at)[0][3] is not None else ()
    )
    table.read("http.request.method", "Request Method", Kind.STRING, _part(0))
    table.read("http.request.uri", "Request URI", Kind.STRING, _part(1))
    table.read("http.request.uri.path", "Request URI Path", Kind.STRING, _query(0))
    table.read("http.request.uri.query", "Request URI Query", Kind.STRING, _query(1))
    table.read("http.request.version", "Request Version", Kind.STRING, _part(2))
    table.read("http.request.full_uri", "Full request URI", Kind.STRING, _full_uri)
    table.read("http.request.line", "Request line", Kind.STRING, _lines(0))
    table.read("http.response.version", "Response Version", Kind.STRING, _part(3))
    table.read("http.response.code", "Status Code", Kind.NUMBER, _code)
    table.read("http.response.phrase", "Response Phrase", Kind.STRING, _part(5))
    table.read("http.response.line", "Response line", Kind.STRING, _lines(3))
    table.read("http.content_length", "Content length", Kind.NUMBER, _content_length)
    for name, header in _HEADERS.items():
        table.read(f"http.{name}", header, Kind.STRING, _header(header))
    return table.fields


def _records(layer: Layer) -> Iterator[tuple[int, int, Layer]]:
    """Yield (type, version, content) of the records that are all there."""
    at = 0
    for _ in range(_MOST_RECORDS):
        kind, version, size = layer.byte(at), layer.number(at + 1, 2), layer.number(at + 3, 2)
        if version is None or size is None or not _CHANGE <= kind <= _DATA or version >> 8 != 3:
            return
        if layer.bytes(at + 5, size) is None:
            return
        start = layer.at + at + 5
        yield (
            kind,
            version,
            Layer("tls.record", layer.data, start, start + size, layer.facts, layer, layer.layers),
        )
        at += 5 + size


def _tls_found(layer: Layer) -> dict[str, list[Value]]:
    if layer.cache is None:
        found: dict[str, list[Value]] = {}
        protected = False
        for kind, version, content in _records(layer):
            size = content.end - content.at
            for name, value in (("content_type", kind), ("version", version), ("length", size)):
                found.setdefault(f"tls.record.{name}", []).append(value)
            if kind == _HANDSHAKE and not protected:
                _handshakes(content, found)
            elif kind == _ALERT:
                found.setdefault("tls.alert_message", []).append(1)
                if size != 2:
                    continue
                found.setdefault("tls.alert_message.level", []).append(content.byte(0))
                found.setdefault("tls.alert_message.desc", []).append(content.byte(1))
            elif kind == _DATA:
                found.setdefault("tls.app_data", []).append(content.bytes(0, size) or b"")
            elif kind == _CHANGE:
                found.setdefault("tls.change_cipher_spec", []).append(1)
                protected = True
        layer.cache = found
    result: dict[str, list[Value]] = layer.cache
    return result


def _handshakes(content: Layer, found: dict[str, list[Value]]) -> None:
    at, end = 0, content.end - content.at
    for _ in range(_MOST_RECORDS):
        size = content.number(at + 1, 3)
        if size is None or at + 4 + size > end or content.byte(at) > 67:
            if at == 0:
                found.setdefault("tls.handshake", []).append(1)  # An encrypted one.
            return
        kind = content.byte(at)
        found.setdefault("tls.handshake", []).append(1)
        found.setdefault("tls.handshake.type", []).append(kind)
        found.setdefault("tls.handshake.length", []).append(size)
        if kind in _HELLOS:
            _hello(content, at + 4, at + 4 + size, kind == 1, found)
        at += 4 + size


def _hello(content: Layer, at: int, end: int, client: bool, found: dict[str, list[Value]]) -> None:
    def note(name: str, value: Value | None) -> None:
        if value is not None:
            found.setdefault(f"tls.handshake.{name}", []).append(value)

    note("version", content.number(at, 2))
    note("random", content.bytes(at + 2, 32))
    session = content.byte(at + 34)
    note("session_id_length", session if session >= 0 else None)
    if session > 0:
        note("session_id", content.bytes(at + 35, session))
    at += 35 + max(session, 0)
    if client:
        suites = content.number(at, 2) or 0
        for place in range(at + 2, min(at + 2 + suites, end), 2):
            note("ciphersuite", content.number(place, 2))
        at += 2 + suites
        at += 1 + max(content.byte(at), 0)
    else:
        note("ciphersuite", content.number(at, 2))
        at += 3
    at += 2
    for _ in range(_MOST_RECORDS):
        kind, size = content.number(at, 2), content.number(at + 2, 2)
        value = content.bytes(at + 4, size) if size is not None and at + 4 + size <= end else None
        if value is None:
            return
        note("extension.type", kind)
        _extension(kind, value, client, note)
        at += 4 + len(value)


def _extension(
    kind: int | None, value: bytes, client: bool, note: Callable[[str, Value | None], None]
) -> None:
    if kind == 0 and len(value) > 5:
        note("extensions_server_name", plain_bytes(value[5 : 5 + int.from_bytes(value[3:5], "big")]))
    elif kind == 16:
        at = 2
        while at < len(value):
            note("extensions_alpn_str", plain_bytes(value[at + 1 : at + 1 + value[at]]))
            at += 1 + value[at]
    elif kind == 43:
        for at in range(1 if client else 0, len(value) - 1, 2):
            note("extensions.supported_version", int.from_bytes(value[at : at + 2], "big"))


def _tls() -> list[Field]:
    table = Table("tls", "Transport Layer Security")
    for name, label, kind, size in (
        ("record.content_type", "Content Type", Kind.NUMBER, 0), ("record.version", "Version", Kind.HEX, 2),
        ("record.length", "Length", Kind.NUMBER, 0), ("handshake", "Handshake Protocol", Kind.PROTOCOL, 0),
        ("handshake.type", "Handshake Type", Kind.NUMBER, 0), ("handshake.length", "Length", Kind.NUMBER, 0),
        ("handshake.version", "Version", Kind.HEX, 2), ("handshake.random", "Random", Kind.BYTES, 0),
        ("handshake.session_id_length", "Session ID Length", Kind.NUMBER, 0),
        ("handshake.session_id", "Session ID", Kind.BYTES, 0),
        ("handshake.ciphersuite", "Cipher Suite", Kind.HEX, 2), ("handshake.extension.type", "Type", Kind.NUMBER, 0),
        ("handshake.extensions_server_name", "Server Name", Kind.STRING, 0),
        ("handshake.extensions_alpn_str", "ALPN Next Protocol", Kind.STRING, 0),
        ("handshake.extensions.supported_version", "Supported Version", Kind.HEX, 2),
        ("alert_message", "Alert Message", Kind.PROTOCOL, 0),
        ("alert_message.level", "Level", Kind.NUMBER, 0), ("alert_message.desc", "Description", Kind.NUMBER, 0),
        ("change_cipher_spec", "Change Cipher Spec Message", Kind.PROTOCOL, 0),
        ("app_data", "Encrypted Application Data", Kind.BYTES, 0),
    ):  # fmt: skip
        table.read(f"tls.{name}", label, kind, _told(f"tls.{name}"), size=size)
    return table.fields


def _told(name: str) -> Callable[[Layer], Iterable[Value]]:
    return lambda layer: _tls_found(layer).get(name, ())


def _banner(layer: Layer) -> Iterable[Value]:
    data = layer.data[layer.at : layer.stop]
    line = data.partition(b"\n")[0].rstrip(b"\r")
    return (plain_bytes(line),) if data.startswith(b"SSH-") else ()


def _ssh() -> list[Field]:
    table = Table("ssh", "SSH Protocol")
    table.read("ssh.protocol", "Protocol", Kind.STRING, _banner)
    return table.fields


def _others() -> list[Field]:
    named = {"ftp": "File Transfer Protocol", "smtp": "Simple Mail Transfer Protocol", "pop": "Post Office Protocol",
             "imap": "Internet Message Access Protocol", "telnet": "Telnet", "irc": "Internet Relay Chat",
             "ftp-data": "FTP Data", "bgp": "Border Gateway Protocol"}  # fmt: skip
    return [field for name, label in named.items() for field in Table(name, label).fields]


FIELDS = [*_http(), *_tls(), *_ssh(), *_others()]
