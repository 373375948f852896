"""Captures as others make and break them: the number of packets must be the one Wireshark's capinfos finds.

The corpus is made here: both formats, every variant of them, then cut, torn and scribbled over.
"""

from __future__ import annotations

import random
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from qmon.errors import QmonError
from qmon.packets.batch import FrameBatch, Interface
from qmon.packets.files.pcap import PcapWriter
from qmon.packets.files.pcapng_writer import PcapngWriter
from qmon.packets.files.source import CaptureFile
from qmon.packets.store.packet_store import PacketStore
from tests.packets.files import test_pcap, test_pcapng
from tests.packets.frames import frame

FRAMES = [frame(random.Random(seed)) for seed in range(200)]
TIMES = [1_700_000_000_000_000_000 + index * 1_000_000 for index in range(200)]


def _pcap() -> bytes:
    writer = PcapWriter(Interface())
    return writer.header() + writer.encode(FrameBatch.from_frames(FRAMES, time_ns=TIMES))


def _pcapng() -> bytes:
    writer = PcapngWriter(application="qmon")
    batch = FrameBatch.from_frames(FRAMES, time_ns=TIMES, direction=1)
    return writer.header() + writer.interface(Interface("u1")) + writer.encode(batch)


def _mixed_sections() -> bytes:
    make = test_pcapng
    small = make.section() + make.interface() + make.packet(b"x" * 60, 5) * 7
    large = make.section(">") + make.interface(">") + make.packet(b"x" * 60, 5, order=">") * 5
    return small + large + small


SOUND: dict[str, Callable[[], bytes]] = {
    "pcap": _pcap,
    "pcap-big": lambda: test_pcap.capture(FRAMES, order=">"),
    "pcap-nanoseconds": lambda: test_pcap.capture(FRAMES, magic=0xA1B23C4D),
    "pcap-empty": lambda: _pcap()[:24],
    "pcap-snaplen-0": lambda: test_pcap.capture(FRAMES)[:16] + bytes(4) + test_pcap.capture(FRAMES)[20:],
    "pcap-zeros-behind": lambda: _pcap() + bytes(160),
    "pcapng": _pcapng,
    "pcapng-sections": _mixed_sections,
    "pcapng-no-packets": lambda: test_pcapng.section() + test_pcapng.interface(),
}


def _count(path: Path) -> int:
    """Read a capture all the way into a store, as the dashboard does."""
    with CaptureFile(path, reuse_buffer=True, virtio_header=None) as file:
        store = PacketStore(source=file)
        while (batch := file.read_batch()) is not None:
            for interface in file.interfaces[len(store.interfaces) :]:
                store.add_interface(interface)
            store.append(batch)
        for seq in range(len(store)):
            assert len(store.frame(seq)) == store.row(seq).captured
        store.conversations()
        return len(store)


def _capinfos(path: Path) -> int:
    command = ["capinfos", "-c", "-r", "-T", "-M", "-m", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return int(done.stdout.strip().rsplit(",", 1)[-1].strip('"'))


@pytest.mark.parametrize("name", SOUND)
def test_sound_captures_have_as_many_packets_as_capinfos_counts(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(SOUND[name]())
    assert _count(path) == _capinfos(path)


@pytest.mark.parametrize("name", ["pcap", "pcap-big", "pcapng"])
def test_cut_captures_have_as_many_packets_as_capinfos_counts(name: str, tmp_path: Path) -> None:
    whole = SOUND[name]()
    rng = random.Random(1)
    path = tmp_path / name
    for _ in range(12):
        path.write_bytes(whole[: rng.randrange(200, len(whole))])
        assert _count(path) == _capinfos(path)


@pytest.mark.parametrize("name", SOUND)
@pytest.mark.parametrize("seed", range(12))
def test_scribbled_captures_are_read_as_far_as_they_can_be(name: str, seed: int, tmp_path: Path) -> None:
    data = bytearray(SOUND[name]())
    rng = random.Random(seed)
    for _ in range(rng.randrange(1, 6)):
        at = rng.randrange(len(data))
        wild = rng.choice(
            (rng.randbytes(rng.randrange(1, 30)), b"\xff" * 4, bytes(8), struct.pack("<I", 0x7FFF_FFFF))
        )
        data[at : at + rng.randrange(40)] = wild
    path = tmp_path / "scribbled"
    path.write_bytes(data)
    complaint = "none"
    try:
        _count(path)
    except QmonError as problem:
        complaint = problem.message
    # Only a damaged beginning may end it.
    assert any(part in complaint for part in ("none", "not a pcap", "byte order"))


@pytest.mark.parametrize("name", ["pcap", "pcapng"])
def test_most_packets_survive_one_bad_length(name: str, tmp_path: Path) -> None:
    whole = SOUND[name]()
    path = tmp_path / "damaged"
    for at in range(3000, 3400, 37):
        path.write_bytes(whole[:at] + b"\xff" * 8 + whole[at + 8 :])
        assert _count(path) >= len(FRAMES) - 4
