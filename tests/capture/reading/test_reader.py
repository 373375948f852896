"""Reading goes on whatever the event loop does; what waits is bounded; an old channel is read to its end."""

import asyncio
import os
import struct
import threading
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import pytest

from qmon.capture.reading import kernel
from qmon.capture.reading import reader as module
from qmon.capture.reading.channel import Channel
from qmon.capture.reading.clock import Clock
from qmon.capture.reading.follower import Follower
from qmon.capture.reading.intake import Intake
from qmon.capture.reading.reader import FairLock, Reader
from qmon.packets.batch import Direction, FrameBatch

FILE_HEADER = struct.pack("=IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65536, 1)


@dataclass
class Scene:
    """A reader and the file that it reads, written to as QEMU does: opened by its path."""

    reader: Reader
    channel: Channel
    writer: int
    arrived: asyncio.Event
    troubled: asyncio.Event
    written: list[bytes] = field(default_factory=list)

    def write(self, count: int, size: int = 60) -> None:
        for _ in range(count):
            frame = len(self.written).to_bytes(4, "big") + bytes(size - 4)
            now = time.time_ns()
            stamp = struct.pack("=IIII", now // 10**9, now % 10**9 // 1000, size, size)
            os.write(self.writer, stamp + frame)
            self.written.append(frame)


def waiting(scene: Scene) -> int:
    return sum(len(batch) for batch in scene.reader._shelf)


def hold_the_loop_until(fact: Callable[[], bool]) -> None:
    """Keep the event loop from turning, as a terminal that takes no output does."""
    deadline = time.monotonic() + 30
    while not fact():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.001)


def open_channel() -> tuple[Channel, int]:
    fd = kernel.memory_file("test")
    writer = os.open(f"/proc/self/fd/{fd}", os.O_WRONLY)
    os.write(writer, FILE_HEADER)
    return Channel("u1", 0, "qmon-test", Direction.OUT, Follower(fd)), writer


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    arrived, troubled = asyncio.Event(), asyncio.Event()
    intake = Intake(Clock(tick_ns=1000))
    reader = Reader(intake, shelf_bytes=100_000, on_arrival=arrived.set, on_trouble=troubled.set)
    channel, writer = open_channel()
    reader.start()
    reader.add([channel])
    made = Scene(reader, channel, writer, arrived, troubled)
    yield made
    reader.stop()
    reader.finish()
    channel.close()
    os.close(writer)


async def take(scene: Scene, count: int) -> list[bytes]:
    got: list[bytes] = []
    async with asyncio.timeout(30):
        while len(got) < count:
            await scene.arrived.wait()
            scene.arrived.clear()
            batches = scene.reader.take()
            batch = FrameBatch.concatenate(batches)
            got += [bytes(batch.frame(i)) for i in range(len(batch))]
    return got


async def test_frames_are_read_while_the_event_loop_is_held_up(scene: Scene) -> None:
    scene.write(50)
    hold_the_loop_until(lambda: waiting(scene) == 50)
    scene.write(50)
    hold_the_loop_until(lambda: waiting(scene) == 100)
    assert await take(scene, 100) == scene.written


async def test_what_waits_for_the_consumer_is_bounded_and_nothing_is_lost(scene: Scene) -> None:
    scene.write(1)
    hold_the_loop_until(lambda: waiting(scene) == 1)
    size = os.fstat(scene.channel.follower.fd).st_size
    for _ in range(20):
        scene.write(20, size=1500)
        hold_the_loop_until(
            lambda: scene.reader._filled_bytes > 100_000 or waiting(scene) == len(scene.written)
        )
        if scene.reader._filled_bytes > 100_000:
            break
    assert scene.reader._filled_bytes > 100_000
    scene.write(100, size=1500)
    assert scene.channel.follower.read_bytes < os.fstat(scene.channel.follower.fd).st_size > size
    assert await take(scene, len(scene.written)) == scene.written


async def test_a_channel_that_is_retired_is_read_to_its_end(scene: Scene) -> None:
    scene.write(30)
    async with asyncio.timeout(30):
        last = await scene.reader.retire([scene.channel])
    assert last is not None
    assert abs(last - time.time_ns()) < 60 * 10**9
    assert await take(scene, 30) == scene.written
    scene.reader.add([scene.channel])


async def test_a_sealed_file_is_told_of_once(scene: Scene) -> None:
    scene.write(3)
    await take(scene, 3)
    scene.channel.follower.seal()
    scene.reader.stir()
    async with asyncio.timeout(30):
        await scene.troubled.wait()
    assert scene.channel.has_ended
    scene.troubled.clear()
    seen: list[int] = []
    turn = scene.reader._turn
    scene.reader._turn = lambda: (seen.append(1), turn())[1]  # type: ignore[method-assign]
    scene.reader.stir()
    hold_the_loop_until(lambda: len(seen) > 1 or (scene.reader.stir() or False))
    await asyncio.sleep(0)
    assert not scene.troubled.is_set()


async def test_a_sealed_file_is_told_of_while_nothing_is_taken(scene: Scene) -> None:
    scene.write(100, size=1500)
    hold_the_loop_until(lambda: scene.reader._filled_bytes > 100_000)
    scene.channel.follower.seal()
    async with asyncio.timeout(30):
        await scene.troubled.wait()
    assert await take(scene, 100) == scene.written


async def test_much_is_taken_in_pieces_and_the_rest_at_the_end(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_TAKE_BYTES", 1)
    for number in range(1, 4):
        scene.write(1)
        hold_the_loop_until(lambda number=number: len(scene.reader._shelf) == number)
    scene.arrived.clear()
    assert [len(batch) for batch in scene.reader.take()] == [1]
    assert scene.arrived.is_set()
    scene.reader.stop()
    assert [len(batch) for batch in scene.reader.take()] == [1, 1]


def test_who_waits_for_the_lock_gets_it_after_the_present_turn() -> None:
    lock = FairLock()
    turns: list[str] = []

    def wait() -> None:
        with lock:
            turns.append("other")

    with lock:
        other = threading.Thread(target=wait)
        other.start()
        while not lock._next.locked():
            time.sleep(0)
    for _ in range(100):
        with lock:
            turns.append("own")
    other.join()
    assert turns == ["other", *["own"] * 100]


async def test_a_failure_of_the_thread_reaches_the_consumer(scene: Scene) -> None:
    def fail() -> tuple[float, bool]:
        raise OSError("broken")

    scene.reader._turn = fail  # type: ignore[method-assign]
    scene.reader.stir()
    async with asyncio.timeout(30):
        await scene.arrived.wait()
    with pytest.raises(OSError, match="broken"):
        scene.reader.take()
