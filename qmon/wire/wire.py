"""One netdev of a followed VM spoken on: frames are sent at a bounded rate, and heard by the tap on the same netdev.

Owns the injections (one a direction, made with the first frame that goes that way), the rate, and the match of what was
sent with what the capture shows of it: times of both are the VM's, so that a round trip is as exact as its clock.
Must never announce, answer or repeat anything by itself.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np

from qmon.capture.following import FollowedVm
from qmon.capture.sent import announcement
from qmon.capture.taps.filters import explained, is_unfilterable
from qmon.capture.vm import to_the_end
from qmon.errors import Refused
from qmon.network.inspect import inspect
from qmon.network.model import Network
from qmon.packets.batch import Direction, FrameBatch
from qmon.packets.copying import I64, Mask, clipped_items_at
from qmon.wire.host_injection import HostInjection
from qmon.wire.injection import Injection, Toward

PPS = 100
# How many frames may go at once before the rate is kept.
_BURST = 10
# Other qmons' captures hear what will come before it comes.
_ANNOUNCED_S = 0.002
# Of frames that the capture never shows, and of those that nobody takes from an ear, only so many are kept.
_KEPT = 4096
_MAC_WEIGHTS = 256 ** np.arange(5, -1, -1, dtype=np.int64)


@dataclass(slots=True)
class Sent:
    """A frame that was handed to QEMU at `time_ns` (UTC); once the capture has shown it, `time_ns` is the capture's."""

    frame: bytes
    toward: Toward
    time_ns: int
    seen: bool = False


@dataclass(frozen=True, slots=True)
class Heard:
    """A frame of the wire: `time_ns` is UTC, `direction` as seen from the guest."""

    frame: bytes
    time_ns: int
    direction: Direction


class Ear:
    """Frames for some MAC addresses, as they come; made by `Wire.hear`."""

    def __init__(self, macs: frozenset[bytes] | None, *, group: bool) -> None:
        self.macs = None if macs is None else np.array([int.from_bytes(mac) for mac in macs], np.int64)
        self.group = group
        self._frames: deque[Heard] = deque(maxlen=_KEPT)
        self._came = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Ear with {len(self._frames)} frames>"

    def put(self, heard: Heard) -> None:
        """Take in a frame."""
        self._frames.append(heard)
        self._came.set()

    async def next(self, timeout_s: float | None = None) -> Heard | None:
        """Return the next frame; None when none came in time."""
        try:
            async with asyncio.timeout(timeout_s):
                while not self._frames:
                    self._came.clear()
                    await self._came.wait()
        except TimeoutError:
            return None
        return self._frames.popleft()


class Wire:
    """A netdev spoken on, as `async with`; leaving takes everything out of the VM again.

    `header` tells what the netdev wants before a frame. Whoever polls the followed VM makes the ears hear.
    """

    def __init__(
        self, vm: FollowedVm, netdev: str, *, header: Callable[[], bytes] = bytes, pps: float | None = PPS
    ) -> None:
        self.vm = vm
        self.netdev = netdev
        self._header = header
        self.sent = 0
        self._pps = pps
        self._injections: dict[Toward, Injection | HostInjection] = {}
        self._looked_at: Network | None = None
        self._opening = asyncio.Lock()
        self._ears: list[Ear] = []
        self._awaited: dict[tuple[Direction, bytes], deque[Sent]] = {}
        self._order: deque[Sent] = deque()
        self._next_s = 0.0
        self._unhook: Callable[[], None] = lambda: None

    def __repr__(self) -> str:
        return f"<Wire on {self.netdev}, {self.sent} frames sent>"

    async def __aenter__(self) -> Self:
        await self.vm.tap(self.netdev)
        self._unhook = self.vm.on_frames(self._see)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._unhook()
        await to_the_end(self._close())

    async def open(self, *toward: Toward) -> None:
        """Make what frames go through; else the first frame that goes that way does it."""
        for one in toward:
            await self._injection(one)

    async def send(self, toward: Toward, frame: bytes) -> Sent:
        """Put a frame on the wire, when the rate allows; `Refused` says why that cannot be."""
        return (await self.send_all(toward, [frame]))[0]

    async def send_all(self, toward: Toward, frames: Sequence[bytes]) -> list[Sent]:
        """Put some frames on the wire, one after the other, announced as ours before the first; at most 64."""
        injection = await self._injection(toward)
        await self._keep_place(injection)
        if self.vm.session is not None:
            await self.vm.session.announce(announcement(self.netdev, toward.direction, frames))
            await asyncio.sleep(_ANNOUNCED_S)
        sent = []
        for frame in frames:
            await self._keep_rate()
            sent.append(Sent(frame, toward, time.time_ns()))
            self._await(sent[-1])
            header = b"" if isinstance(injection, HostInjection) else self._header()
            await injection.send(header + frame)
            self.sent += 1
        return sent

    @contextmanager
    def hear(self, *macs: bytes, group: bool = False, everything: bool = False) -> Iterator[Ear]:
        """Hear, for the length of the block, frames to these MAC addresses, with `group` those to many as well."""
        ear = Ear(None if everything else frozenset(macs), group=group)
        self._ears.append(ear)
        try:
            yield ear
        finally:
            self._ears.remove(ear)

    # Sending

    async def _injection(self, toward: Toward) -> Injection | HostInjection:
        async with self._opening:
            injection = self._injections.get(toward)
            if injection is None:
                try:
                    return await self._opened(toward, Injection(lambda: self.vm.session, self.netdev, toward))
                except Refused as refusal:
                    if not is_unfilterable(refusal) or self.vm.session is None:
                        raise
                    network, pid = await inspect(self.vm.session), self.vm.known.pid
                    by_host = HostInjection(
                        network, self.netdev, pid, toward, explained(self.netdev, refusal)
                    )
                    return await self._opened(toward, by_host)
            return injection

    async def _opened(
        self, toward: Toward, injection: Injection | HostInjection
    ) -> Injection | HostInjection:
        # Kept before it is there: what a cancelled opening made is closed with the others.
        self._injections[toward] = injection
        try:
            await to_the_end(injection.open())
        except Refused:
            del self._injections[toward]
            raise
        return injection

    async def _keep_place(self, injection: Injection | HostInjection) -> None:
        """Go before filters that came after ours, once for each look at the network."""
        network = self.vm.known.network
        if network is self._looked_at or isinstance(injection, HostInjection):
            return
        self._looked_at = network
        netdev = network.netdev(self.netdev)
        for one in self._injections.values():
            if isinstance(one, Injection) and netdev is not None and one.is_behind(netdev.filters):
                await to_the_end(one.move())

    async def _keep_rate(self) -> None:
        if self._pps is None:
            return
        now = asyncio.get_running_loop().time()
        self._next_s = max(self._next_s, now - _BURST / self._pps) + 1 / self._pps
        if self._next_s > now:
            await asyncio.sleep(self._next_s - now)

    async def _close(self) -> None:
        async with self._opening:
            for injection in self._injections.values():
                await injection.close()
            self._injections.clear()

    # Hearing

    def _await(self, sent: Sent) -> None:
        key = sent.toward.direction, sent.frame
        self._awaited.setdefault(key, deque()).append(sent)
        self._order.append(sent)
        while len(self._order) > _KEPT:
            self._forget(self._order.popleft())

    def _forget(self, sent: Sent) -> None:
        key = sent.toward.direction, sent.frame
        waiting = self._awaited.get(key)
        if waiting and waiting[0] is sent:
            waiting.popleft()
            if not waiting:
                del self._awaited[key]

    def _see(self, batch: FrameBatch) -> None:
        names = [interface.name for interface in self.vm.interfaces]
        if self.netdev not in names:
            return
        batch = batch.select(batch.interface == names.index(self.netdev))
        if not len(batch) or not (self._ears or self._awaited):
            return
        heads = clipped_items_at(batch.data, 6, batch.offset).reshape(-1, 6)
        macs = heads @ _MAC_WEIGHTS
        ours = self._may_be_ours(batch)
        for index in np.flatnonzero(ours):
            self._recognise(batch, int(index))
        for ear in self._ears:
            for index in np.flatnonzero(_wanted(ear, macs, heads[:, 0])):
                ear.put(_heard(batch, int(index)))

    def _may_be_ours(self, batch: FrameBatch) -> Mask:
        lengths = np.array([*{len(frame) for _, frame in self._awaited}], np.int64)
        mask: Mask = np.isin(batch.length, lengths)
        return mask

    def _recognise(self, batch: FrameBatch, index: int) -> None:
        heard = _heard(batch, index)
        waiting = self._awaited.get((heard.direction, heard.frame))
        if waiting:
            sent = waiting[0]
            sent.time_ns, sent.seen = heard.time_ns, True
            self._forget(sent)
            self._order.remove(sent)


def _wanted(ear: Ear, macs: I64, first: np.ndarray[tuple[int], np.dtype[np.uint8]]) -> Mask:
    if ear.macs is None:
        return np.ones(len(macs), np.bool_)
    mask: Mask = np.isin(macs, ear.macs)
    if ear.group:
        mask |= (first & 1).astype(np.bool_)
    return mask


def _heard(batch: FrameBatch, index: int) -> Heard:
    return Heard(bytes(batch.frame(index)), int(batch.time_ns[index]), Direction(int(batch.direction[index])))


@asynccontextmanager
async def polled(vm: FollowedVm) -> AsyncIterator[None]:
    """Poll a followed VM for the length of the block, where nobody else does."""

    async def poll() -> None:
        while True:
            vm.poll()
            await vm.wait(0.25)

    task = asyncio.create_task(poll(), name="hear what comes back")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
