"""Notes in their three forms: what is written is read again, and anything else is read as something harmless."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmon.packets.batch import NO_TIME, FrameBatch, Interface, Note
from qmon.packets.files import notes
from qmon.packets.files.pcapng import PcapngReader
from tests.packets.files.test_pcapng import block, option, packet, section

NOTE = Note(1_700_000_000_123_456_000, "STOP {}", "event")


def old_packet(text: bytes) -> bytes:
    return struct.pack(">HH8s4x", 12, 8, b"syslog") + text


def test_a_journal_entry_comes_back() -> None:
    assert notes.from_journal(notes.journal_entry(NOTE)) == NOTE
    assert notes.from_journal(notes.journal_entry(NOTE) + bytes(3)) == NOTE


def test_a_comment_comes_back_to_the_nanosecond() -> None:
    note = Note(1_700_000_000_123_456_789, "12 packets are missing", "gap")
    assert notes.from_comment(notes.comment(note)) == note
    assert notes.from_comment("qmon gap: what somebody else wrote") is None
    assert notes.from_comment("qmon gap at 2024-99-01T00:00:00.000000000Z: x") is None


@pytest.mark.parametrize("text", ["a\nMESSAGE=b", "\x1b[31mred", "\udcff", "x" * 100_000])
def test_a_note_cannot_break_out_of_its_field(text: str) -> None:
    entry = notes.journal_entry(Note(0, text, "event"))
    assert entry.count(b"\n") == 6
    assert b"\x1b" not in entry
    assert len(entry) < 70_000


def test_foreign_entries_are_told_by_their_maker() -> None:
    text = b"__REALTIME_TIMESTAMP=5\nMESSAGE\n" + struct.pack("<Q", 3) + b"a\nb\nSYSLOG_IDENTIFIER=sshd\n\n"
    assert notes.from_journal(text) == Note(5000, "sshd: a\nb", "journal")
    assert notes.from_journal(b"MESSAGE=x\n") == Note(NO_TIME, "x", "journal")
    assert notes.from_journal(b"PRIORITY=3\n") is None


@given(st.binary(max_size=300))
def test_any_bytes_are_some_note_or_none(data: bytes) -> None:
    notes.from_journal(data)
    notes.from_journal(b"MESSAGE=x\n" + data)
    notes.from_packet(data, 0)
    notes.from_comment(data.decode("latin-1"))
    notes.from_comment("qmon gap at " + data.decode("latin-1"))


def test_the_packets_of_older_captures_are_notes() -> None:
    described = Interface(
        name="qmon", link_type=notes.UPPER_PDU, description="What happened between the packets, told by qmon"
    )
    body = struct.pack("<HHI", described.link_type, 0, described.snaplen)
    body += option(2, b"qmon") + option(3, described.description.encode()) + option(9, b"\x09") + bytes(4)
    frame = old_packet(b"<133>qmon change: link of nic1 set down")
    stamp = struct.pack("<II", *divmod(NOTE.time_ns, 1 << 32))
    note = block(6, struct.pack("<I", 1) + stamp + struct.pack("<II", len(frame), len(frame)) + frame)
    head = struct.pack("<HHI", 1, 0, 262_144)
    items = PcapngReader().feed(section() + block(1, head) + block(1, body) + packet(b"x" * 60, 5) + note)
    assert Note(NOTE.time_ns, "link of nic1 set down", "change") in items
    assert sum(len(one) for one in items if isinstance(one, FrameBatch)) == 1
