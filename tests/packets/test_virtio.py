import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from qmon.packets import virtio
from qmon.packets.batch import FrameBatch, Offload
from qmon.packets.files.source import CaptureFile
from qmon.packets.virtio import detect, strip

ETHERNET = bytes.fromhex("52540012345652550a000202")


def _ipv4(rng: random.Random, payload: int) -> bytes:
    head = (
        bytes.fromhex("0800")
        + b"\x45\0"
        + (20 + payload).to_bytes(2, "big")
        + bytes(4)
        + b"\x40\x11"
        + rng.randbytes(10)
    )
    return ETHERNET + head + rng.randbytes(payload)


def _frames(count: int = 30) -> list[bytes]:
    rng = random.Random(6)
    arp = ETHERNET + bytes.fromhex("0806000108000604") + rng.randbytes(20)
    six = ETHERNET + bytes.fromhex("86dd60000000000811ff") + rng.randbytes(40)
    return [rng.choice((_ipv4(rng, rng.randrange(8, 400)), arp, six)) for _ in range(count)]


def _with_header(frames: list[bytes], size: int) -> list[bytes]:
    headers = (
        bytes(size),
        b"\1" + bytes(5) + b"\x22\0\x10\0" + bytes(size - 10),
        bytes(10) + b"\1\0"[: size - 10],
    )
    return [headers[index % len(headers)][:size] + frame for index, frame in enumerate(frames)]


@pytest.mark.parametrize("size", [10, 12])
def test_headers_are_found_and_removed(size: int) -> None:
    frames = _frames()
    batch = FrameBatch.from_frames(_with_header(frames, size))
    batch = replace(batch, position=np.arange(30) * 1000)
    assert detect(batch) == size
    clean = strip(batch, size)
    assert [bytes(clean.frame(index)) for index in range(30)] == frames
    assert clean.length.tolist() == [len(frame) for frame in frames]
    assert clean.position is not None
    assert clean.position.tolist() == [index * 1000 + size for index in range(30)]
    assert clean.offload is not None
    assert clean.offload.tolist() == [0, Offload.PARTIAL_CHECKSUM, 0] * 10


def test_what_the_header_says_of_segmentation_is_kept() -> None:
    header = b"\1\1\x42\0\xb4\5\x22\0\x10\0\0\0"
    clean = strip(FrameBatch.from_frames([header + _frames(1)[0]]), 12)
    assert clean.offload is not None
    assert clean.offload[0] == Offload.PARTIAL_CHECKSUM | Offload.SEGMENTATION


def test_frames_as_they_should_be_are_left_alone() -> None:
    assert detect(FrameBatch.from_frames(_frames())) == 0
    loopback = [bytes(12) + frame[12:] for frame in _frames()]
    assert detect(FrameBatch.from_frames(loopback)) == 0


def test_too_little_to_tell() -> None:
    assert detect(FrameBatch.empty()) is None
    assert detect(FrameBatch.from_frames(_with_header(_frames(2), 12))) is None
    assert detect(FrameBatch.from_frames(_with_header(_frames(2), 12)), least=2) == 12
    rng = random.Random(1)
    assert (
        detect(FrameBatch.from_frames([bytes(60), b"", b"short", *(rng.randbytes(90) for _ in range(50))]))
        is None
    )


def test_frames_cut_within_the_header_have_nothing_left() -> None:
    clean = strip(FrameBatch.from_frames([b"", b"12345", bytes(12) + b"rest"], length=[60, 60, 60]), 12)
    assert clean.captured.tolist() == [0, 0, 4]
    assert clean.length.tolist() == [48, 48, 48]
    assert strip(FrameBatch.empty(), 12).captured.tolist() == []


def test_only_the_frames_meant_are_changed() -> None:
    batch = FrameBatch.from_frames([bytes(12) + b"one", bytes(12) + b"two"])
    clean = strip(batch, 12, np.array([False, True]))
    assert [bytes(clean.frame(index)) for index in range(2)] == [bytes(12) + b"one", b"two"]
    assert strip(batch, 0) is batch


def test_recorded_captures_are_judged_by_their_qemu(fixture_capture: Path) -> None:
    """Before version 8 a tap's frames carry a header in front of a virtio NIC; all others are clean."""
    with CaptureFile(fixture_capture) as file:
        batch = file.read_batch()
    assert batch is not None
    old = fixture_capture.parts[-3].startswith("7.")
    assert virtio.detect(batch) == (12 if old and fixture_capture.stem == "tap-linux" else 0)
