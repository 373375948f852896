import numpy as np
import pytest

from qmon.packets.copying import clipped_items_at, copy_pieces, items_at, put_items

SIZES = (0, 1, 2, 15, 16, 17, 63, 64, 65, 255, 256, 257, 1023, 1024, 1514, 70_000)


@pytest.mark.parametrize("seed", range(60))
def test_pieces_arrive_whole_and_nothing_else_is_touched(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(0, 60))
    size = rng.choice(SIZES, count)
    source = rng.integers(0, 256, int(size.sum()) + 1000, dtype=np.uint8)
    start = rng.integers(0, len(source) - size + 1)
    gap = rng.integers(0, 20, count)
    to = np.cumsum(size + gap) - size
    target = np.full(int((size + gap).sum()) + 7, 0xEE, np.uint8)
    expected = target.copy()
    for a, b, n in zip(start, to, size, strict=True):
        expected[b : b + n] = source[a : a + n]
    copy_pieces(source, start, target, to, size.astype(np.uint32))
    assert (target == expected).all()


@pytest.mark.parametrize("seed", range(60))
def test_pieces_in_rows_arrive_whole(seed: int) -> None:
    rng = np.random.default_rng(seed)
    source = rng.integers(0, 256, 400_000, dtype=np.uint8)
    start, to, size = [], [], []
    at = there = 0
    while at < 300_000:
        length, gap, gap_there = (
            int(rng.choice((900, 1024, 1514))),
            int(rng.choice((0, 16))),
            int(rng.choice((0, 30))),
        )
        for _ in range(int(rng.choice((1, 7, 8, 9, 30)))):
            start.append(at)
            to.append(there)
            size.append(length)
            at += length + gap
            there += length + gap_there
    target = np.full(there + 7, 0xEE, np.uint8)
    expected = target.copy()
    for a, b, n in zip(start, to, size, strict=True):
        expected[b : b + n] = source[a : a + n]
    order = rng.permutation(len(start)) if seed % 3 == 0 else np.arange(len(start))
    arrays = [np.array(one)[order] for one in (start, to, size)]
    copy_pieces(source, arrays[0], target, arrays[1], arrays[2])
    assert (target == expected).all()


def test_items_are_read_and_written_at_any_place() -> None:
    data = np.arange(64, dtype=np.uint8)
    assert items_at(data, 4, np.array([1, 60])).tolist() == [1, 2, 3, 4, 60, 61, 62, 63]
    target = np.zeros(12, np.uint8)
    put_items(target, 4, np.array([7, 1]), np.array([[1], [2]], "<u4"))
    assert target.tolist() == [0, 2, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]


@pytest.mark.parametrize("length", [0, 1, 10, 70_000, 200_000])
def test_zeros_stand_for_what_lies_behind_the_end(length: int) -> None:
    data = np.arange(length, dtype=np.uint64).astype(np.uint8)
    start = np.array(
        [place for place in (0, 3, length // 2, length - 9, length - 8, length) if 0 <= place <= length]
    )
    items = clipped_items_at(data, 8, start).reshape(-1, 8)
    for place, item in zip(start.tolist(), items, strict=True):
        assert item.tobytes() == data[place : place + 8].tobytes().ljust(8, b"\0")
