import random

import pytest

from qmon.packets.batch import FrameBatch
from qmon.packets.store import spool
from qmon.packets.store.spool import Spool


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Spool:
    monkeypatch.setattr(spool, "SEGMENT_BYTES", 1000)
    return Spool()


def test_frames_come_back(kept: Spool) -> None:
    rng = random.Random(1)
    written: dict[int, bytes] = {}
    for _ in range(50):
        frames = [rng.randbytes(rng.randrange(200)) for _ in range(rng.randrange(6))]
        batch = FrameBatch.from_frames(frames)
        if len(frames) > 2 and rng.random() < 0.5:
            batch, frames = batch.select(slice(0, None, 2)), frames[::2]
        written |= zip(kept.write(batch).tolist(), frames, strict=True)
    for position, frame in written.items():
        assert kept.read(position, len(frame)) == frame
    kept.close()
    assert kept.read(0, 10) == b""


def test_what_is_released_is_gone_and_the_rest_is_not(kept: Spool) -> None:
    positions = [int(kept.write(FrameBatch.from_frames([bytes([i]) * 300]))[0]) for i in range(20)]
    before = kept.held_bytes
    kept.release(positions[10])
    assert kept.held_bytes < before
    assert kept.read(positions[0], 300) == b""
    for index in range(10, 20):
        assert kept.read(positions[index], 300) == bytes([index]) * 300
    kept.close()
    assert kept.held_bytes == 0


def test_sparse_frames_do_not_carry_what_lies_between(kept: Spool) -> None:
    batch = FrameBatch.from_frames([b"a" * 10, b"b" * 100_000, b"c" * 10]).select(slice(0, None, 2))
    kept.write(batch)
    assert kept.held_bytes == 20
    kept.close()
