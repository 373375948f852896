"""How a note stands in a pcapng file, written and read.

Three forms: an entry of systemd's journal, in a block of its own; a comment on the packet that follows; and, read
only, the packet of a link type of its own that qmon once wrote. Formats: systemd's Journal Export Format
(https://systemd.io/JOURNAL_EXPORT_FORMATS), Wireshark's exported PDUs (LINKTYPE_WIRESHARK_UPPER_PDU). Pure. Must
accept anything, and must never write a control character or a line end within a field.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from datetime import UTC, datetime
from enum import StrEnum

from qmon.packets.batch import NO_TIME, Interface, Note
from qmon.text import plain

# What is longer is cut.
MAX_TEXT = 16_384
MAX_FIELDS = 256
# LINKTYPE_WIRESHARK_UPPER_PDU: tags say which of Wireshark's dissectors reads the rest.
UPPER_PDU = 252
_IDENTIFIER = b"qmon"
# Syslog's severities "warning" and "notice".
_WARNING, _NOTICE = 4, 5
_LAST_NS = (1 << 63) - 1
_COMMENT = re.compile(
    r"qmon ([a-z]{1,16}) at (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\.(\d{9})Z: (.*)", re.DOTALL | re.ASCII
)
_PACKET = re.compile(r"<\d{1,3}>qmon ([a-z]{1,16}): (.*)", re.DOTALL | re.ASCII)
_KIND = re.compile(r"[a-z]{1,16}", re.ASCII)
_OLD_DESCRIPTION = "What happened between the packets, told by qmon"


class NoteForm(StrEnum):
    """How notes are written into a file: entries of a journal, comments on the next packet, or not at all."""

    JOURNAL = "journal"
    COMMENT = "comment"
    NONE = "none"


# Entries of a journal


def journal_entry(note: Note) -> bytes:
    """Return the entry's text; its time is in microseconds, rounded up: not before the packet it stands behind."""
    fields = (
        ("__REALTIME_TIMESTAMP", str(-(-max(0, note.time_ns) // 1000))),
        ("MESSAGE", _worded(note)),
        ("PRIORITY", str(_WARNING if note.kind == "gap" else _NOTICE)),
        ("SYSLOG_IDENTIFIER", "qmon"),
        ("QMON_KIND", note.kind),
    )
    lines = "".join(f"{name}={value}\n" for name, value in fields)
    return lines.encode("utf-8", "replace") + b"\n"


def from_journal(entry: bytes) -> Note | None:
    """Read an entry, qmon's or somebody else's (of kind `journal`); None if it says nothing."""
    found: dict[bytes, bytes] = {}
    for name, value in _fields(entry):
        found.setdefault(name, value)
    message = _decoded(found.get(b"MESSAGE", b""))
    if not message:
        return None
    time_ns = _microseconds(found.get(b"__REALTIME_TIMESTAMP", b""))
    kind, identifier = found.get(b"QMON_KIND"), found.get(b"SYSLOG_IDENTIFIER", b"")
    if kind is not None and identifier == _IDENTIFIER and _KIND.fullmatch(word := kind.decode("latin-1")):
        return Note(time_ns, message.removeprefix(f"{word}: "), word)
    return Note(time_ns, f"{_decoded(identifier)}: {message}" if identifier else message, "journal")


def _fields(entry: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield name and value of each field: `NAME=value`, or NAME, a 64-bit length and the value."""
    at = 0
    for _ in range(MAX_FIELDS):
        end = entry.find(b"\n", at)
        if end <= at:
            return
        name, equals, value = entry[at:end].partition(b"=")
        at = end + 1
        if not equals:
            if at + 8 > len(entry):
                return
            (size,) = struct.unpack_from("<Q", entry, at)
            if size > len(entry) - at - 8:
                return
            value = entry[at + 8 : at + 8 + size]
            at += 8 + size + 1
        yield name, value


def _microseconds(digits: bytes) -> int:
    if not digits.isdigit() or len(digits) > 19:
        return NO_TIME
    time_ns = int(digits) * 1000
    return time_ns if time_ns <= _LAST_NS else NO_TIME


# Comments


def comment(note: Note) -> str:
    """Return the note as the comment of a packet, with its time in it."""
    second, rest = divmod(max(0, note.time_ns), 1_000_000_000)
    moment = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"qmon {note.kind} at {moment}.{rest:09}Z: {_plain(note.text)}"


def from_comment(text: str) -> Note | None:
    """Return the note a packet's comment is, None where it is anybody else's comment."""
    match = _COMMENT.fullmatch(text) if text.startswith("qmon ") else None
    if match is None:
        return None
    try:
        second = int(datetime.fromisoformat(match[2] + "+00:00").timestamp())
    except ValueError:
        return None
    time_ns = second * 1_000_000_000 + int(match[3])
    return Note(time_ns, match[4], match[1]) if time_ns <= _LAST_NS else None


# Packets of a link type of their own


def is_for_notes(interface: Interface) -> bool:
    """Say whether an interface is the one on which qmon wrote its notes as packets."""
    return (interface.link_type, interface.name, interface.description) == (
        UPPER_PDU,
        "qmon",
        _OLD_DESCRIPTION,
    )


def from_packet(frame: bytes, time_ns: int) -> Note:
    """Return the note that a packet of that interface is; it may hold anything."""
    at = 0
    while at + 4 <= len(frame):
        tag, size = struct.unpack_from(">HH", frame, at)
        at += 4 + size
        if not tag:
            break
    text = _decoded(frame[at:])
    match = _PACKET.fullmatch(text)
    return Note(time_ns, match[2], match[1]) if match else Note(time_ns, text, "comment")


def _worded(note: Note) -> str:
    return f"{note.kind}: {_plain(note.text)}"


def _plain(text: str) -> str:
    return plain(text[:MAX_TEXT])


def _decoded(value: bytes) -> str:
    return value[:MAX_TEXT].decode("utf-8", "replace")
