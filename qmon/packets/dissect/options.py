"""Parts of fields that scapy keeps as one value: options of TCP and DHCP, and lines of text.

Walks the bytes again, so that each part has its place; the words are scapy's where it has some.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from qmon.packets.dissect import values
from qmon.packets.fields import web
from qmon.packets.fields.registry import fields
from qmon.packets.tree import Node
from qmon.text import plain, plain_bytes

_TCP_NAMES = {0: "End of options", 1: "No operation", 2: "Maximum segment size", 3: "Window scale", 4: "SACK permitted",
              5: "SACK", 8: "Timestamps", 34: "TCP Fast Open"}  # fmt: skip
_MAX_LINES = 60
_HTTP = "Hypertext Transfer Protocol"
# The first line of a text protocol: HTTP, SSDP, SSH, SMTP and their like.
_TEXT = re.compile(rb"[\x20-\x7e\t]{3,}\r?\n")


def of(packet: Any, described: Any, value: Any, data: bytes, start: int, stop: int) -> tuple[Node, ...]:
    """Return the parts of a field that consists of options; empty for other fields."""
    kind = type(packet).__name__
    if described.name != "options" or not isinstance(value, list):
        return ()
    if kind in ("TCP", "TCPerror"):
        items = list(_split(data, start, stop, single=(0, 1), whole_size=True, ends=0))
        return tuple(_tcp(data, at, end) for at, end in items)
    if kind == "DHCP":
        items = list(_split(data, start, stop, single=(0, 255), whole_size=False, ends=255))
        return tuple(_dhcp(item, data, at, end) for item, (at, end) in _paired(value, items))
    return ()


def _split(
    data: bytes, start: int, stop: int, *, single: tuple[int, ...], whole_size: bool, ends: int
) -> Iterator[tuple[int, int]]:
    """Yield where each option is: a type, and unless it is a `single` one its size and what it says."""
    at = start
    while at < stop:
        size = 1
        if data[at] not in single:
            if at + 1 >= stop:
                return
            size = data[at + 1] + (0 if whole_size else 2)
            if size < 2 or at + size > stop:
                return
        yield at, at + size
        if data[at] == ends:
            return
        at += size


def _paired(value: list[Any], places: list[tuple[int, int]]) -> Iterator[tuple[Any, tuple[int, int]]]:
    """Put scapy's words to the places, as long as there are as many of them."""
    known = value if len(value) == len(places) else [None] * len(places)
    return zip(known, places, strict=True)


def _tcp(data: bytes, at: int, end: int) -> Node:
    name = _TCP_NAMES.get(data[at], f"Option {data[at]}")
    said = data[at + 2 : end]
    if data[at] in (2, 3) and said:
        text = str(int.from_bytes(said, "big"))
        if data[at] == 3:
            text += f" (multiply by {1 << min(said[0], 14)})"
    elif data[at] in (5, 8) and len(said) % 4 == 0:
        text = ", ".join(str(int.from_bytes(said[i : i + 4], "big")) for i in range(0, len(said), 4))
    else:
        text = said.hex(" ")
    return Node(name, text, at, end)


def _dhcp(item: Any, data: bytes, at: int, end: int) -> Node:
    code = data[at]
    if code in (0, 255):
        return Node("Pad" if code == 0 else "End", "", at, end)
    said = data[at + 2 : end]
    name, text = f"Option {code}", values.data(said)
    if isinstance(item, tuple) and len(item) > 1:
        name = f"{str(item[0]).replace('_', ' ').capitalize()} ({code})"
        text = ", ".join(values.data(part) if isinstance(part, bytes) else str(part) for part in item[1:])
    if code == 53 and len(said) == 1:
        kinds = ("", "Discover", "Offer", "Request", "Decline", "ACK", "NAK", "Release", "Inform")
        text = kinds[said[0]] if said[0] < len(kinds) else str(said[0])
    return Node(plain(name), plain(text[: values.MAX_VALUE]), at, end)


def text_lines(data: bytes, start: int | None, stop: int | None) -> Node | None:
    """Return payload that begins with a line of text as a node with its lines; None if it does not."""
    if start is None or stop is None or not _TEXT.match(data, start, stop):
        return None
    if web.is_http(data[start:stop]):
        return _http(data, start, stop)
    lines: list[Node] = []
    at = start
    while at < stop and len(lines) < _MAX_LINES:
        found = data.find(b"\n", at, stop)
        if found < 0 or (not _TEXT.match(data, at, stop) and data[at:found] not in (b"", b"\r")):
            break
        lines.append(
            Node("Line", plain_bytes(data[at:found].rstrip(b"\r"))[: values.MAX_VALUE], at, found + 1)
        )
        at = found + 1
    if at < stop:
        lines.append(Node("Data", f"{stop - at} bytes", at, stop))
    return Node("Text", f"{stop - start} bytes", start, stop, tuple(lines))


def _http(data: bytes, start: int, stop: int) -> Node:
    """Return the beginning of an HTTP message: its first line in parts, headers by their names, the rest as data."""
    ends = data.find(b"\n", start, stop)
    ends = stop if ends < 0 else ends + 1
    first = data[start:ends].rstrip(b"\r\n")
    is_answer = first.startswith(b"HTTP/")
    lines = [Node("Status line" if is_answer else "Request line", plain_bytes(first)[: values.MAX_VALUE], start, ends,
                  tuple(_first_line(first, start, is_answer)))]  # fmt: skip
    at = ends
    while at < stop and len(lines) < _MAX_LINES:
        found = data.find(b"\n", at, stop)
        line = data[at:found].rstrip(b"\r")
        if found < 0 or (line and b":" not in line):
            break
        name, _, value = line.partition(b":")
        label = plain_bytes(name) or "End of headers"
        lines.append(Node(label, plain_bytes(value.strip())[: values.MAX_VALUE], at, found + 1))
        at = found + 1
        if not line:
            break
    if at < stop:
        lines.append(Node("Data", f"{stop - at} bytes", at, stop))
    return Node(_HTTP, plain_bytes(first)[: values.MAX_VALUE], start, stop, tuple(lines))


def _first_line(line: bytes, start: int, is_answer: bool) -> Iterator[Node]:
    names = ("http.response.version", "http.response.code", "http.response.phrase")
    names = names if is_answer else ("http.request.method", "http.request.uri", "http.request.version")
    at = start
    for name, part in zip(names, line.split(b" ", 2), strict=False):
        yield Node(fields()[name].label, plain_bytes(part)[: values.MAX_VALUE], at, at + len(part))
        at += len(part) + 1
