"""The session with one VM's monitor: commands, texts, events and descriptors, each with a deadline.

Owns one VM's life from attaching to the moment its monitor is lost for good, across hand-overs between qmons.
Must never interpret what a command means, and never connect again to a VM that was started anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from qmon.errors import CannotAttach, Refused
from qmon.monitor.events import Event, EventFan, EventStream

if TYPE_CHECKING:
    from qmon.monitor.address import Address, Target
    from qmon.monitor.connection import Connection, RawMessage
    from qmon.monitor.schema import Schema

__all__ = ["AddedDescriptor", "Event", "EventStream", "Session", "Version", "attach"]

ATTACH_S = 5.0
COMMAND_S = 10.0


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """A QEMU's version; `package` is the distribution's, as QEMU says it."""

    major: int
    minor: int
    micro: int
    package: str = ""

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.micro}"

    @classmethod
    def from_greeting(cls, greeting: Mapping[str, Any]) -> Self:
        """Read it from a QMP greeting; all zeros where the greeting does not say."""
        try:
            version = greeting["QMP"]["version"]
            numbers = version["qemu"]
            return cls(
                int(numbers["major"]), int(numbers["minor"]), int(numbers["micro"]), str(version["package"])
            )
        except (KeyError, TypeError, ValueError):
            return cls(0, 0, 0)


@dataclass(frozen=True, slots=True)
class AddedDescriptor:
    """A descriptor that QEMU now holds: `fd` is its number in the QEMU process, `fdset_id` names it."""

    fdset_id: int
    fd: int


class Session:
    """One VM's monitor; made by `attach`, used as `async with`, or ended with `close`."""

    def __init__(self, address: Address, connection: Connection, fan: EventFan, command_s: float) -> None:
        from qmon.monitor.connection import result

        self.address = address
        self.greeting: RawMessage = connection.greeting
        self.version = Version.from_greeting(self.greeting)
        self._result = result
        self._connection = connection
        self._fan = fan
        self._command_s = command_s
        self._commands: frozenset[str] | None = None
        self._schema: Schema | None = None
        self._lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._life = asyncio.create_task(self._live(), name=f"monitor of {address}")

    def __repr__(self) -> str:
        state = f"lost: {self._lost.result()}" if self._lost.done() else "attached"
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
        """Attach to the monitor at `address`; `CannotAttach` says why it cannot be."""
        del share
        from qmon.monitor.connection import Connection
        from qmon.monitor.dial import dial

        fan = EventFan()
        sock = await dial(address, timeout_s=timeout_s)
        try:
            connection = await Connection.open(
                sock, timeout_s=timeout_s, on_event=lambda message: fan.put(Event.from_message(message))
            )
        except CannotAttach as problem:
            raise CannotAttach(f"cannot attach to {address}: {problem.message}", hint=problem.hint) from None
        return cls(address, connection, fan, command_timeout_s)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Leave the monitor to others; the VM is not touched."""
        self._life.cancel()
        await asyncio.wait([self._life])
        await self._connection.close()
        self._lose("the session is closed")

    async def execute(
        self, command: str, arguments: Mapping[str, object] | None = None, *, timeout_s: float | None = None
    ) -> Any:
        """Run a QMP command and return its result.

        `Refused` carries QEMU's class and reason; `Interrupted` means the outcome cannot be known; `TimedOut`
        that the answer did not come within `timeout_s` (the session's own limit unless given).
        """
        reply = await self._connection.call(command, arguments, timeout_s=timeout_s or self._command_s)
        return self._result(command, reply)

    async def hmp(self, line: str, *, timeout_s: float | None = None) -> str:
        """Run a line of the human monitor; its text with plain line ends. HMP knows no errors, only texts."""
        arguments = {"command-line": line}
        reply = await self.execute("human-monitor-command", arguments, timeout_s=timeout_s)
        return str(reply).replace("\r\n", "\n")

    async def pass_descriptor(
        self, fd: int, *, opaque: str, timeout_s: float | None = None
    ) -> AddedDescriptor:
        """Hand QEMU a copy of our descriptor `fd` (`add-fd`); `Refused` where that cannot be done."""
        if not self.can_pass_descriptors:
            raise Refused(
                f"{self.address} cannot carry descriptors",
                hint="Only a unix socket can; start the VM with -qmp unix:PATH,server=on,wait=off.",
            )
        reply = await self._connection.call(
            "add-fd", {"opaque": opaque}, timeout_s=timeout_s or self._command_s, fd=fd
        )
        added = self._result("add-fd", reply)
        return AddedDescriptor(int(added["fdset-id"]), int(added["fd"]))

    def events(self) -> EventStream:
        """Return a stream of the events from now on; its end is the session's end."""
        return self._fan.stream()

    async def commands(self) -> frozenset[str]:
        """Return the names of the commands this QEMU has (asked for once)."""
        if self._commands is None:
            listed = await self.execute("query-commands")
            self._commands = frozenset(str(entry["name"]) for entry in listed)
        return self._commands

    async def schema(self) -> Schema:
        """Return this QEMU's own description of its commands (asked for once, some 250 kB)."""
        if self._schema is None:
            from qmon.monitor.schema import Schema

            self._schema = Schema(await self.execute("query-qmp-schema"))
        return self._schema

    async def wait_lost(self) -> str:
        """Wait until the monitor is gone for good; return why."""
        return await asyncio.shield(self._lost)

    @property
    def lost_reason(self) -> str | None:
        """Why the monitor is gone for good, or None while it is there."""
        return self._lost.result() if self._lost.done() else None

    @property
    def peer_pid(self) -> int | None:
        """The pid of the QEMU process, where the transport tells."""
        return self._connection.peer_pid

    @property
    def can_pass_descriptors(self) -> bool:
        """Whether `pass_descriptor` can work at all."""
        return self._connection.is_unix

    @property
    def shared(self) -> bool:
        """Whether the monitor is reached through another qmon."""
        return False

    def _lose(self, reason: str) -> None:
        if not self._lost.done():
            self._lost.set_result(reason)
        self._fan.close()

    async def _live(self) -> None:
        self._lose(await self._connection.wait_closed())


@asynccontextmanager
async def attach(target: Target | None, *, timeout_s: float = ATTACH_S) -> AsyncIterator[Session]:
    """Find the VM that `target` names, attach to it, and leave it at the end of the block."""
    from qmon.monitor.discovery import resolve

    async with await Session.attach(resolve(target).address, timeout_s=timeout_s) as session:
        yield session
