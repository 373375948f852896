"""Every tap of one VM: its clock, its guardian, its limit.

Owns the life of the taps: made on request, made again after the guardian sealed them, removed on every way out. Must
never change the VM in any other way, and never lose a frame without a note and a count.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Self

from qmon.capture.describe import describe
from qmon.capture.reading import kernel
from qmon.capture.reading.clock import Clock
from qmon.capture.reading.headers import HeaderFinder
from qmon.capture.reading.intake import Intake
from qmon.capture.reading.waking import Waking, to_the_end
from qmon.capture.taps.filters import Place
from qmon.capture.taps.guardian import guardian
from qmon.capture.taps.host_frames import HostFrames
from qmon.capture.taps.ids import Owner
from qmon.capture.taps.state import OpenTap, Polled, TapState, gap_text
from qmon.capture.taps.sweep import Swept, sweep
from qmon.capture.taps.ways import change_files, open_way, remove_way, vm_has_gone
from qmon.errors import QmonError, Refused
from qmon.network.inspect import inspect
from qmon.network.model import Network
from qmon.packets.batch import DEFAULT_SNAPLEN, FrameBatch, Interface, Note

if TYPE_CHECKING:
    from pathlib import Path

    from qmon.monitor.discovery import Vm
    from qmon.monitor.session import Event, Session

__all__ = ["LIMIT_BYTES", "Polled", "TapState", "VmCapture"]

LIMIT_BYTES = 64 << 20
_SOON_S = 0.02
_HEARING_S = 0.5
# A host interface's frames are fetched this often.
_HOST_S = 0.05
# How far behind the moment of a poll frames may be that the next one hands out: QEMU may be put aside between the
# stamp and the write, its events are heard a little after they happened, an epoch's first frames are held.
_SETTLED_NS, _UNSETTLED_NS = 150_000_000, 400_000_000
_numbers = itertools.count()
_keys = itertools.count()


class VmCapture:
    """The capture of one VM, as `async with`; leaving removes every tap, and one more `poll` gives the rest.

    `events` makes notes of the VM's QMP events. `raw_time` keeps QEMU's own stamps. With `sink_folder` QEMU writes to
    files there instead of to memory of ours.
    """

    def __init__(
        self,
        session: Session,
        vm: Vm | None = None,
        *,
        snaplen: int = DEFAULT_SNAPLEN,
        limit_bytes: int = LIMIT_BYTES,
        raw_time: bool = False,
        events: bool = False,
        sweep_foreign: bool = False,
        remote_mirror: bool = False,
        sink_folder: Path | None = None,
    ) -> None:
        self.clock = Clock(steady=vm is None or "-icount" not in vm.argv, tick_ns=kernel.write_tick_ns())
        self.swept = Swept()
        self.shut_down = False
        self._session = session
        self._vm = vm
        self._snaplen = snaplen
        self._limit_bytes = limit_bytes
        self._raw_time = raw_time
        self._remote_mirror = remote_mirror and not session.can_pass_descriptors
        self._sink_folder = sink_folder
        self._tell_events = events
        self._sweep_foreign = sweep_foreign
        self._have_swept = False
        self._key = next(_keys)
        self._taps: dict[str, OpenTap] = {}
        self._ended: list[TapState] = []
        self._interfaces: list[Interface] = []
        self._notes: list[Note] = []
        self._leftovers: list[FrameBatch] = []
        self._intake = Intake(self.clock, snaplen=snaplen, raw_time=raw_time or self._remote_mirror)
        self._waking = Waking(self._look_now)
        self._changing = asyncio.Lock()
        self._stack = AsyncExitStack()
        self._tasks: asyncio.TaskGroup | None = None
        self._life: asyncio.Task[None] | None = None
        self._host_frames = HostFrames()
        self._closed = False
        self._adopted: list[Session] = []
        self._polled_ns = 0

    def __repr__(self) -> str:
        return f"<VmCapture {self._session!r} taps={sorted(self._taps)}>"

    async def __aenter__(self) -> Self:
        self._tasks = await self._stack.enter_async_context(asyncio.TaskGroup())
        self._life = self._tasks.create_task(
            self._follow_events(self._session), name="time line of the capture"
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.finish()

    # What a front end asks for

    @property
    def interfaces(self) -> tuple[Interface, ...]:
        """Where frames come from; a batch's `interface` is an index into it. It only grows."""
        times = self._describe_times()
        return tuple(
            Interface(
                name=one.name,
                link_type=one.link_type,
                snaplen=self._snaplen,
                description=f"{one.description}; {times}" if one.description else times,
                mac=one.mac,
            )
            for one in self._interfaces
        )

    @property
    def session(self) -> Session:
        """The monitor the taps were made through; a new one after `rebind`."""
        return self._session

    @property
    def taps(self) -> tuple[TapState, ...]:
        """The taps that are open."""
        return tuple(tap.state() for tap in self._taps.values())

    @property
    def totals(self) -> tuple[TapState, ...]:
        """All taps there ever were, those that ended too."""
        return (*self._ended, *self.taps)

    async def tap(self, netdev: str) -> TapState:
        """Start to capture on a netdev; `Refused` says why not and what would help.

        Once begun it goes to its end, also where it is cancelled: half of it would leave things in the VM.
        """
        await to_the_end(self._tap(netdev))
        tap = self._taps.get(netdev)
        if tap is None:
            raise Refused(f"the tap on {netdev} was taken away as soon as it was there")
        return tap.state()

    async def _tap(self, netdev: str) -> None:
        async with self._changing:
            if netdev in self._taps:
                return
            await self._sweep_once()
            network = await inspect(self._session)
            about = describe(network, netdev, self._session.version, mirrored=self._remote_mirror)
            known = [interface.name for interface in self._interfaces]
            tap = OpenTap(netdev, known.index(netdev) if netdev in known else len(known))
            tap.headers = HeaderFinder(about.mac) if about.may_have_headers else None
            await self._open(tap, network)
            if netdev not in known:
                text = about.text + (f", captured on the host's {tap.host.name}" if tap.host else "")
                self._interfaces.append(Interface(name=netdev, description=text, mac=about.mac))
            self._taps[netdev] = tap

    async def untap(self, netdev: str) -> None:
        """End the capture of a netdev; what QEMU wrote is still handed out by `poll`."""
        await to_the_end(self._untap(netdev))

    async def _untap(self, netdev: str) -> None:
        async with self._changing:
            tap = self._taps.pop(netdev, None)
            if tap is not None:
                await self._close(tap)
                self._ended.append(tap.state())

    @property
    def complete_until(self) -> int:
        """The time (UTC ns) up to which all frames have been handed out; where that is not known, long ago."""
        unsettled = self._intake.pending or self._intake.stopped
        return self._polled_ns - (_UNSETTLED_NS if unsettled else _SETTLED_NS)

    def poll(self) -> Polled:
        """Return what came since the last poll; never blocks."""
        self._polled_ns = time.time_ns()
        batches = self._leftovers
        self._leftovers = []
        if not self._closed:
            self._waking.forget()
            batches += self._join(self._intake.poll(), self._taps.values())
            self._look_after_taps()
            self._waking.listen(self.clock.current.offset is None)
        notes, self._notes = tuple(self._notes), []
        return Polled(FrameBatch.concatenate(batches) if batches else None, notes)

    async def wait(self, timeout_s: float) -> None:
        """Wait until there may be frames, at most `timeout_s`."""
        if self._closed:
            return
        if self._host_frames.in_use:
            timeout_s = min(timeout_s, _HOST_S)
        if self._intake.pending:
            timeout_s = min(timeout_s, _SOON_S)
        await self._waking.wait(timeout_s)

    async def hear_out(self) -> None:
        """Wait, for a moment, until the events are heard that came before the monitor was lost."""
        if self._life is not None:
            await asyncio.wait([self._life], timeout=_HEARING_S)

    def adopt(self, sessions: Sequence[Session]) -> None:
        """Close these sessions when the capture is finished."""
        self._adopted += sessions

    async def finish(self) -> None:
        """End every tap, come what may; one more `poll` gives what they held. Leaving the block does it too."""
        if self._closed:
            return
        self._closed = True
        assert self._life is not None
        self._life.cancel()
        try:
            await self._stack.__aexit__(None, None, None)
        finally:
            await to_the_end(self._remove_all())

    async def rebind(self, session: Session) -> None:
        """Go on with a new session on the same VM, after the old one was lost; taps are not touched."""
        assert self._tasks is not None
        assert self._life is not None
        self._life.cancel()
        self._session = session
        self._life = self._tasks.create_task(self._follow_events(session), name="time line of the capture")
        self.note("monitor", "the monitor is back")
        for tap in self._taps.values():
            if tap.reason:
                tap.reason, tap.renewing = None, True
                self._tasks.create_task(self._renew(tap), name=f"tap {tap.netdev} again")

    # Taps

    def _place(self) -> Place:
        number, owner = next(_numbers), Owner.this_process()
        pid = self._vm.pid if self._vm else self._session.peer_pid
        return Place(
            session=self._session,
            pid=pid,
            key=self._key,
            limit_bytes=self._limit_bytes,
            snaplen=self._snaplen,
            folder=self._sink_folder,
            name=lambda purpose: owner.name(number, purpose),
        )

    async def _open(self, tap: OpenTap, network: Network | None) -> None:
        await open_way(self._place(), tap, network, mirrored=self._remote_mirror)
        if tap.host is not None:
            self._host_frames.begin()
        for channel in tap.channels:
            self._waking.add(channel.follower.fd)
            self._intake.add(channel)

    async def _close(self, tap: OpenTap) -> None:
        place = self._place()
        if not await remove_way(place, tap) and not await vm_has_gone(place.pid, lambda: self.shut_down):
            self.note(
                "gap",
                f"the monitor is gone: the filters of {tap.netdev} could not be removed; they are sealed and write "
                "no more, and the next qmon that captures here removes them",
            )
        for channel in tap.channels:
            self._intake.remove(channel)
            self._waking.remove(channel.follower.fd)
        if tap.host is not None:
            self._leftovers += self._join(None, [tap], last=True)
        tap.retire()

    async def _remove_all(self) -> None:
        async with self._changing:
            for netdev in list(self._taps):
                tap = self._taps.pop(netdev)
                try:
                    await self._close(tap)
                except (QmonError, OSError) as problem:
                    # The others have to go as well; this one is the next capture's to sweep.
                    self.note("gap", f"the tap on {netdev} did not end in order: {problem}")
                self._ended.append(tap.state())
        batch = self._intake.finish()
        if batch is not None:
            self._leftovers.append(batch)
        self._waking.close()
        for session in self._adopted:
            await session.close()

    async def _sweep_once(self) -> None:
        if self._have_swept:
            return
        self._have_swept = True
        self.swept = await sweep(self._session, foreign_too=self._sweep_foreign)
        for line in self.swept.lines():
            self.note("change", line)

    def _join(
        self, batch: FrameBatch | None, taps: Iterable[OpenTap], *, last: bool = False
    ) -> list[FrameBatch]:
        return self._host_frames.join(batch, taps, complete_until=self.complete_until, last=last)

    # Looking after them

    def _look_after_taps(self) -> None:
        guardian().check()
        assert self._tasks is not None
        for tap in self._taps.values():
            if tap.renewing or tap.reason or not tap.channels:
                continue
            if any(channel.follower.sealed or channel.follower.stuck for channel in tap.channels):
                tap.renewing = True
                self._tasks.create_task(self._renew(tap), name=f"tap {tap.netdev} again")
            elif not tap.keeps_files and any(channel.is_long for channel in tap.channels):
                tap.renewing = True
                self._tasks.create_task(self._change_files(tap), name=f"new files for {tap.netdev}")

    async def _change_files(self, tap: OpenTap) -> None:
        """Go on in new files before QEMU may not write to the old ones any more, without losing a packet."""
        async with self._changing:
            if self._taps.get(tap.netdev) is tap:
                try:
                    await to_the_end(change_files(self._place(), tap, self._intake, self._waking))
                except QmonError:
                    # The old ones serve until they are full; then the tap is made again, and what is lost is told.
                    tap.keeps_files = True
            tap.renewing = False

    async def _renew(self, tap: OpenTap) -> None:
        """Tap again after the guardian sealed the memfds, or QEMU gave up writing; note what is missing."""
        began = time.time_ns()
        async with self._changing:
            if self._taps.get(tap.netdev) is not tap:
                return
            stuck = any(channel.follower.stuck for channel in tap.channels)
            since = tap.lost_since or self._last_time(tap) or began
            try:
                await self._close(tap)
                await self._open(tap, None)
            except QmonError as problem:
                tap.reason = problem.message
            tap.renewing = False
        tap.lost_since = since if tap.reason else None
        tap.gaps += 1
        text = gap_text(tap.netdev, since, None if tap.reason else time.time_ns(), stuck=stuck)
        self.note("gap", text, interface=tap.interface)

    def _last_time(self, tap: OpenTap) -> int | None:
        """Return when the last frame of a tap was, by draining it."""
        self._intake.drain(list(tap.channels))
        return self._intake.last_time(list(tap.channels))

    def _look_now(self) -> bool:
        """Read at once while the clock needs to see frames early; say whether it still does."""
        if self.clock.current.offset is not None:
            return False
        self._intake.read_now()
        return True

    # The time line

    async def _follow_events(self, session: Session) -> None:
        async for event in session.events():
            self._hear(event)
            if self._tell_events:
                details = ", ".join(f"{key}={value}" for key, value in event.data.items())
                self.note("event", f"{event.name} {details}".rstrip(), time_ns=event.time_ns)

    def _hear(self, event: Event) -> None:
        self._intake.hear(event.name, event.time_ns or time.time_ns())
        self.shut_down = self.shut_down or event.name == "SHUTDOWN"
        self._waking.stir()

    def note(self, kind: str, text: str, *, time_ns: int | None = None, interface: int | None = None) -> None:
        """Add to what the next poll says; at this moment unless a time (UTC ns) is given."""
        self._notes.append(Note(time_ns or time.time_ns(), text, kind, interface))
        self._waking.stir()

    def _describe_times(self) -> str:
        if self._remote_mirror:
            return "mirrored from another host: times are those of arrival here"
        return "times as QEMU stamped them" if self._raw_time else self.clock.describe()
