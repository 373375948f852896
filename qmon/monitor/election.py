"""Becoming one of a monitor's qmons: its holder if nobody is, else a client of the holder's relay.

Owns the order of attempts, so that QEMU never sees two clients at once and no connection is left hanging in
front of a busy monitor. Must never keep anything: it returns what was won.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from qmon.errors import CannotAttach
from qmon.monitor import processes, relay
from qmon.monitor.aside import aside
from qmon.monitor.connection import Connection, Declined, RawMessage
from qmon.monitor.dial import dial
from qmon.monitor.sharing import Lock, MeetingPlace, NotPrivate

if TYPE_CHECKING:
    from qmon.monitor.address import Address

OnEvent = Callable[[RawMessage], None]

# How long a monitor may look busy before it is called so: its last client may just be leaving.
PATIENCE_S = 0.5
_PAUSE_S = 0.01
_LOOK_S = 2.0
SECOND_MONITOR = (
    "Give the VM a second monitor when it is started: -qmp unix:/tmp/second.sock,server=on,wait=off "
    "(then: qmon --vm /tmp/second.sock …)."
)
_LEAVE_ROOM = f"End one of those. {SECOND_MONITOR}"


@dataclass(frozen=True, slots=True)
class Joined:
    """A way to the monitor: the monitor itself, with the lock if it is to be shared, or another qmon's relay.

    `about` is what the relay says of itself: `pid`, `vm_pid`, `descriptors`; None for the monitor itself.
    """

    connection: Connection
    lock: Lock | None
    about: dict[str, Any] | None

    @property
    def vm_pid(self) -> int | None:
        """The QEMU process, where the transport or the relay tells."""
        pid = self.about.get("vm_pid") if self.about is not None else self.connection.peer_pid
        return pid if isinstance(pid, int) else None

    @property
    def is_local(self) -> bool:
        """Whether the VM surely runs on this host: reached by a unix socket all the way."""
        return self.connection.is_unix if self.about is None else self.vm_pid is not None

    @property
    def carries_descriptors(self) -> bool:
        """Whether a descriptor can go this way all the way to QEMU."""
        return self.connection.is_unix if self.about is None else self.about.get("descriptors") is True


async def join(
    address: Address, *, timeout_s: float, share: bool, on_event: OnEvent, patience_s: float = PATIENCE_S
) -> Joined:
    """Return a way to the monitor at `address`; `CannotAttach` says who or what is in the way."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    patience_end = min(loop.time() + patience_s, deadline)
    if not share:
        return Joined(await _attach(address, deadline, patience_s, on_event), None, None)
    try:
        place = MeetingPlace.of(address)
    except NotPrivate as problem:
        return Joined(await _attach_unshared(address, deadline, patience_s, on_event, problem), None, None)
    while True:
        try:
            joined = await _hold(address, place, deadline, patience_s, on_event)
            joined = joined or await _join_relay(address, place, deadline, patience_end, on_event)
        except NotPrivate as problem:
            raise CannotAttach(
                f"cannot attach to {address}: {problem.message}", hint=problem.hint
            ) from problem
        if joined:
            return joined
        if loop.time() >= deadline:
            raise CannotAttach(
                f"cannot attach to {address}: another qmon has held it for {timeout_s:g} s without sharing it"
                + await _by(place.locked_by())
            )
        await asyncio.sleep(_PAUSE_S)


async def _hold(
    address: Address, place: MeetingPlace, deadline: float, patience_s: float, on_event: OnEvent
) -> Joined | None:
    """Attach to the monitor itself as the one who shares it; None if another qmon does."""
    lock = place.try_lock()
    if lock is None:
        return None
    try:
        return Joined(await _attach(address, deadline, patience_s, on_event), lock, None)
    except BaseException:
        lock.release()
        raise


async def _attach_unshared(
    address: Address, deadline: float, patience_s: float, on_event: OnEvent, why: NotPrivate
) -> Connection:
    """Attach to a monitor that cannot be shared, which can still be used by one at a time."""
    try:
        return await _attach(address, deadline, patience_s, on_event)
    except Busy as problem:
        raise CannotAttach(
            f"{problem.message}; qmon cannot share monitors here: {why.message}", hint=why.hint
        ) from problem


async def _attach(address: Address, deadline: float, patience_s: float, on_event: OnEvent) -> Connection:
    """Connect to the monitor itself, once nobody else is connected to it."""
    loop = asyncio.get_running_loop()
    patience_end = min(loop.time() + patience_s, deadline)
    while (clients := processes.clients_of(address)) and (clients.connected or clients.pending):
        if loop.time() >= patience_end:
            raise await _busy(address, clients)
        await asyncio.sleep(_PAUSE_S)
    left_s = max(deadline - loop.time(), 0.1)
    sock = await dial(address, timeout_s=left_s)
    try:
        return await Connection.open(sock, timeout_s=max(deadline - loop.time(), 0.1), on_event=on_event)
    except CannotAttach as problem:
        vm = await _owner((clients.listener,)) if clients else None
        raise _explained(address, problem, vm) from problem


async def _join_relay(
    address: Address, place: MeetingPlace, deadline: float, patience_end: float, on_event: OnEvent
) -> Joined | None:
    """Join the qmon that holds the monitor; None if it does not listen (yet, or any more) or is full for the moment."""
    loop = asyncio.get_running_loop()
    sock = place.connect()
    if sock is None:
        return None
    holder = place.locked_by()
    if holder and processes.is_stopped(holder):
        sock.close()
        raise await _stopped(address, holder)
    try:
        connection = await Connection.open(
            sock, timeout_s=max(deadline - loop.time(), 0.1), on_event=on_event
        )
    except CannotAttach as problem:
        full = isinstance(problem, Declined) and problem.qmp_class == relay.FULL_CLASS
        if full and loop.time() >= patience_end:
            raise CannotAttach(
                f"cannot attach to {address}: {problem.message}", hint=_LEAVE_ROOM
            ) from problem
        if loop.time() < deadline:
            return None  # It ended just now: its successor will listen.
        raise CannotAttach(
            f"cannot attach to {address}: the qmon that holds it does not answer" + await _by(holder)
        ) from problem
    about = connection.greeting.get(relay.GREETING_KEY)
    return Joined(connection, None, about if isinstance(about, dict) else {})


# Who is in the way. A process is asked aside, for one that does not want to be looked at can make that last.


async def _owner(inodes: tuple[int, ...]) -> processes.Process | None:
    try:
        return await aside(partial(processes.owner, inodes), timeout_s=_LOOK_S)
    except TimeoutError:
        return None


async def _by(pid: int | None) -> str:
    try:
        found = await aside(partial(processes.process, pid), timeout_s=_LOOK_S) if pid else None
    except TimeoutError:
        found = None
    return f": {found}" if found else ""


async def _stopped(address: Address, holder: int) -> CannotAttach:
    return CannotAttach(
        f"cannot attach to {address}: the qmon that holds it is stopped{await _by(holder)}",
        hint=f"Continue it (kill -CONT {holder}) or end it; its monitor is then shared or taken over.",
    )


class Busy(CannotAttach):
    """The monitor has a client already."""


async def _busy(address: Address, clients: processes.Clients) -> Busy:
    holder = await _owner(clients.inodes)
    if holder:
        who = f"it already has a client: {holder}"
    elif any(clients.inodes):
        who = "it already has a client (of another user, or out of sight)"
    else:
        listener = await _owner((clients.listener,))
        who = "it has not released its last client yet" + (f"; it belongs to {listener}" if listener else "")
    return Busy(
        f"cannot attach to {address}: {who}", hint=f"A monitor serves one client at a time. {SECOND_MONITOR}"
    )


def _explained(address: Address, problem: CannotAttach, vm: processes.Process | None) -> CannotAttach:
    if vm and vm.stopped:
        return CannotAttach(
            f"cannot attach to {address}: the VM does not answer: {vm}", hint=f"kill -CONT {vm.pid}"
        )
    hint = problem.hint
    if hint is None and "no QMP greeting came" in problem.message:
        hint = (
            f"It may not be a QMP monitor, or it is serving another client (one at a time). {SECOND_MONITOR}"
        )
    return CannotAttach(f"cannot attach to {address}: {problem.message}", hint=hint)
