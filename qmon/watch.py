"""One VM watched: monitor, network, capture and packet store joined for a front end.

Owns the reconnecting, the time line and the frozen snapshots that views draw from. Must never draw, print or
change a VM by itself: taps on the netdevs it was opened for are all it adds, and they go when it ends.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from types import TracebackType
from typing import Self

import numpy as np

from qmon.capture.changes import link_of
from qmon.capture.vm import VmCapture
from qmon.errors import CannotAttach, Interrupted, QmonError, Refused, TimedOut
from qmon.monitor import commands
from qmon.monitor.address import Pid, Target
from qmon.monitor.discovery import Resolved, Vm, find
from qmon.monitor.events import Event
from qmon.monitor.session import Session
from qmon.network import inspect
from qmon.network.model import Network
from qmon.packets.batch import FrameBatch
from qmon.packets.store.packet_store import PacketStore
from qmon.snapshot import Connection, Snapshot, TimelineEntry

TIMELINE_LIMIT = 10_000
NETWORK_EVERY_S = 2.0
USERNET_EVERY_S = 1.0
FIRST_RETRY_S, LAST_RETRY_S = 0.2, 5.0
# After these the picture of the network is asked for at once instead of at the next turn.
_CHANGING_EVENTS = frozenset(
    {
        "DEVICE_DELETED",
        "DEVICE_UNPLUG_GUEST_ERROR",
        "RESET",
        "NIC_RX_FILTER_CHANGED",
        "NETDEV_STREAM_CONNECTED",
    }
    | {"NETDEV_STREAM_DISCONNECTED", "NETDEV_VHOST_USER_CONNECTED", "NETDEV_VHOST_USER_DISCONNECTED"}
)
_RUN_STATE_EVENTS = frozenset({"STOP", "RESUME", "RESET", "SHUTDOWN", "SUSPEND", "WAKEUP", "GUEST_PANICKED"})


class Watch:
    """A VM watched from `async with` to its end.

    Entering attaches (raising `CannotAttach`); after that a lost monitor is tried again with growing pauses
    until the block ends, and `snapshot().connection` says how it stands.
    """

    def __init__(
        self, target: Target | None, *, netdevs: tuple[str, ...] | None = None, capture: bool = True
    ) -> None:
        self.store = PacketStore()
        self._target = target
        self._wanted = netdevs
        self._tap_at_all = capture
        self._released: set[str] = set()
        self._interface_of: dict[str, int] = {}
        self._map = np.empty(0, np.uint16)
        self._capture: VmCapture | None = None
        self._session: Session | None = None
        self._timeline: deque[TimelineEntry] = deque(maxlen=TIMELINE_LIMIT)
        self._next_seq = 0
        self._dropped_before = 0
        self._complaints: dict[str, str] = {}
        self._links: dict[str, bool] = {}
        self._refresh_now = asyncio.Event()
        self._tapped_once = asyncio.Event()
        self._busy = asyncio.Lock()
        self._stack = AsyncExitStack()
        self._state = Snapshot(
            0, None, None, "", "", Connection.LOST, "", "", Network(), (), (), (), (), 0, 0, 0
        )

    def __repr__(self) -> str:
        return f"<Watch {self._state.address or self._target} {self._state.connection}>"

    async def __aenter__(self) -> Self:
        resolved, session = await self._attach()
        tasks = await self._stack.enter_async_context(asyncio.TaskGroup())
        life = tasks.create_task(self._live(resolved, session), name="watch the VM")
        self._stack.callback(life.cancel)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The body's own error is not the group's: it comes out as it is.
        try:
            await self._stack.__aexit__(None, None, None)
        except BaseExceptionGroup as group:
            raise _innermost(group) from None

    # What a front end asks for

    @property
    def session(self) -> Session | None:
        """The monitor, while there is one; changes to the VM go through it."""
        return self._session

    def snapshot(self) -> Snapshot:
        """Return the state of things now; cheap enough for every frame drawn."""
        capture = self._capture
        taps = capture.taps if capture else ()
        dropped = self._dropped_before + sum(tap.dropped for tap in taps) + self.store.evicted
        return replace(
            self._state, taps=taps, packets=self.store.packets, bytes=self.store.bytes, dropped=dropped
        )

    def poll(self) -> int:
        """Move what was captured since the last call into the store; return how many frames that were."""
        capture = self._capture
        if capture is None:
            return 0
        polled = capture.poll()
        for note in polled.notes:
            self.log(note.kind, note.text, time_ns=note.time_ns)
        return 0 if polled.batch is None else self._keep(capture, polled.batch)

    async def tap(self, netdev: str) -> None:
        """Start to capture on a netdev; `Refused` says why not."""
        self._released.discard(netdev)
        async with self._busy:
            if self._capture is None:
                raise Refused(f"cannot tap {netdev}: the VM is not connected")
            await self._capture.tap(netdev)
            self._note_tap(netdev, None)

    async def untap(self, netdev: str) -> None:
        """End the capture on a netdev, keeping what was captured."""
        self._released.add(netdev)
        async with self._busy:
            if self._capture is not None:
                await self._capture.untap(netdev)
        self._change(version=self._state.version + 1)

    async def first_taps(self) -> None:
        """Wait until every netdev found at the start is captured, or known not to be capturable."""
        await self._tapped_once.wait()

    def refresh(self) -> None:
        """Have the network asked for now rather than at the next turn."""
        self._refresh_now.set()

    def note_link(self, nic: str, up: bool) -> None:
        """Remember a link that was set: QEMU cannot be asked for it."""
        self._links[nic] = up
        self.refresh()

    def _hear_change(self, event: Event) -> None:
        link = link_of(event)
        if link is not None:
            self._links[link[0]] = link[1]
        self.refresh()

    def log(self, kind: str, text: str, *, time_ns: int | None = None) -> None:
        """Add to the time line."""
        entry = TimelineEntry(self._next_seq, time.time_ns() if time_ns is None else time_ns, kind, text)
        self._next_seq += 1
        self._timeline.append(entry)
        self._change(timeline=tuple(self._timeline))

    # One VM's life, and the next one's

    async def _live(self, resolved: Resolved, session: Session) -> None:
        while True:
            async with session:
                reason = await self._one_life(resolved.vm, session)
            self._change(connection=Connection.LOST, connection_note=reason)
            self.log("monitor", f"lost: {reason}")
            again = await self._return(resolved.vm)
            if again is None:
                return
            resolved, session = again
            self.log("monitor", "attached again")

    async def _one_life(self, vm: Vm | None, session: Session) -> str:
        """Watch until the monitor is lost; return why."""
        async with self._capturing(vm, session), asyncio.TaskGroup() as tasks:
            running = [
                tasks.create_task(self._follow_events(session), name="follow QMP events"),
                tasks.create_task(self._keep_network(session), name="keep the network known"),
                tasks.create_task(self._keep_usernet(session), name="keep usernet known"),
            ]
            # Between two holders of a shared monitor events are missed.
            session.on_handover(self.refresh)
            reason = await session.wait_lost()
            self._session = None
            for task in running:
                task.cancel()
        return reason

    @asynccontextmanager
    async def _capturing(self, vm: Vm | None, session: Session) -> AsyncIterator[None]:
        async with VmCapture(session, vm) as capture:
            self._capture, self._session, self._map = capture, session, np.empty(0, np.uint16)
            try:
                yield
            finally:
                self._session = None
                self.poll()
        # What the taps held when they went is fetched by one more look.
        self.poll()
        self._dropped_before += sum(tap.dropped for tap in capture.taps)
        self._capture = None

    async def _attach(self) -> tuple[Resolved, Session]:
        resolved = await find(self._target)
        session = await Session.attach(resolved.address)
        try:
            status = await commands.query_status(session)
            name = resolved.vm.name if resolved.vm else await commands.query_name(session)
        except BaseException:
            await session.close()
            raise
        if session.peer_pid != self._state.pid:
            self._links.clear()  # A VM that was started again begins with all of them up.
        session.on_change(self._hear_change)
        if self._target is None:
            self._target = resolved.address
        self._change(
            version=self._state.version + 1,
            name=name,
            pid=session.peer_pid,
            address=str(resolved.address),
            qemu_version=str(session.version),
            connection=Connection.CONNECTED,
            connection_note="",
            run_state=status,
        )
        return resolved, session

    async def _return(self, vm: Vm | None) -> tuple[Resolved, Session] | None:
        """Attach again with growing pauses; None when the VM is gone for good."""
        pause_s = FIRST_RETRY_S
        while True:
            try:
                return await self._attach()
            except (CannotAttach, Interrupted, TimedOut, Refused) as problem:
                if isinstance(self._target, Pid) and (vm is None or not vm.is_running()):
                    self._change(connection=Connection.ENDED, connection_note="the VM has ended")
                    return None
                self._change(connection_note=problem.message)
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 1.6, LAST_RETRY_S)

    # Keeping the picture true

    async def _follow_events(self, session: Session) -> None:
        async for event in session.events():
            details = ", ".join(f"{key}={value}" for key, value in event.data.items())
            self.log("event", f"{event.name} {details}".rstrip(), time_ns=event.time_ns)
            if event.name in _RUN_STATE_EVENTS:
                await self._asking("run state", self._ask_run_state(session))
            if event.name in _CHANGING_EVENTS:
                self.refresh()

    async def _ask_run_state(self, session: Session) -> None:
        self._change(run_state=await commands.query_status(session))

    async def _keep_network(self, session: Session) -> None:
        while True:
            self._refresh_now.clear()
            await self._asking("network", self._ask_network(session))
            self._tapped_once.set()
            try:
                await asyncio.wait_for(self._refresh_now.wait(), NETWORK_EVERY_S)
            except TimeoutError:
                continue

    async def _ask_network(self, session: Session) -> None:
        await self._ask_run_state(session)
        network = await inspect.inspect(session, links=self._links)
        if network != self._state.network:
            self._change(network=network, version=self._state.version + 1)
        present = {netdev.id for netdev in network.netdevs if not netdev.ghost}
        await self._drop_taps_without_netdev(present)
        for netdev in sorted(present):
            if self._should_tap(netdev):
                await self._try_tap(netdev)

    async def _drop_taps_without_netdev(self, present: set[str]) -> None:
        # QEMU removes a netdev's filters with it; one of the same id that comes later is another netdev.
        for netdev, _ in self._state.not_tapped:
            if netdev not in present:
                self._note_tap(netdev, None)
        for tap in self._capture.taps if self._capture else ():
            if tap.netdev not in present:
                async with self._busy:
                    if self._capture is not None:
                        await self._capture.untap(tap.netdev)
                self.log("tap", f"{tap.netdev} is gone, and its capture with it")

    def _should_tap(self, netdev: str) -> bool:
        if not self._tap_at_all or netdev in self._released or self._capture is None:
            return False
        if self._wanted is not None and netdev not in self._wanted:
            return False
        known = {tap.netdev for tap in self._capture.taps} | {name for name, _ in self._state.not_tapped}
        return netdev not in known

    async def _try_tap(self, netdev: str) -> None:
        async with self._busy:
            if self._capture is None or not self._should_tap(netdev):
                return
            try:
                await self._capture.tap(netdev)
            except Refused as problem:
                self._note_tap(netdev, problem.message)
                self.log("tap", f"{netdev} is not captured: {problem.message}")
            else:
                self._note_tap(netdev, None)
                self.log("tap", f"{netdev} is captured")

    def _note_tap(self, netdev: str, reason: str | None) -> None:
        others = [(name, why) for name, why in self._state.not_tapped if name != netdev]
        refused = tuple(others if reason is None else [*others, (netdev, reason)])
        self._change(not_tapped=refused, version=self._state.version + 1)

    async def _keep_usernet(self, session: Session) -> None:
        while True:
            await self._asking("usernet", self._ask_usernet(session))
            await asyncio.sleep(USERNET_EVERY_S)

    async def _ask_usernet(self, session: Session) -> None:
        usernet = await inspect.usernet(session)
        if usernet != self._state.usernet:
            self._change(usernet=usernet, version=self._state.version + 1)

    async def _asking(self, about: str, question: Awaitable[None]) -> None:
        """Await a question to the monitor; a failure is told once and does not end the watching."""
        try:
            await question
        except Interrupted:
            return  # The monitor is being lost, which is told elsewhere.
        except QmonError as problem:
            self._complain(about, problem)
        else:
            self._complaints.pop(about, None)

    def _keep(self, capture: VmCapture, batch: FrameBatch) -> int:
        """Put frames into the store; what it cannot take (no memory, say) is told once and counted as dropped."""
        interfaces = capture.interfaces
        try:
            if len(interfaces) > len(self._map):
                self._map = np.array([self._stored(interface.name) for interface in interfaces], np.uint16)
            self.store.append(replace(batch, interface=self._map[batch.interface]))
        except QmonError as problem:
            self._dropped_before += len(batch)
            self._complain("store", problem)
            return 0
        return len(batch)

    def _complain(self, about: str, problem: QmonError) -> None:
        """Put a failure into the time line, unless it is the one that is there already."""
        if self._complaints.get(about) != problem.message:
            self._complaints[about] = problem.message
            self.log("monitor", f"{about}: {problem.message}")

    # Small change

    def _stored(self, name: str) -> int:
        if name not in self._interface_of:
            assert self._capture is not None
            interface = next(known for known in self._capture.interfaces if known.name == name)
            self._interface_of[name] = self.store.add_interface(interface)
        return self._interface_of[name]

    def _change(self, **fields: object) -> None:
        self._state = replace(self._state, **fields)  # type: ignore[arg-type]


def _innermost(error: BaseException) -> BaseException:
    """Return the one error in groups of one, else the group."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
