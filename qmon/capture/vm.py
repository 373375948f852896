"""The taps of one VM: its clock, its limit, and their life.

Its states: taps are made (`tap`), made again where QEMU stopped writing (`_renew`), and ended (`untap`, `finish`), one
at a time under `_changing`; the reader reads meanwhile. `rebind` gives it another session on the same VM when the first
was lost. After `finish` there are no taps, and one more `poll` gives the rest.

Must never change the VM in any other way, and never lose a frame without a note and a count.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self

from qmon.capture.describe import Description, describe
from qmon.capture.reading import kernel
from qmon.capture.reading.clock import Clock
from qmon.capture.reading.headers import HeaderFinder
from qmon.capture.reading.intake import Intake
from qmon.capture.reading.reader import Reader
from qmon.capture.taps.filters import TapContext
from qmon.capture.taps.guardian import guardian
from qmon.capture.taps.sweep import Swept, sweep
from qmon.capture.taps.tap import Loss, Tap, TapState
from qmon.errors import QmonError, Refused
from qmon.monitor.processes import start_ticks
from qmon.network.inspect import inspect
from qmon.network.model import Network
from qmon.packets.batch import DEFAULT_SNAPLEN, FrameBatch, Interface, Note

if TYPE_CHECKING:
    from pathlib import Path

    from qmon.monitor.discovery import Vm
    from qmon.monitor.events import Event
    from qmon.monitor.protocol import Monitor

__all__ = ["DEFAULTS", "LIMIT_BYTES", "CaptureOptions", "Polled", "TapState", "VmCapture"]

LIMIT_BYTES = 1 << 30
# What may wait in our own memory for the consumer, when QEMU's is read.
_SHELF_BYTES = 64 << 20
_HEARING_S, _DEAF_S = 0.5, 0.2
_ENDING_TURNS, _TURN_S = 25, 0.02
_keys = itertools.count()


@dataclass(frozen=True, slots=True)
class CaptureOptions:
    """How frames are captured.

    `limit_bytes` is what may wait in QEMU's memory, where a quarter of what is free is not less. `raw_time` keeps
    QEMU's own stamps, `events` makes notes of QMP events, `sweep_foreign` also removes what qmons elsewhere left,
    `remote_mirror` allows a mirror over TCP. With `sink_folder` QEMU writes to files there instead of to memory of
    ours.
    """

    snaplen: int = DEFAULT_SNAPLEN
    limit_bytes: int = LIMIT_BYTES
    raw_time: bool = False
    events: bool = True
    sweep_foreign: bool = False
    remote_mirror: bool = False
    sink_folder: Path | None = None


DEFAULTS = CaptureOptions()


@dataclass(frozen=True, slots=True)
class Polled:
    """What came since the last poll: frames in true-time order, and what is to be said about them."""

    batches: tuple[FrameBatch, ...] = ()
    notes: tuple[Note, ...] = ()

    @property
    def batch(self) -> FrameBatch | None:
        """The frames as one batch, None if there are none."""
        return FrameBatch.concatenate(self.batches) if self.batches else None


class VmCapture:
    """The capture of one VM, as `async with`; leaving removes every tap, and one more `poll` gives the rest."""

    def __init__(self, session: Monitor, vm: Vm | None = None, options: CaptureOptions = DEFAULTS) -> None:
        self.clock = Clock(steady=vm is None or "-icount" not in vm.argv, tick_ns=kernel.write_tick_ns())
        self.swept: Swept | None = None
        self.shut_down = False
        self._session = session
        self._vm = vm
        self._options = options
        self._mirrored = options.remote_mirror and not session.can_pass_descriptors
        self._key = next(_keys)
        self._taps: dict[str, Tap] = {}
        self._ended: list[TapState] = []
        self._interfaces: list[Interface] = []
        self._notes: list[Note] = []
        intake = Intake(self.clock, snaplen=options.snaplen, raw_time=options.raw_time or self._mirrored)
        self._arrived = asyncio.Event()
        self._reader = Reader(
            intake,
            shelf_bytes=min(options.limit_bytes, _SHELF_BYTES),
            on_arrival=self._arrived.set,
            on_trouble=self._look_after_taps,
        )
        self._changing = asyncio.Lock()
        # Taps that capture nothing until they are made again; `_none_deaf` is set while there is none.
        self._deaf: set[str] = set()
        self._none_deaf = asyncio.Event()
        self._none_deaf.set()
        self._stack = AsyncExitStack()
        self._tasks: asyncio.TaskGroup | None = None
        self._hearing: asyncio.Task[None] | None = None
        self._closed = False

    def __repr__(self) -> str:
        return f"<VmCapture {self._session!r} taps={sorted(self._taps)}>"

    async def __aenter__(self) -> Self:
        self._tasks = await self._stack.enter_async_context(asyncio.TaskGroup())
        self._hearing = self._tasks.create_task(
            self._hear_events(self._session), name="time line of the capture"
        )
        self._reader.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.finish()

    # What its user asks for

    @property
    def interfaces(self) -> tuple[Interface, ...]:
        """Where frames come from; a batch's `interface` is an index into it. It only grows."""
        times = self._describe_times()
        return tuple(
            Interface(
                name=one.name,
                link_type=one.link_type,
                snaplen=self._options.snaplen,
                description=f"{one.description}; {times}" if one.description else times,
                mac=one.mac,
            )
            for one in self._interfaces
        )

    @property
    def session(self) -> Monitor:
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

    async def untap(self, netdev: str) -> None:
        """End the capture of a netdev; what QEMU wrote is still handed out by `poll`."""
        await to_the_end(self._untap(netdev))

    @property
    def complete_until(self) -> int:
        """The time (UTC ns) up to which all frames have been handed out; where that is not known, long ago."""
        return self._reader.complete_until

    def poll(self) -> Polled:
        """Return what came since the last poll; never waits."""
        self._arrived.clear()
        if not self._closed:
            guardian().check()
        batches = self._reader.take()
        notes, self._notes = tuple(self._notes), []
        return Polled(tuple(batches), notes)

    async def wait(self, timeout_s: float) -> None:
        """Wait until there is something to poll, at most `timeout_s`."""
        # Also where there is something already: who polls without a pause must not keep taps from being looked after.
        # What there is can wait while one is deaf; what that misses is lost.
        await asyncio.sleep(0)
        with suppress(TimeoutError):
            async with asyncio.timeout(min(timeout_s, _DEAF_S)):
                await self._none_deaf.wait()
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._arrived.wait()

    async def hear_out(self) -> None:
        """Wait, for a moment, until the events are heard that came before the monitor was lost."""
        if self._hearing is not None:
            await asyncio.wait([self._hearing], timeout=_HEARING_S)

    async def rebind(self, session: Monitor) -> None:
        """Go on with a new session on the same VM, after the old one was lost; taps are not touched."""
        assert self._tasks is not None
        assert self._hearing is not None
        self._hearing.cancel()
        self._session = session
        self._hearing = self._tasks.create_task(self._hear_events(session), name="time line of the capture")
        for tap in self._taps.values():
            if tap.reason and not tap.renewing:
                self._begin_renewal(tap, Loss.BROKEN)

    async def finish(self) -> None:
        """End every tap, come what may; one more `poll` gives what they held. Leaving the block does it too."""
        if self._closed:
            return
        self._closed = True
        assert self._hearing is not None
        self._hearing.cancel()
        try:
            await self._stack.__aexit__(None, None, None)
        finally:
            await to_the_end(self._remove_all())
            self._arrived.set()

    def note(self, kind: str, text: str, *, time_ns: int | None = None, interface: int | None = None) -> None:
        """Add to what the next poll says; at this moment unless a time (UTC ns) is given."""
        self._notes.append(Note(time_ns or time.time_ns(), text, kind, interface))
        self._arrived.set()

    # Filters that others may take away

    @property
    def filter_ids(self) -> frozenset[str]:
        """The ids of the filters that the open taps have in the VM."""
        return frozenset(channel.filter_id for tap in self._taps.values() for channel in tap.way.channels)

    def ways(self) -> dict[str, object]:
        """Return what each tap's frames come through now, to be given to `look_for_filters` after the VM was asked."""
        return {netdev: tap.way for netdev, tap in self._taps.items()}

    def look_for_filters(self, before: dict[str, object], text: str) -> None:
        """Capture again where a tap's filters are not in the VM any more.

        `text` is what `info network` said, asked after `ways` gave `before`.
        """
        for netdev, tap in self._taps.items():
            way = tap.way
            if tap.renewing or tap.reason or not way.channels or before.get(netdev) is not way:
                continue
            present = all(channel.filter_id in text for channel in way.channels)
            if not present and way.seen and tap.loss is None:
                self._begin_renewal(tap, Loss.TAKEN)
            way.seen = way.seen or present

    # Taps

    @property
    def _context(self) -> TapContext:
        return TapContext(
            session=self._session,
            pid=self._vm.pid if self._vm else self._session.peer_pid,
            key=self._key,
            limit_bytes=self._options.limit_bytes,
            snaplen=self._options.snaplen,
            folder=self._options.sink_folder,
        )

    async def _tap(self, netdev: str) -> None:
        async with self._changing:
            if netdev in self._taps:
                return
            await self._sweep_once()
            network, about, headers = await self._look(netdev)
            known = [interface.name for interface in self._interfaces]
            number = known.index(netdev) if netdev in known else len(known)
            tap = Tap(netdev, number, self._reader, mirrored=self._mirrored)
            await tap.open(self._context, network, headers)
            if netdev not in known:
                host = tap.way.host
                text = about.text + (f", captured on the host's {host.name}" if host else "")
                self._interfaces.append(Interface(name=netdev, description=text, mac=about.mac))
            self._taps[netdev] = tap

    async def _look(self, netdev: str) -> tuple[Network, Description, HeaderFinder | None]:
        network = await inspect(self._session)
        about = describe(network, netdev, self._session.version, mirrored=self._mirrored)
        return network, about, HeaderFinder(about.mac) if about.may_have_headers else None

    async def _untap(self, netdev: str) -> None:
        async with self._changing:
            tap = self._taps.pop(netdev, None)
            if tap is not None:
                await self._close(tap)

    async def _close(self, tap: Tap) -> None:
        context = self._context
        try:
            if not await tap.close(context) and not await _has_gone(context.pid, lambda: self.shut_down):
                self.note(
                    "gap",
                    f"the monitor is gone: the filters of {tap.netdev} could not be removed; they are sealed and write "
                    "no more, and the next qmon that captures here removes them",
                )
        finally:
            self._ended.append(tap.state())

    async def _remove_all(self) -> None:
        async with self._changing:
            self._reader.stop()
            for netdev in list(self._taps):
                try:
                    await self._close(self._taps.pop(netdev))
                except (QmonError, OSError) as problem:
                    # The others have to go as well; this one is the next capture's to sweep.
                    self.note("gap", f"the tap on {netdev} did not end in order: {problem}")
            self._reader.finish()

    async def _sweep_once(self) -> None:
        if self.swept is not None:
            return
        self.swept = await sweep(self._session, foreign_too=self._options.sweep_foreign)
        for line in self.swept.lines():
            self.note("change", line)

    # Looking after them

    def _look_after_taps(self) -> None:
        """See to what the reader found: channels that have ended or grown long."""
        for tap in self._taps.values() if not self._closed else ():
            if tap.renewing or tap.reason:
                continue
            if (loss := tap.loss) is not None:
                self._begin_renewal(tap, loss)
            elif not tap.keeps_files and any(channel.is_long for channel in tap.way.channels):
                self._begin(tap, self._change_files(tap), f"new files for {tap.netdev}")

    def _begin_renewal(self, tap: Tap, loss: Loss) -> None:
        self._deaf.add(tap.netdev)
        self._none_deaf.clear()
        self._begin(tap, self._renew(tap, loss), f"tap {tap.netdev} again")

    def _begin(self, tap: Tap, work: Coroutine[None, None, None], name: str) -> None:
        assert self._tasks is not None
        tap.renewing = True
        self._tasks.create_task(work, name=name)

    async def _change_files(self, tap: Tap) -> None:
        """Go on in new files before QEMU may not write to the old ones any more, without losing a packet."""
        async with self._changing:
            if self._taps.get(tap.netdev) is tap:
                try:
                    await to_the_end(tap.change_files(self._context))
                except QmonError:
                    # The old ones serve until they are full; then the tap is made again, and what is lost is told.
                    tap.keeps_files = True
            tap.renewing = False

    async def _renew(self, tap: Tap, loss: Loss) -> None:
        """Tap again, and tell what is missing."""
        async with self._changing:
            session = self._session
            if self._taps.get(tap.netdev) is tap:
                await to_the_end(self._renew_now(tap, loss))
            tap.renewing = False
            self._hears(tap)
        # What happened meanwhile was not looked after.
        if tap.reason and session is not self._session:
            self._begin_renewal(tap, Loss.BROKEN)
        self._look_after_taps()

    async def _renew_now(self, tap: Tap, loss: Loss) -> None:
        context = self._context
        network, headers = None, next((one.headers for one in tap.way.channels), None)
        if loss in (Loss.TAKEN, Loss.BROKEN):
            # It may be another netdev by now. Else every command that is not sent is less that is missing.
            with suppress(QmonError):
                network, _, headers = await self._look(tap.netdev)
        self.note(
            "gap",
            await tap.renew(context, network, headers, loss, lambda: self._hears(tap)),
            interface=tap.interface,
        )

    def _hears(self, tap: Tap) -> None:
        self._deaf.discard(tap.netdev)
        if not self._deaf:
            self._none_deaf.set()

    # The time line

    async def _hear_events(self, session: Monitor) -> None:
        async for event in session.events():
            self._hear(event)
            if self._options.events:
                details = ", ".join(f"{key}={value}" for key, value in event.data.items())
                self.note("event", f"{event.name} {details}".rstrip(), time_ns=event.time_ns)

    def _hear(self, event: Event) -> None:
        self._reader.hear(event.name, event.time_ns or time.time_ns())
        self.shut_down = self.shut_down or event.name == "SHUTDOWN"
        self._arrived.set()

    def _describe_times(self) -> str:
        if self._mirrored:
            return "mirrored from another host: times are those of arrival here"
        return "times as QEMU stamped them" if self._options.raw_time else self.clock.describe()


async def _has_gone(pid: int | None, shut_down: Callable[[], bool]) -> bool:
    """Say whether the VM has ended, or is about to: then its filters go with it."""
    for _ in range(_ENDING_TURNS):
        if shut_down() or (pid is not None and start_ticks(pid) is None):
            return True
        await asyncio.sleep(_TURN_S)
    return False


async def to_the_end(work: Coroutine[None, None, None]) -> None:
    """Await something although we are cancelled meanwhile; the cancellation goes on afterwards."""
    task = asyncio.create_task(work, name="end of the capture")
    cancelled = False
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            cancelled = True
    task.result()
    if cancelled:
        raise asyncio.CancelledError
