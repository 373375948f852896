"""One VM followed: attached to, captured, and kept through losses of its monitor. Everything that watches stands on it.

Its states, in `monitor`:

  connected   `session` is the monitor; `_looking` keeps `known` true, and the taps in step with the netdevs
  lost        the monitor is gone; the VM's process is not, or cannot be seen. Taps go on, for a memfd needs no monitor,
              and attaching is tried again with growing pauses
  ended       the VM is gone: `end` says why. With `returns` another VM at the same address is waited for instead, in
              the state lost

`_capture` and `_looking` belong to one life of the VM; what an earlier life left to hand out is in `_left`. How it is
attached to is `attaching`'s, which netdevs are tapped `tapping`'s.

Must never end a capture while the VM lives and can be seen, and never change a VM but by taps.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, ExitStack, suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import TracebackType
from typing import Self

from qmon.capture.attaching import FAREWELL_S, Attached, Attaching
from qmon.capture.looking import Looking
from qmon.capture.network_changes import link_of
from qmon.capture.numbering import Numbering
from qmon.capture.remembered import Remembered
from qmon.capture.sent import SentFrames
from qmon.capture.tapping import Netdevs, Tapping
from qmon.capture.taps.tap import TapState
from qmon.capture.vm import DEFAULTS, CaptureOptions, Polled, VmCapture
from qmon.errors import QmonError, Refused
from qmon.monitor import commands, links
from qmon.monitor.address import Target
from qmon.monitor.discovery import Vm
from qmon.monitor.events import Event
from qmon.monitor.hmp import UsernetStack
from qmon.monitor.kinds import SENT_EVENT
from qmon.monitor.protocol import Monitor
from qmon.network.model import Network
from qmon.packets.analysis.addresses import AddressBook
from qmon.packets.batch import FrameBatch, Interface, Note


class MonitorState(StrEnum):
    """How things stand with the monitor."""

    CONNECTED = "connected"
    LOST = "disconnected"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class End:
    """Why following is over; `error` where that was not in order."""

    reason: str
    error: QmonError | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of the VM at this moment; `usernet` only where it was asked for."""

    vm: Vm | None = None
    name: str | None = None
    pid: int | None = None
    address: str = ""
    qemu_version: str = ""
    run_state: str = ""
    network: Network = field(default_factory=Network)
    usernet: tuple[UsernetStack, ...] = ()


class FollowedVm:
    """A VM followed from `async with` to its end; entering attaches, or raises `CannotAttach`.

    `begin` says what is captured. With `returns`, a VM that ended is waited for to come back; with `usernet`, the
    connections of user-mode stacks are kept up in `known`. `version` grows when something but counters changed.
    """

    def __init__(
        self,
        target: Target | None,
        options: CaptureOptions = DEFAULTS,
        *,
        returns: bool = False,
        usernet: bool = False,
    ) -> None:
        self.known = Known()
        self.links: dict[str, bool] = {}
        self.monitor = MonitorState.LOST
        self.monitor_note = ""
        self.version = 0
        self._attaching = Attaching(target, self._tell_failure)
        self._tapping = Tapping(self._grow)
        self._options = options
        self._returns = returns
        self._usernet = usernet
        self._session: Monitor | None = None
        self._capture: VmCapture | None = None
        self._looking = Looking(self, usernet=usernet)
        self._life: asyncio.Task[None] | None = None
        self._end: End | None = None
        self._over = asyncio.Event()
        self._numbering = Numbering()
        self._left = Polled()
        self._ended_taps: list[TapState] = []
        self._notes: list[Note] = []
        self._arrived = asyncio.Event()
        self._sent = SentFrames()
        self._remembered = Remembered(None)
        self._on_frames: list[Callable[[FrameBatch], None]] = []
        self._stack = AsyncExitStack()

    def __repr__(self) -> str:
        return f"<FollowedVm {self.known.address or self._attaching.target} {self.monitor}>"

    async def __aenter__(self) -> Self:
        self._session = self._learn_vm(await self._attaching.attach())
        try:
            self._capture = await self._begin_capture(self._session)
            tasks = await self._stack.enter_async_context(asyncio.TaskGroup())
        except BaseException:
            await self._session.close()
            raise
        self._life = tasks.create_task(self._live(), name="follow the VM")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._life is not None:
                self._life.cancel()
            # The body's own error is not the group's: it comes out as it is.
            await self._stack.__aexit__(None, None, None)
        except BaseExceptionGroup as group:
            raise _innermost(group) from None
        finally:
            await self.finish()
            if self._session is not None:
                await self._session.close()

    # What its user asks for

    @property
    def session(self) -> Monitor | None:
        """The monitor, while there is one; changes to the VM go through it."""
        return self._session if self.monitor is MonitorState.CONNECTED else None

    @property
    def interfaces(self) -> tuple[Interface, ...]:
        """Where frames come from; a batch's `interface` is an index into it. It only grows."""
        if self._capture is not None:
            self._numbering.learn(self._capture)
        return tuple(self._numbering.interfaces)

    @property
    def taps(self) -> tuple[TapState, ...]:
        """The taps that are open."""
        return self._capture.taps if self._capture else ()

    @property
    def totals(self) -> tuple[TapState, ...]:
        """All taps there ever were; their `interface` is an index into `interfaces`."""
        now = self._numbering.taps(self._capture) if self._capture else ()
        return (*self._ended_taps, *now)

    @property
    def not_tapped(self) -> tuple[tuple[str, str], ...]:
        """Netdevs that cannot be captured, each with the reason."""
        return self._tapping.refused

    @property
    def complete_until(self) -> int:
        """The time (UTC ns) up to which all frames have been handed out; where that is not known, long ago."""
        return self._capture.complete_until if self._capture else 0

    @property
    def end(self) -> End | None:
        """Why it is over, None while it is not."""
        return self._end

    def begin(self, wanted: Netdevs) -> None:
        """Capture what is wanted from now on."""
        self._tapping.begin(wanted)
        self.refresh()

    async def tapped_once(self) -> None:
        """Wait until every wanted netdev found at the start is captured, or known not to be capturable."""
        waits = [asyncio.create_task(event.wait()) for event in (self._tapping.tapped_once, self._over)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waits:
                one.cancel()

    async def tap(self, netdev: str) -> None:
        """Capture a netdev, wanted or not; `Refused` says why that cannot be."""
        if self._capture is None:
            raise Refused(f"cannot tap {netdev}: the VM is not connected")
        await self._tapping.tap(self._capture, netdev)

    async def untap(self, netdev: str) -> None:
        """End the capture of a netdev until `tap` asks for it again, keeping what was captured."""
        await self._tapping.untap(self._capture, netdev)
        self._grow()

    def poll(self) -> Polled:
        """Return what came since the last poll; never waits."""
        self._arrived.clear()
        left, self._left = self._left, Polled()
        now = self._numbering.poll(self._capture) if self._capture else Polled()
        notes, self._notes = tuple(self._notes), []
        interfaces = self._numbering.interfaces
        names = [interface.name for interface in interfaces]
        batches = tuple(self._sent.marked(batch, names) for batch in (*left.batches, *now.batches))
        polled = Polled(batches, (*left.notes, *now.notes, *notes))
        for batch in batches:
            self._remembered.book.see(batch, interfaces)
            for callback in tuple(self._on_frames):
                callback(batch)
        self._remembered.save()
        return polled

    @property
    def addresses(self) -> AddressBook:
        """Which addresses the guest's MACs have, as far as any qmon has seen while this VM lives."""
        return self._remembered.book

    def on_frames(self, callback: Callable[[FrameBatch], None]) -> Callable[[], None]:
        """Have `callback` see each batch that is polled, whoever polls; what is returned ends that.

        Its bytes are only good during the call.
        """
        self._on_frames.append(callback)
        return lambda: self._on_frames.remove(callback)

    async def wait(self, timeout_s: float) -> None:
        """Wait until there may be something to poll, at most `timeout_s`."""
        if self._capture is not None:
            await self._capture.wait(timeout_s)
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._arrived.wait()

    async def cont(self) -> None:
        """Let a VM go on that its user wants to run."""
        if self.session is None:
            raise Refused(f"the VM cannot be told to go on: {self.monitor_note}")
        await commands.cont(self.session)

    async def finish(self) -> None:
        """Follow no more and end every tap; one more `poll` gives what they held. Leaving the block does it too."""
        if self._life is not None and not self._life.done():
            self._life.cancel()
            await asyncio.wait([self._life])
        await self._end_capture()
        self._remembered.save(at_once=True)

    def refresh(self) -> None:
        """Have the network asked for now rather than at the next turn."""
        self._looking.ask()

    def note_link(self, nic: str, up: bool) -> None:
        """Remember a link that was set: QEMU cannot be asked for it."""
        self.links[nic] = up
        self.refresh()

    def note(self, kind: str, text: str, *, time_ns: int | None = None) -> None:
        """Add to what the next poll says; at this moment unless a time (UTC ns) is given."""
        if self._capture is not None:
            self._capture.note(kind, text, time_ns=time_ns)
            return
        self._notes.append(Note(time_ns or time.time_ns(), text, kind))
        self._arrived.set()

    # One life of the VM after the other

    async def _live(self) -> None:
        session = self._session
        while session is not None:
            reason = await self._while_connected(session)
            self._set_monitor(MonitorState.LOST, reason)
            again = await self._after_loss(session, reason)
            await session.close()
            session = self._session = again
            if session is not None:
                self._set_monitor(MonitorState.CONNECTED, "")

    async def _while_connected(self, session: Monitor) -> str:
        """Keep the picture true until the monitor is lost; return why it was."""
        looking = self._looking
        with ExitStack() as hearing:
            hearing.callback(session.on_change(self._hear_change))
            # Between two holders of a shared monitor events are missed.
            session.on_handover(looking.ask)
            async with asyncio.TaskGroup() as tasks:
                running = (
                    tasks.create_task(looking.run(session), name="keep the network known"),
                    tasks.create_task(looking.hear(session), name="follow QMP events"),
                )
                reason = await session.wait_lost()
                for task in running:
                    task.cancel()
        return reason

    async def _after_loss(self, lost: Monitor, reason: str) -> Monitor | None:
        """Return the session to go on with, None where it is over."""
        assert self._capture is not None
        gone = f"the monitor disconnected: {reason}"
        if self._attaching.process is not None:
            gone = "QEMU was killed or crashed"
            if await self._attaching.process.ends_within(FAREWELL_S):
                return await self._after_end(gone)
        elif await self._has_quit():
            return await self._after_end(gone)
        self.note("monitor", f"the monitor disconnected ({reason}); the capture goes on")
        again = await self._attaching.again(lost, self._capture.filter_ids)
        if again is None:
            return await self._after_end(gone)
        await self._capture.rebind(again)
        self.note("monitor", "the monitor is back")
        return again

    async def _has_quit(self) -> bool:
        assert self._capture is not None
        await self._capture.hear_out()
        return self._capture.shut_down

    async def _after_end(self, what: str) -> Monitor | None:
        """The VM is gone: finish its capture; then wait for another in its place, or say why it is over."""
        assert self._capture is not None
        await self._capture.hear_out()
        orderly = self._capture.shut_down
        reason = "the VM quit" if orderly else what
        await self._end_capture()
        if self._returns:
            self.note("monitor", reason)
            return await self._return()
        hint = "What was captured until then is in the output."
        self._finish_with(End(reason, None if orderly else QmonError(reason, hint=hint)))
        return None

    async def _return(self) -> Monitor | None:
        """Wait for a VM where the last one was; None where that one cannot come back."""
        attached = await self._attaching.another()
        if attached is None:
            self._finish_with(End("the VM has ended"))
            return None
        session = self._learn_vm(attached)
        self.links.clear()  # A VM that was started again begins with all of them up.
        self._tapping.begin_anew()
        self._looking = Looking(self, usernet=self._usernet)
        self._capture = await self._begin_capture(session)
        self.note("monitor", "attached to the VM that was started in its place")
        return session

    def _finish_with(self, end: End) -> None:
        self._end = end
        self._set_monitor(MonitorState.ENDED, end.reason)
        self._over.set()
        self._arrived.set()

    def _learn_vm(self, attached: Attached) -> Monitor:
        session = attached.session
        self._remembered = Remembered(attached.pid)
        self.links.update(links.known(attached.pid))
        self.known = Known(
            attached.vm,
            attached.name,
            attached.pid,
            str(session.address),
            str(session.version),
            attached.run_state,
            self.known.network,
        )
        self._set_monitor(MonitorState.CONNECTED, "")
        return session

    def _tell_failure(self, reason: str) -> None:
        self._set_monitor(MonitorState.LOST, reason)

    def _grow(self) -> None:
        self.version += 1

    def _set_monitor(self, state: MonitorState, note: str) -> None:
        if (self.monitor, self.monitor_note) != (state, note):
            self.monitor, self.monitor_note = state, note
            self.version += 1

    async def _begin_capture(self, session: Monitor) -> VmCapture:
        return await VmCapture(session, self.known.vm, self._options).__aenter__()

    async def _end_capture(self) -> None:
        capture = self._capture
        if capture is None:
            return
        try:
            await capture.finish()
        finally:
            polled = self._numbering.poll(capture)
            left = self._left
            self._left = Polled((*left.batches, *polled.batches), (*left.notes, *polled.notes))
            self._ended_taps += self._numbering.taps(capture)
            self._capture = None
            self._arrived.set()

    # What the looking finds

    def learn(self, **fields: object) -> None:
        """Take over what was found of the VM; `version` grows where it is new."""
        known = replace(self.known, **fields)  # type: ignore[arg-type]
        if known != self.known:
            self.known = known
            self.version += 1

    def ways(self) -> dict[str, object]:
        """Return what the taps' frames come through (`VmCapture.ways`)."""
        return self._capture.ways() if self._capture else {}

    async def follow(self, network: Network, text: str, before: dict[str, object]) -> None:
        """Bring the taps in step with the network that `text` (`info network`) shows."""
        if self._capture is not None:
            await self._tapping.follow(self._capture, network, text, before)

    def _hear_change(self, event: Event) -> None:
        if event.name == SENT_EVENT:
            self._sent.expect(event.data)
            return
        link = link_of(event)
        if link is not None:
            self.links[link[0]] = link[1]
        self._looking.hear_change(event)


def _innermost(error: BaseException) -> BaseException:
    """Return the one error in groups of one, else the group."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
