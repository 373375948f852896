"""The session with one VM's monitor: commands, texts, events and descriptors, each with a deadline.

Its states. `_joined` is the way to the monitor, None while there is none; `_last` is the last there was:

  attached   `_joined` is the monitor itself; `_holding` relays it to other qmons, unless it is had alone
  shared     `_joined` is another qmon's relay (its `about` is set)
  between    the relay hung up, and `_rejoin` looks for the next way; commands wait for it in `_way`
  lost       `_lost` has the reason, and there will be no other way

  from       to                   because
  -          attached, shared     `attach`, which the election decides
  shared     between              the relay ended without saying that the monitor is gone
  between    attached, shared     the monitor was taken over, or joined through the qmon that did; `on_handover`
  between    lost                 nobody can reach the monitor, or another VM has its address
  attached   lost                 the monitor is gone
  shared     lost                 the relay said so (`_told`)
  any        lost                 `close`, or a fault of qmon's own in `_live`, which gives the monitor back first

Owns one VM's life from attaching to the moment its monitor is lost for good, across hand-overs between qmons.
Must never interpret what a command means, and never connect again to a VM that was started anew.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from qmon.errors import CannotAttach, Interrupted, Refused, TimedOut
from qmon.monitor import links
from qmon.monitor.commands import human_monitor_command, query_commands, query_qmp_schema
from qmon.monitor.events import Event, EventFan, EventStream
from qmon.monitor.kinds import link_set
from qmon.monitor.version import Version
from qmon.text import described, plain

if TYPE_CHECKING:
    from qmon.monitor.address import Address, Target
    from qmon.monitor.connection import RawMessage
    from qmon.monitor.election import Joined
    from qmon.monitor.holding import Holding
    from qmon.monitor.schema import Schema

__all__ = ["Event", "EventStream", "Session", "Version", "attach"]

ATTACH_S = 5.0
COMMAND_S = 10.0
HANDOVER_S = 5.0


class Session:
    """One VM's monitor; made by `attach`, used as `async with`, or ended with `close`."""

    def __init__(self, address: Address, *, command_timeout_s: float) -> None:
        """Use `attach`: a session that was only made is not attached."""
        self.address = address
        self.greeting: RawMessage = {}
        self.version = Version(0, 0, 0)
        self.handovers = 0
        self._command_s = command_timeout_s
        self._fan = EventFan()
        self._commands: frozenset[str] | None = None
        self._schema: Schema | None = None
        self._joined: Joined | None = None
        self._last: Joined | None = None
        self._turned = asyncio.Event()
        self._holding: Holding | None = None
        self._vm_pid: int | None = None
        self._told: str | None = None
        self._after_handover: list[Callable[[], None]] = []
        self._on_change: list[Callable[[Event], None]] = []
        self._lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._life: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        state = (
            f"lost: {self._lost.result()}" if self._lost.done() else "shared" if self.shared else "attached"
        )
        return f"<Session {self.address} QEMU {self.version} pid={self.peer_pid} {state}>"

    @classmethod
    async def attach(
        cls,
        address: Address,
        *,
        timeout_s: float = ATTACH_S,
        command_timeout_s: float = COMMAND_S,
        share: bool = True,
    ) -> Self:
        """Attach to the monitor at `address`; `CannotAttach` says why it cannot be.

        With `share`, the monitor is had through the qmon that holds it, if one does; if none does, this
        session holds it and relays it to others. Without, it is had alone or not at all.
        """
        from qmon.monitor.election import join

        session = cls(address, command_timeout_s=command_timeout_s)
        joined = await join(address, timeout_s=timeout_s, share=share, on_event=session._hear)
        session.greeting = joined.connection.greeting
        session.version = joined.connection.version
        session._use(joined)
        session._life = asyncio.create_task(session._live(joined), name=f"monitor of {address}")
        await asyncio.sleep(0)  # From here on the relay, if it is ours, listens.
        return session

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Leave the monitor to others; the VM is not touched."""
        if self._life is not None:
            self._life.cancel()
            await asyncio.wait([self._life])
        # Here and not in that task: one that is cancelled before its first step has no `finally`.
        await self._leave()
        self._use(None)
        self._lose("the session is closed")
        if self._life is not None and not self._life.cancelled():
            self._life.result()

    # Asking

    async def execute(
        self,
        command: str,
        arguments: Mapping[str, object] | None = None,
        *,
        timeout_s: float | None = None,
        fd: int | None = None,
    ) -> Any:
        """Run a QMP command, which may carry a descriptor of ours, and return its result.

        `Refused` carries QEMU's class and reason; `Interrupted` means the outcome cannot be known; `TimedOut`
        that the answer did not come within `timeout_s` (the session's own limit unless given).
        """
        if fd is not None and not self.can_pass_descriptors:
            raise Refused(
                f"{self.address} cannot carry descriptors",
                hint="Only a unix socket can; start the VM with -qmp unix:PATH,server=on,wait=off.",
            )
        reply = await self._ask(command, arguments or {}, timeout_s=timeout_s, fd=fd)
        if (link := link_set(command, arguments, str(reply))) is not None:
            links.remember(self.peer_pid, *link)
        return reply

    async def hmp(self, line: str, *, timeout_s: float | None = None) -> str:
        """Run a line of the human monitor; its text with plain line ends. HMP knows no errors, only texts."""
        return await human_monitor_command(self, line, timeout_s=timeout_s)

    def events(self) -> EventStream:
        """Return a stream of the events from now on; its end is the session's end."""
        return self._fan.stream()

    async def commands(self) -> frozenset[str]:
        """Return the names of the commands this QEMU has (asked for once)."""
        if self._commands is None:
            self._commands = await query_commands(self)
        return self._commands

    async def schema(self) -> Schema:
        """Return this QEMU's own description of its commands (asked for once, some 250 kB)."""
        if self._schema is None:
            from qmon.monitor.schema import Schema

            self._schema = Schema(await query_qmp_schema(self))
        return self._schema

    # How it stands

    async def wait_lost(self) -> str:
        """Wait until the monitor is gone for good; return why."""
        return await asyncio.shield(self._lost)

    def on_handover(self, callback: Callable[[], None]) -> None:
        """Have `callback` called after each hand-over: events may have been missed while it went on."""
        self._after_handover.append(callback)

    def on_change(self, callback: Callable[[Event], None]) -> Callable[[], None]:
        """Have `callback` hear of every change of the network made through this monitor, by this qmon or another.

        The event is described in `kinds.change_message`. What is returned ends the hearing.
        """
        self._on_change.append(callback)
        return lambda: self._on_change.remove(callback)

    async def announce(self, frames: Mapping[str, object]) -> None:
        """Tell every qmon on this monitor, this one too, of frames that are about to be sent (`capture.sent`)."""
        from qmon.monitor.kinds import SENT_COMMAND

        if not self.shared:
            self._tell_change(SENT_COMMAND, frames, {"return": {}})
            return
        with suppress(Refused):  # Its holder may be an older qmon.
            await self.execute(SENT_COMMAND, frames)

    @property
    def lost_reason(self) -> str | None:
        """Why the monitor is gone for good, or None while it is there."""
        return self._lost.result() if self._lost.done() else None

    @property
    def peer_pid(self) -> int | None:
        """The pid of the QEMU process, where the transport tells."""
        return self._vm_pid

    @property
    def holder_pid(self) -> int | None:
        """The pid of the qmon that the monitor is reached through, None if it is held by this one."""
        return self._last.connection.peer_pid if self._last and self.shared else None

    @property
    def can_pass_descriptors(self) -> bool:
        """Whether a command may carry a descriptor."""
        return self._last is not None and self._last.carries_descriptors

    @property
    def is_local(self) -> bool:
        """Whether QEMU surely runs on this host; behind a TCP port there may be a tunnel to another."""
        return self._last is not None and self._last.is_local

    @property
    def shared(self) -> bool:
        """Whether the monitor is reached through another qmon."""
        return self._last is not None and self._last.about is not None

    # One command, on whichever way there is

    async def _ask(
        self,
        command: str,
        arguments: Mapping[str, object],
        *,
        timeout_s: float | None,
        fd: int | None = None,
    ) -> Any:
        from qmon.monitor.connection import NotSent, result
        from qmon.monitor.kinds import only_asks
        from qmon.monitor.relay import refused_for_handover

        limit_s = self._command_s if timeout_s is None else timeout_s
        loop = asyncio.get_running_loop()
        deadline = loop.time() + limit_s
        joined: Joined | None = None
        while True:
            joined = await self._way(command, deadline, limit_s, other_than=joined)
            try:
                left_s = max(deadline - loop.time(), 0.01)
                reply = await joined.connection.call(command, arguments, timeout_s=left_s, fd=fd)
            except Interrupted as problem:
                # What was not sent, or only asks, can be sent through the next holder.
                again = isinstance(problem, NotSent) or only_asks(command, arguments)
                if joined.about is None or not again:
                    raise
                continue
            except TimedOut:
                raise self._timed_out(command, limit_s, joined) from None
            if joined.about is None:
                self._tell_change(command, arguments, reply)
            if joined.about is None or not refused_for_handover(reply):
                return result(command, reply)

    async def _way(
        self, command: str, deadline: float, limit_s: float, *, other_than: Joined | None
    ) -> Joined:
        """Wait for a way to the monitor: during a hand-over there is none."""
        try:
            async with asyncio.timeout_at(deadline):
                while self._joined is None or self._joined is other_than:
                    if self._lost.done():
                        raise Interrupted(f"{plain(command)}: the monitor is gone: {self._lost.result()}")
                    self._turned.clear()
                    await self._turned.wait()
        except TimeoutError:
            raise self._timed_out(command, limit_s, None) from None
        return self._joined

    def _timed_out(self, command: str, limit_s: float, joined: Joined | None) -> TimedOut:
        from qmon.monitor.processes import is_stopped

        pid = joined.connection.peer_pid if joined is not None and joined.about is not None else self._vm_pid
        if pid and is_stopped(pid):
            whose = "the VM" if pid == self._vm_pid else "the qmon that holds the monitor"
            return TimedOut(
                f"{plain(command)}: no answer within {limit_s:g} s: {whose} (pid {pid}) is stopped",
                hint=f"kill -CONT {pid} continues it.",
            )
        hint = "The VM may still carry it out."
        return TimedOut(f"{plain(command)}: no answer within {limit_s:g} s", hint=hint)

    # One VM's life

    def _hear(self, message: RawMessage) -> None:
        from qmon.monitor import kinds, relay

        name, data = message.get("event"), message.get("data")
        if self.shared and name in kinds.RELAY_EVENTS:
            self._hear_change(message)
            return
        if self.shared and name in (relay.LOST_EVENT, relay.DROPPED_EVENT) and isinstance(data, dict):
            if name == relay.LOST_EVENT:
                self._told = str(data.get("reason"))
            elif isinstance(count := data.get("count"), int):
                self._fan.count_dropped(count)
            return
        if self._holding is not None:
            self._holding.tell(message)
        self._fan.put(Event.from_message(message))

    def _tell_change(self, command: str, arguments: Mapping[str, object], reply: RawMessage) -> None:
        """Tell of a command that went to QEMU itself, to whom it concerns here and over the relay."""
        from qmon.monitor.kinds import change_message

        message = change_message(command, arguments, reply)
        if message is None:
            return
        if self._holding is not None:
            self._holding.tell(message)
        self._hear_change(message)

    def _hear_change(self, message: RawMessage) -> None:
        for callback in tuple(self._on_change):
            callback(Event.from_message(message))

    def _use(self, joined: Joined | None) -> None:
        self._joined = joined
        if joined is not None:
            self._last = joined
            self._vm_pid = joined.vm_pid or self._vm_pid
        self._turned.set()

    async def _live(self, joined: Joined | None) -> None:
        try:
            while joined is not None:
                reason = await self._hold(joined)
                self._use(None)
                if joined.about is None or self._told is not None:
                    self._lose(self._told or reason)
                    return
                joined = await self._rejoin()
        except Exception as problem:  # noqa: BLE001 (a fault of ours: whoever uses the session must hear of its end)
            self._use(None)
            try:
                await self._leave()
            finally:
                self._lose(f"qmon failed: {described(problem)}")

    async def _leave(self) -> None:
        if self._last is not None:
            try:
                await self._last.connection.close()
            finally:
                if self._last.lock is not None:
                    self._last.lock.release()

    async def _hold(self, joined: Joined) -> str:
        """Keep the way open, relaying to others if it is ours alone; return why it ended."""
        if joined.lock is None:
            return await joined.connection.wait_closed()
        from qmon.monitor.holding import Holding

        self._holding = Holding(
            joined.connection, joined.lock, on_reply=self._tell_change, on_failure=self._tell_failure
        )
        try:
            return await self._holding.until_closed(lambda: self._use(None))
        finally:
            self._holding = None

    def _tell_failure(self, reason: str) -> None:
        from qmon.monitor.relay import FAILED_EVENT

        self._fan.put(Event(FAILED_EVENT, {"reason": reason}, time.time_ns()))

    async def _rejoin(self) -> Joined | None:
        """Take the monitor over, or join the one who did; None if the VM is gone, which is told then."""
        from qmon.monitor.election import join

        try:
            joined = await join(
                self.address,
                timeout_s=HANDOVER_S,
                share=True,
                on_event=self._hear,
                patience_s=HANDOVER_S,
            )
        except CannotAttach as problem:
            self._lose(problem.message)
            return None
        if self._vm_pid is not None and joined.vm_pid not in (None, self._vm_pid):
            await joined.connection.close()
            if joined.lock is not None:
                joined.lock.release()
            self._lose("the VM has ended; another one listens at its monitor's address")
            return None
        self.handovers += 1
        self._use(joined)
        for callback in self._after_handover:
            callback()
        return joined

    def _lose(self, reason: str) -> None:
        if not self._lost.done():
            self._lost.set_result(reason)
        self._turned.set()
        self._fan.close()


@asynccontextmanager
async def attach(target: Target | None, *, timeout_s: float = ATTACH_S) -> AsyncIterator[Session]:
    """Find the VM that `target` names, attach to it, and leave it at the end of the block."""
    from qmon.monitor.discovery import find

    async with await Session.attach((await find(target)).address, timeout_s=timeout_s) as session:
        yield session
