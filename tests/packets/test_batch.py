import numpy as np

from qmon.packets.batch import Direction, FrameBatch, Offload


def _batch(*frames: bytes, **columns: object) -> FrameBatch:
    return FrameBatch.from_frames(frames, **columns)  # type: ignore[arg-type]


def _frames(batch: FrameBatch) -> list[bytes]:
    return [bytes(batch.frame(index)) for index in range(len(batch))]


def test_frames_come_back_as_they_were() -> None:
    batch = _batch(
        b"one", b"", b"three", time_ns=[1, 2, 3], direction=[0, 1, 2], interface=4, length=[9, 9, 9]
    )
    assert _frames(batch) == [b"one", b"", b"three"]
    assert batch.time_ns.tolist() == [1, 2, 3]
    assert batch.interface.tolist() == [4, 4, 4]
    assert batch.direction.tolist() == [Direction.UNKNOWN, Direction.IN, Direction.OUT]
    assert batch.length.tolist() == [9, 9, 9]
    assert repr(batch) == "<FrameBatch 3 frames, 8 bytes>"


def test_selecting_keeps_columns_and_comments_together() -> None:
    whole = _batch(b"a", b"bb", b"ccc", b"d", time_ns=[1, 2, 3, 4])
    batch = FrameBatch(
        **{
            name: getattr(whole, name)
            for name in ("data", "offset", "captured", "length", "time_ns", "interface", "direction")
        },
        position=np.array([10, 20, 30, 40]),
        offload=np.array([0, 1, 2, 3], np.uint8),
        comments=((1, "second"), (2, "third")),
    )
    for which in (np.array([False, False, True, True]), np.array([2, 3]), slice(2, 4)):
        some = batch.select(which)
        assert _frames(some) == [b"ccc", b"d"]
        assert some.position is not None
        assert some.position.tolist() == [30, 40]
        assert some.offload is not None
        assert some.offload.tolist() == [Offload.PARTIAL_CHECKSUM, 3]
        assert some.comments == ((0, "third"),)


def test_joining_batches() -> None:
    first, second = _batch(b"a", b"bb", time_ns=[1, 2]), _batch(b"ccc", time_ns=[3])
    joined = FrameBatch.concatenate([first, second])
    assert _frames(joined) == [b"a", b"bb", b"ccc"]
    assert joined.time_ns.tolist() == [1, 2, 3]
    assert joined.position is None
    assert FrameBatch.concatenate([first]) is first
    assert len(FrameBatch.concatenate([])) == 0


def test_a_compact_batch_owns_just_its_frames() -> None:
    batch = _batch(b"a", b"bb", b"ccc").select(np.array([2, 0])).compact()
    assert _frames(batch) == [b"ccc", b"a"]
    assert batch.data.tobytes() == b"ccca"
    assert len(FrameBatch.empty().compact()) == 0
