import os
import struct
import time

import pytest

from qmon.capture.reading import kernel
from qmon.capture.reading.follower import Follower

HEADER = struct.pack("=IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65536, 1)


def record(number: int, size: int = 60) -> bytes:
    return struct.pack("=IIII", 1000 + number, number, size, size) + number.to_bytes(4, "big") * (size // 4)


@pytest.fixture
def memory() -> int:
    return kernel.memory_file("test")


def test_records_come_when_they_are_whole(memory: int) -> None:
    follower = Follower(memory)
    data = HEADER + b"".join(record(number) for number in range(5))
    seen = []
    for byte in data:
        os.write(memory, bytes([byte]))
        batch, sighting = follower.read()
        if batch is not None:
            assert len(batch) == 1
            assert sighting is not None
            assert sighting.written is not None
            assert sighting.seen >= sighting.written
            seen.append(int(batch.time_ns[0]))
    assert seen == [(1000 + number) * 10**9 + number * 1000 for number in range(5)]
    follower.close()


def test_memory_behind_the_reader_is_given_back(memory: int) -> None:
    follower = Follower(memory)
    os.write(memory, HEADER)
    for number in range(200):
        os.write(memory, record(number, 60_000))
        follower.read()
    assert os.fstat(memory).st_size > 10_000_000
    assert follower.allocated_bytes() < 1_000_000
    follower.close()


def test_a_seal_stops_the_writer_and_is_seen(memory: int) -> None:
    follower = Follower(memory)
    os.write(memory, HEADER)
    assert not follower.sealed
    kernel.seal_growth(memory)
    assert follower.sealed
    with pytest.raises(PermissionError):
        os.write(memory, record(1))
    follower.close()


def test_a_budget_leaves_the_rest_for_later(memory: int) -> None:
    follower = Follower(memory)
    os.write(memory, HEADER + b"".join(record(number, 60_000) for number in range(100)))
    counts = []
    while not counts or not follower.at_end:
        batch, _ = follower.read(1 << 20)
        counts.append(0 if batch is None else len(batch))
    assert len(counts) > 3
    assert sum(counts) == 100
    follower.close()


def test_half_a_record_that_never_ends_is_noticed(memory: int, monkeypatch: pytest.MonkeyPatch) -> None:
    follower = Follower(memory)
    os.write(memory, HEADER + record(1)[:20])
    follower.read()
    assert not follower.stuck
    later = time.monotonic_ns() + 3 * 10**9
    monkeypatch.setattr(time, "monotonic_ns", lambda: later)
    assert follower.stuck
    follower.close()


def test_a_watch_tells_of_writes(memory: int) -> None:
    watch = kernel.WriteWatch()
    watch.add(memory)
    assert not watch.clear()
    # As QEMU does it: Linux 6.14 tells nothing of writes through the descriptor that made the memfd.
    writer = os.open(f"/proc/self/fd/{memory}", os.O_WRONLY)
    os.write(writer, b"x")
    assert watch.clear()
    watch.remove(memory)
    os.write(writer, b"x")
    os.close(writer)
    watch.clear()
    assert not watch.clear()
    watch.close()
    os.close(memory)


def test_a_watch_that_pauses_costs_the_writer_nothing_and_says_what_it_may_have_missed(memory: int) -> None:
    watch = kernel.WriteWatch()
    watch.add(memory)
    assert not watch.resume()
    watch.pause()
    watch.pause()
    watch.clear()
    writer = os.open(f"/proc/self/fd/{memory}", os.O_WRONLY)
    os.write(writer, b"x")
    assert not watch.clear()
    assert watch.resume()
    assert not watch.resume()
    os.write(writer, b"x")
    assert watch.clear()
    watch.pause()
    watch.remove(memory)
    assert watch.resume()
    watch.clear()
    os.write(writer, b"x")
    assert not watch.clear()
    os.close(writer)
    watch.close()
    os.close(memory)


def test_catching_up_is_not_being_stuck(memory: int, monkeypatch: pytest.MonkeyPatch) -> None:
    follower = Follower(memory)
    os.write(memory, HEADER)
    now = time.monotonic_ns()
    monkeypatch.setattr(time, "monotonic_ns", lambda: now)
    rest = b""
    for number in range(10):
        # Each look ends in the midst of another record, for longer than one may stay unfinished.
        now += 1_500_000_000
        data = record(number)
        os.write(memory, rest + data[:30])
        rest = data[30:]
        follower.read()
        assert not follower.stuck
    now += 2_500_000_000
    assert follower.stuck
    follower.close()
