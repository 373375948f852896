"""The middle of a packet's way without a QEMU: memory files written as QEMU's filters write them, read and timed."""

import os
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pytest

from qmon.capture.reading import host_clock, kernel
from qmon.capture.reading.channel import Channel
from qmon.capture.reading.clock import HOLD_NS, Clock
from qmon.capture.reading.follower import Follower
from qmon.capture.reading.headers import HeaderFinder
from qmon.capture.reading.intake import Intake
from qmon.packets.batch import Direction, FrameBatch

SECOND = 10**9
FILE_HEADER = struct.pack("=IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65536, 1)
MAC = bytes.fromhex("525400123456")
# QEMU's clock is behind the host's by this much, and a whole second more in the second filter.
BEHIND_NS = 3 * 86_400 * SECOND + 123_456_000


@dataclass
class Scene:
    """A VM with two filters on one netdev; `now` is the host's time, which passes only when it is told to."""

    now: int = 1_700_000_000 * SECOND
    monotonic: int = 5_000 * SECOND
    stands_for: int = 0
    intake: Intake = field(default_factory=lambda: Intake(Clock(tick_ns=1000)))
    channels: dict[Direction, Channel] = field(default_factory=dict)

    def pass_time(self, ns: int) -> None:
        self.now += ns
        self.monotonic += ns

    def tap(self, direction: Direction, headers: HeaderFinder | None = None) -> Channel:
        fd = kernel.memory_file("test")
        os.write(fd, FILE_HEADER)
        channel = Channel("u1", 0, f"qmon-{direction}", direction, Follower(fd), headers=headers)
        self.channels[direction] = channel
        self.intake.add(channel)
        return channel

    def write(self, direction: Direction, frame: bytes, *, seconds: int = 0) -> int:
        """As QEMU writes a frame now; the host's time of it."""
        stamp = self.now - BEHIND_NS - self.stands_for + seconds * SECOND
        record = struct.pack("=IIII", stamp // SECOND, stamp % SECOND // 1000, len(frame), len(frame))
        fd = self.channels[direction].follower.fd
        os.write(fd, record + frame)
        os.utime(fd, ns=(self.now, self.now))
        return self.now

    def settled(self) -> FrameBatch:
        """What comes once enough time has passed to be sure of the clock."""
        batches = self.intake.poll()
        self.pass_time(HOLD_NS)
        batches += self.intake.poll() + self.intake.poll()
        return FrameBatch.concatenate(batches)


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    made = Scene()
    monkeypatch.setattr(time, "time_ns", lambda: made.now)
    monkeypatch.setattr(time, "monotonic_ns", lambda: made.monotonic)
    made.intake = Intake(Clock(tick_ns=1000))
    yield made
    for channel in made.channels.values():
        os.close(channel.follower.fd)


def frames(batch: FrameBatch) -> list[bytes]:
    return [bytes(batch.frame(index)) for index in range(len(batch))]


def ethernet(number: int) -> bytes:
    return MAC + bytes.fromhex("525500000002") + b"\x08\x00" + number.to_bytes(46, "big")


def test_both_directions_come_in_order_at_the_hosts_times(scene: Scene) -> None:
    scene.tap(Direction.OUT)
    scene.tap(Direction.IN)
    times = []
    for number in range(6):
        direction = Direction.OUT if number % 2 == 0 else Direction.IN
        # The second filter was made a second later: its stamps are a second ahead.
        times.append(scene.write(direction, ethernet(number), seconds=number % 2))
        scene.intake.read_now()
        scene.pass_time(1_000_000)
    batch = scene.settled()
    assert frames(batch) == [ethernet(number) for number in range(6)]
    assert batch.direction.tolist() == [Direction.OUT, Direction.IN] * 3
    assert [abs(int(mine) - true) < 2_000 for mine, true in zip(batch.time_ns, times, strict=True)] == [
        True
    ] * 6
    assert scene.channels[Direction.OUT].packets == scene.channels[Direction.IN].packets == 3


def test_half_a_frame_waits_for_its_other_half(scene: Scene) -> None:
    channel = scene.tap(Direction.OUT)
    scene.write(Direction.OUT, ethernet(1))
    size = os.fstat(channel.follower.fd).st_size
    whole = os.pread(channel.follower.fd, size, 0)
    os.ftruncate(channel.follower.fd, size - 10)
    assert scene.intake.poll() == []
    assert not scene.intake.pending
    os.pwrite(channel.follower.fd, whole[-10:], size - 10)
    assert frames(scene.settled()) == [ethernet(1)]


def test_frames_after_the_clock_went_back_wait_for_no_others(scene: Scene) -> None:
    scene.tap(Direction.OUT)
    scene.write(Direction.OUT, ethernet(0))
    assert frames(scene.settled()) == [ethernet(0)]
    # A snapshot is loaded, and nothing more is said after these two are read at once.
    scene.pass_time(SECOND)
    scene.write(Direction.OUT, ethernet(1))
    scene.stands_for = 5 * SECOND
    true = scene.write(Direction.OUT, ethernet(2))
    batch = scene.settled()
    assert frames(batch) == [ethernet(1), ethernet(2)]
    assert abs(int(batch.time_ns[1]) - true) < 2_000


def test_a_filter_whose_seconds_are_not_sure_waits_for_the_clock_only(scene: Scene) -> None:
    out = scene.tap(Direction.OUT)
    scene.tap(Direction.IN)
    scene.write(Direction.OUT, ethernet(0))
    # The next is being written: nothing is known of when the one before it was.
    os.write(out.follower.fd, bytes(8))
    scene.write(Direction.IN, ethernet(1), seconds=7)
    batch = scene.settled()
    assert frames(batch) == [ethernet(0), ethernet(1)]
    assert np.ptp(batch.time_ns) < SECOND // 2


def test_a_stop_a_late_frame_and_a_resume(scene: Scene) -> None:
    scene.tap(Direction.OUT)
    before = scene.write(Direction.OUT, ethernet(0))
    assert len(scene.settled()) == 1
    scene.intake.hear("STOP", scene.now)
    assert scene.intake.stopped
    scene.pass_time(60 * SECOND)
    scene.stands_for = 60 * SECOND
    # It went on and wrote before anybody told that it went on.
    went_on = scene.now
    scene.pass_time(1_000_000)
    late = scene.write(Direction.OUT, ethernet(1))
    assert scene.intake.poll() == []
    scene.intake.hear("RESUME", went_on)
    batch = scene.settled()
    assert frames(batch) == [ethernet(1)]
    assert abs(int(batch.time_ns[0]) - late) < 2_000_000
    assert late - before > 60 * SECOND
    assert [epoch.reason for epoch in scene.intake.clock.epochs] == [
        "attach",
        "the VM was stopped and went on",
    ]


@pytest.mark.parametrize("step", [3600 * SECOND, -3600 * SECOND], ids=["on", "back"])
def test_a_step_of_the_hosts_clock_is_noticed(scene: Scene, step: int) -> None:
    scene.tap(Direction.OUT)
    scene.write(Direction.OUT, ethernet(0))
    assert len(scene.settled()) == 1
    scene.now += step  # The wall clock is set; the monotonic clock and the VM's go on as before.
    scene.stands_for = step
    true = scene.write(Direction.OUT, ethernet(1))
    batch = scene.settled()
    assert frames(batch) == [ethernet(1)]
    assert abs(int(batch.time_ns[0]) - true) < 2_000
    assert [epoch.reason for epoch in scene.intake.clock.epochs] == [
        "attach",
        f"the host's clock was moved by {step / SECOND:+.3f} s",
    ]


def test_one_reading_that_was_interrupted_is_no_step(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    readings = iter([10**12, scene.now - scene.monotonic])
    monkeypatch.setattr(host_clock, "difference_ns", lambda: next(readings))
    scene.intake.poll()
    assert [epoch.reason for epoch in scene.intake.clock.epochs] == ["attach"]
    assert next(readings, None) is None


def test_headers_before_the_frames_are_taken_off(scene: Scene) -> None:
    scene.tap(Direction.OUT, HeaderFinder(MAC))
    # No header before there is a driver, 10 bytes for a boot ROM, 12 for Linux.
    for size in (0, 10, 12):
        scene.write(Direction.OUT, bytes(size) + ethernet(size))
    assert frames(scene.settled()) == [ethernet(size) for size in (0, 10, 12)]


def test_a_frame_is_cut_to_what_was_asked_for_and_keeps_its_length(scene: Scene) -> None:
    scene.intake = Intake(Clock(tick_ns=1000), snaplen=20)
    scene.tap(Direction.OUT)
    scene.write(Direction.OUT, ethernet(1))
    batch = scene.settled()
    assert frames(batch) == [ethernet(1)[:20]]
    assert batch.length.tolist() == [60]


def test_what_is_still_held_comes_at_the_end(scene: Scene) -> None:
    scene.tap(Direction.OUT)
    scene.write(Direction.OUT, ethernet(1))
    scene.intake.hear("STOP", scene.now)
    scene.pass_time(1_000_000)
    scene.write(Direction.OUT, ethernet(2))
    assert scene.intake.poll() == []
    batch = FrameBatch.concatenate(scene.intake.finish())
    assert frames(batch) == [ethernet(1), ethernet(2)]
    assert scene.intake.channels == []
