"""A tap's life without a QEMU: opened, made again after each kind of loss, moved to new files, closed."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from qmon.capture.reading import kernel
from qmon.capture.reading.channel import Full
from qmon.capture.taps.guardian import Guarded, Guardian
from qmon.capture.taps.tap import Loss, Tap
from qmon.capture.vm import VmCapture
from qmon.errors import Interrupted, Refused
from qmon.monitor.session import Session
from qmon.network.inspect import network_text
from qmon.packets.batch import Direction, Note
from tests.fakes.filters import FakeNetwork
from tests.fakes.guardian import FakeGuarded, FakeGuardian


@dataclass
class Scene:
    """A capture of a fake VM, and what was polled of it."""

    capture: VmCapture
    network: FakeNetwork
    frames: list[bytes] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)

    def poll(self) -> None:
        polled = self.capture.poll()
        self.frames += [bytes(batch.frame(row)) for batch in polled.batches for row in range(len(batch))]
        self.notes += polled.notes

    async def until(self, fact: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while True:
                self.poll()
                if fact():
                    return
                await self.capture.wait(0.05)

    @property
    def gaps(self) -> list[str]:
        return [note.text for note in self.notes if note.kind == "gap"]

    async def look(self) -> None:
        """As `Looking` does four times a second."""
        before = self.capture.ways()
        self.capture.look_for_filters(before, await network_text(self.capture.session))


@asynccontextmanager
async def capturing(network: FakeNetwork) -> AsyncIterator[Scene]:
    async with await Session.attach(network.monitor.address) as session:
        async with VmCapture(session) as capture:
            scene = Scene(capture, network)
            yield scene
        scene.poll()


async def test_frames_of_both_ways_come_and_nothing_stays(
    fake_network: FakeNetwork, fake_guardian: FakeGuardian
) -> None:
    async with capturing(fake_network) as scene:
        await scene.capture.tap("u1")
        assert len(fake_network.filters) == 2
        fake_network.write("u1", Direction.OUT, b"out")
        fake_network.write("u1", Direction.IN, b"in")
        await scene.until(lambda: len(scene.frames) == 2)
        assert sorted(scene.frames) == [b"in", b"out"]
        assert scene.capture.taps[0].packets == 2
    assert fake_network.filters == {}
    assert fake_network.chardevs == set()
    assert scene.capture.totals[0].packets == 2
    assert all(one.dropped for one in fake_guardian.held)
    assert scene.gaps == []


async def test_what_was_written_last_is_there_at_the_end(fake_network: FakeNetwork) -> None:
    async with capturing(fake_network) as scene:
        await scene.capture.tap("u1")
        fake_network.write("u1", Direction.OUT, b"last")
    assert scene.frames == [b"last"]


async def test_a_netdev_that_cannot_be_tapped_leaves_nothing(fake_network: FakeNetwork) -> None:
    async with capturing(fake_network) as scene:
        with pytest.raises(Refused, match="no such netdev"):
            await scene.capture.tap("u2")
        assert scene.capture.taps == ()
        await scene.capture.tap("u1")
    assert fake_network.filters == {}


@pytest.mark.parametrize(
    ("why", "said"),
    [
        (Full.LIMIT, "--limit"),
        (Full.MEMORY, "too little memory"),
        (Full.LENGTH, "ulimit -f"),
        (None, "somebody else sealed"),
    ],
)
async def test_after_a_seal_it_is_tapped_again_and_the_reason_told(
    fake_network: FakeNetwork, fake_guardian: FakeGuardian, why: Full | None, said: str
) -> None:
    async with capturing(fake_network) as scene:
        await scene.capture.tap("u1")
        first = set(fake_network.filters)
        fake_network.write("u1", Direction.OUT, b"before")
        if why is None:
            kernel.seal_growth(fake_guardian.held[0].fd)
        else:
            fake_guardian.seal(why)
        fake_network.write("u1", Direction.OUT, b"missing")
        await scene.until(lambda: bool(scene.gaps))
        assert said in scene.gaps[0]
        assert not first & set(fake_network.filters)
        fake_network.write("u1", Direction.OUT, b"after")
        await scene.until(lambda: len(scene.frames) == 2)
        assert scene.frames == [b"before", b"after"]
        assert scene.capture.taps[0].gaps == 1
        assert all(one.dropped for one in fake_guardian.held[:2])
    assert fake_network.filters == {}


async def test_after_a_seal_only_what_a_new_tap_needs_is_asked(
    fake_network: FakeNetwork, fake_guardian: FakeGuardian
) -> None:
    async with capturing(fake_network) as scene:
        await scene.capture.tap("u1")
        fake_network.monitor.sent.clear()
        fake_guardian.seal(Full.LIMIT)
        await scene.until(lambda: bool(scene.gaps))
        names = [name for name, _ in fake_network.monitor.sent]
    one = ["add-fd", "chardev-add", "chardev-remove", "object-add", "remove-fd"]
    assert names[:11] == ["object-add", *one, *one]


async def test_who_takes_what_there_is_gives_way_to_a_tap_that_is_made_again(
    fake_network: FakeNetwork, fake_guardian: FakeGuardian, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qmon.capture.vm._DEAF_S", 30)
    async with capturing(fake_network) as scene:
        await scene.capture.tap("u1")
        first = set(fake_network.filters)
        begun, begin = asyncio.Event(), scene.capture._begin_renewal

        def begin_and_tell(tap: Tap, loss: Loss) -> None:
            begin(tap, loss)
            begun.set()

        monkeypatch.setattr(scene.capture, "_begin_renewal", begin_and_tell)
        fake_guardian.seal(Full.LIMIT)
        await begun.wait()
        scene.capture.note("event", "there is something to poll")
        await scene.capture.wait(30)
        assert scene.capture._deaf == set()
        assert len(set(fake_network.filters) - first) == 2


async def test_filters_that_were_taken_away_are_made_again(fake_network: FakeNetwork) -> None:
    async with capturing(fake_network) as scene:
        await scene.capture.tap("u1")
        await scene.look()
        taken = next(iter(fake_network.filters))
        fake_network.remove(taken)
        await scene.look()
        await scene.until(lambda: bool(scene.gaps))
        assert "removed by another client" in scene.gaps[0]
        assert len(fake_network.filters) == 2
        assert taken not in fake_network.filters
        fake_network.write("u1", Direction.IN, b"again")
        await scene.until(lambda: scene.frames == [b"again"])


async def test_a_netdev_that_is_gone_is_broken_and_tried_again_with_a_new_session(
    fake_network: FakeNetwork,
) -> None:
    async with capturing(fake_network) as scene:
        await scene.capture.tap("u1")
        await scene.look()
        fake_network.delete("u1")
        await scene.look()
        await scene.until(lambda: bool(scene.gaps))
        assert scene.capture.taps[0].reason is not None
        assert "to the end" in scene.gaps[0]
        (tap,) = scene.capture._taps.values()
        await scene.until(lambda: not tap.renewing)
        fake_network.add("u1")
        await scene.capture.rebind(scene.capture.session)
        await scene.until(lambda: len(scene.gaps) == 2)
        assert scene.capture.taps[0].reason is None
        fake_network.write("u1", Direction.OUT, b"back")
        await scene.until(lambda: scene.frames == [b"back"])


async def test_a_session_that_comes_while_it_is_tapped_again_is_used(
    fake_network: FakeNetwork, fake_guardian: FakeGuardian
) -> None:
    fake_network.monitor.forgiving = True
    async with capturing(fake_network) as scene:
        await scene.capture.tap("u1")
        (tap,) = scene.capture._taps.values()
        lost, probe = scene.capture.session, asyncio.Event()
        monkeyed = lost.execute

        async def fail(command: str, *_: object, **__: object) -> object:
            probe.set()
            await again.wait()
            raise Interrupted(f"{command}: the monitor was lost")

        again = asyncio.Event()
        lost.execute = fail  # type: ignore[method-assign]
        fake_guardian.seal(Full.LIMIT)
        await scene.until(probe.is_set)
        lost.execute = monkeyed  # type: ignore[method-assign]
        async with await Session.attach(fake_network.monitor.address) as session:
            await scene.capture.rebind(session)
            again.set()
            await scene.until(lambda: tap.reason is None and not tap.renewing)
            fake_network.write("u1", Direction.OUT, b"again")
            await scene.until(lambda: scene.frames == [b"again"])
            await scene.capture.untap("u1")


async def test_new_files_lose_and_double_nothing(fake_network: FakeNetwork) -> None:
    frames = [number.to_bytes(4, "big") * 10 for number in range(300)]
    async with capturing(fake_network) as scene:
        await scene.capture.tap("u1")
        (tap,) = scene.capture._taps.values()
        for channel in tap.way.channels:
            channel.largest_bytes = 3000
        first = set(fake_network.filters)
        for number, frame in enumerate(frames):
            fake_network.write("u1", Direction.OUT if number % 3 else Direction.IN, frame)
            if number % 20 == 0:
                await scene.capture.wait(0.01)
                scene.poll()
        await scene.until(lambda: len(scene.frames) >= len(frames))
        assert not first & set(fake_network.filters)
        assert scene.capture.taps[0].packets == len(frames)
    assert scene.frames == frames
    assert scene.gaps == []
    assert fake_network.filters == {}


async def test_a_monitor_that_is_gone_at_the_end_leaves_sealed_files_and_a_word(
    fake_network: FakeNetwork, fake_guardian: FakeGuardian, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qmon.capture.vm._ENDING_TURNS", 1)
    async with capturing(fake_network) as scene:
        await scene.capture.tap("u1")
        watching = [one.fd for one in fake_network.filters.values()]
        await fake_network.monitor.hang_up()
        await scene.capture.session.wait_lost()
    assert all(kernel.growth_is_sealed(fd) for fd in watching)
    assert "could not be removed" in scene.gaps[0]


def test_the_fake_guardian_is_called_as_the_real_one() -> None:
    for fake, real in ((FakeGuardian, Guardian), (FakeGuarded, Guarded)):
        for name in ("hold", "check", "drop"):
            if hasattr(fake, name):
                mine, theirs = (inspect.signature(getattr(kind, name)).parameters for kind in (fake, real))
                assert [(one.name, one.kind, one.default) for one in mine.values()] == [
                    (one.name, one.kind, one.default) for one in theirs.values()
                ]
    assert isinstance(inspect.getattr_static(Guarded, "full"), property)
