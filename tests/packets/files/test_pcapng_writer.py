"""What Wireshark's own tools make of what we write."""

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from qmon.packets.batch import Direction, FrameBatch, Interface, Note, Statistics
from qmon.packets.files.pcapng_writer import PcapngWriter

NOW = 1_700_000_000_123_456_789
FRAME = bytes.fromhex("52540012345652550a0002020806000108000604000152550a0002020a0002020000000000000a00020f")


@pytest.fixture
def written(tmp_path: Path) -> Path:
    writer = PcapngWriter(application="qmon", hardware="VM", operating_system="Linux")
    batch = FrameBatch.from_frames(
        [FRAME, FRAME[:20], b""],
        time_ns=[NOW, NOW + 1, NOW + 2],
        length=[42, 42, 0],
        direction=[Direction.OUT, Direction.IN, Direction.UNKNOWN],
    )
    batch = replace(batch, comments=((1, "cut\x1b[31m short"),))
    path = tmp_path / "written.pcapng"
    path.write_bytes(
        writer.header("made by a test")
        + writer.interface(Interface("u1", description="user", mac=b"RT\0\x12\x34V", capture_filter="arp"))
        + writer.names({"10.0.2.2": "gateway"})
        + writer.encode(batch)
        + writer.journal(Note(NOW + 3, "STOP", "event"))
        + bytes(writer.encode(FrameBatch.empty()))
        + writer.statistics(Statistics(0, NOW + 4, 3, 2))
    )
    return path


def _fields(path: Path, *fields: str) -> list[list[str]]:
    command = ["tshark", "-r", str(path), "-T", "fields", "-E", "separator=|"]
    for field in fields:
        command += ["-e", field]
    out = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    return [line.split("|") for line in out.splitlines()]


def test_tshark_reads_names_directions_times_and_comments(written: Path) -> None:
    rows = _fields(
        written,
        "frame.interface_name",
        "frame.packet_flags_direction",
        "frame.time_epoch",
        "frame.cap_len",
        "frame.len",
    )
    assert rows[0] == ["u1", "0x00000002", "1700000000.123456789", "42", "42"]
    assert rows[1] == ["u1", "0x00000001", "1700000000.123456790", "20", "42"]
    assert rows[2] == ["u1", "", "1700000000.123456791", "0", "0"]
    assert "short" in _fields(written, "frame.comment")[1][0]


def test_notes_are_entries_of_a_journal(written: Path) -> None:
    rows = _fields(written, "frame.time_epoch", "_ws.col.Protocol", "_ws.col.Info")
    assert rows[3] == ["1700000000.123457000", "systemd Journal", "event: STOP"]


def test_capinfos_finds_the_file_sound(written: Path) -> None:
    done = subprocess.run(["capinfos", str(written)], capture_output=True, text=True, check=True, timeout=60)
    for text in (
        "Number of packets:   3",
        "Capture application: qmon",
        "made by a test",
        "Name = u1",
        "Filter string = arp",
    ):
        assert text in done.stdout, done.stdout
    listing = subprocess.run(
        ["tshark", "-r", str(written), "-T", "json"], capture_output=True, check=True, timeout=60
    )
    assert len(json.loads(listing.stdout)) == 4
