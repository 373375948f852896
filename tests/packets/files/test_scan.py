"""Many cursors at once must find what one finds, however wrong their starts are guessed."""

import random
import struct
from itertools import pairwise

import numpy as np
import pytest

from qmon.packets.files import scan
from qmon.packets.files.scan import Layout, walk

PCAP = Layout(8, 16, 16, "<")
BLOCKS = Layout(4, 0, 12, ">")


def _records(rng: random.Random, layout: Layout, count: int) -> tuple[np.ndarray, list[int]]:
    data, starts = bytearray(), []
    for _ in range(count):
        starts.append(len(data))
        body = rng.choice((0, 4, 40, 400, 1500))
        size = body if layout is PCAP else body + 12
        head = bytearray(layout.least)
        struct.pack_into(layout.order + "I", head, layout.size_at, size)
        data += head + rng.randbytes(body)
    return np.frombuffer(bytes(data), np.uint8), [*starts, len(data)]


@pytest.mark.parametrize("layout", [PCAP, BLOCKS])
@pytest.mark.parametrize("seed", range(25))
def test_wrong_guesses_change_nothing(layout: Layout, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(seed)
    monkeypatch.setattr(scan, "LANE_BYTES", rng.choice((300, 1000, 5000)))
    monkeypatch.setattr(scan, "LEAST_LANES", 4)
    data, starts = _records(rng, layout, 400)

    def guess(near: np.ndarray) -> np.ndarray:
        guesses = set()
        for place in near.tolist():
            right = min((start for start in starts[:-1] if start >= place), default=place)
            guesses |= {rng.choice((right, right, place, place + rng.randrange(2000)))}
        return np.array(sorted(guesses - {rng.choice(sorted(guesses))}), np.int64)

    stop = rng.choice((len(data), rng.randrange(len(data))))
    found, end = walk(data, starts[3], stop, layout, guess)
    whole = [start for start, after in pairwise(starts[3:]) if after <= stop]
    assert found.tolist() == whole
    assert end == (starts[starts.index(whole[-1]) + 1] if whole else starts[3])


@pytest.mark.parametrize("layout", [PCAP, BLOCKS])
@pytest.mark.parametrize("seed", range(25))
def test_runs_of_one_size_are_found_as_others(layout: Layout, seed: int) -> None:
    rng = random.Random(seed)
    data, starts = bytearray(), []
    while len(data) < 2_000_000:
        body = rng.choice((0, 40, 1500, 1514))
        for _ in range(rng.choice((1, 5, 6, 7, 8, 9, 200, 5000))):
            starts.append(len(data))
            head = bytearray(layout.least)
            struct.pack_into(layout.order + "I", head, layout.size_at, body if layout is PCAP else body + 12)
            data += head + bytes(body)
    starts.append(len(data))
    stop = rng.choice((len(data), rng.randrange(len(data))))
    found, end = walk(np.frombuffer(bytes(data), np.uint8), 0, stop, layout, lambda near: near[:0])
    whole = [start for start, after in pairwise(starts) if after <= stop]
    assert found.tolist() == whole
    assert end == starts[len(whole)]


@pytest.mark.parametrize("layout", [PCAP, BLOCKS])
def test_no_bytes_lead_astray(layout: Layout) -> None:
    rng = random.Random(1)
    for size in (0, 5, 12, 16, 17, 400_000):
        for fill in (bytes(size), b"\xff" * size, rng.randbytes(size)):
            data = np.frombuffer(fill, np.uint8)
            found, end = walk(data, 0, size, layout, lambda near: near)
            assert end <= size
            assert (np.diff(found) >= layout.least).all()
