"""A cable between two running VMs: a netdev and a NIC in each, joined by a pair of sockets that nothing else has.

The pair is two datagram sockets without a path or an address, one passed to each VM; so it needs no rights, and nobody
else can join. It goes when the VMs end. Owns the transaction over both. Must never leave one end without the other.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from qmon.errors import QmonError, Refused, UsageError
from qmon.monitor import commands
from qmon.monitor.commands import Command
from qmon.network import change
from qmon.network.captures import let_captures_join
from qmon.network.change import nic_step, send_nic
from qmon.network.inspect import inspect
from qmon.network.options import check_id
from qmon.network.release import UNPLUG_S
from qmon.network.steps import to_the_end
from qmon.text import plain

if TYPE_CHECKING:
    from qmon.monitor.protocol import Monitor

DEFAULT_MODEL = "virtio-net-pci"
_TYPE = "dgram"


@dataclass(frozen=True, slots=True)
class End:
    """One end of a cable that is to be laid: what will be sent to one VM."""

    session: Monitor
    netdev: Command
    nic: Command

    @property
    def steps(self) -> tuple[Command, ...]:
        """Return all commands, in order; with the first goes a descriptor."""
        return (commands.getfd(str(self.netdev.arguments["id"])), self.netdev, self.nic)


def new_name() -> str:
    """Return a name for a cable that no other is likely to have."""
    return f"cable-{secrets.token_hex(2)}"


async def plan_cable(one: Monitor, other: Monitor, name: str, model: str = DEFAULT_MODEL) -> tuple[End, End]:
    """Return what `lay_cable` will do; `Refused` or UsageError where it cannot be."""
    check_id(name, "cable", "cable1")
    if one.address == other.address or (one.peer_pid is not None and one.peer_pid == other.peer_pid):
        raise UsageError("a cable has two ends: name two different VMs")
    return await _end(one, name, model), await _end(other, name, model)


async def _end(session: Monitor, name: str, model: str) -> End:
    if not session.can_pass_descriptors:
        raise Refused(
            f"{session.address} cannot carry descriptors, and a cable's end is one",
            hint="Only a unix socket on this host can; start the VM with -qmp unix:PATH,server=on,wait=off.",
        )
    if (await session.schema()).netdev_members(_TYPE) is None:
        raise Refused(f"this QEMU ({session.version}) has no {_TYPE} netdevs; 7.2 and later do")
    if (await inspect(session)).netdev(name) is not None:
        raise Refused(
            f"{session.address} has a netdev '{plain(name)}' already", hint="Choose another --name."
        )
    arguments = {"type": _TYPE, "id": name, "local": {"type": "fd", "str": name}}
    nic = await nic_step(session, f"{model},id={name}-nic", netdev=name)
    return End(session, commands.netdev_add(arguments), nic)


async def lay_cable(ends: Sequence[End]) -> None:
    """Lay a cable, whole or not at all."""
    pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        await to_the_end(_lay(ends, pair))
    finally:
        for sock in pair:
            sock.close()


async def _lay(ends: Sequence[End], pair: Sequence[socket.socket]) -> None:
    undo: list[Callable[[], Awaitable[object]]] = []
    try:
        for end, sock in zip(ends, pair, strict=True):
            name = str(end.netdev.arguments["id"])
            await commands.getfd(name).send(end.session, fd=sock.fileno())
            undo.append(partial(commands.closefd, end.session, name))
            await end.netdev.send(end.session)
            # The netdev has the descriptor now.
            undo[-1] = partial(commands.netdev_del(name).send, end.session)
            await let_captures_join(end.session, name)
        for end in ends:
            await send_nic(end.session, end.nic)
            nic = str(end.nic.arguments["id"])
            undo.append(partial(change.remove_nic, end.session, nic))
    except QmonError as problem:
        for step in reversed(undo):
            try:
                await step()
            except QmonError as worse:
                problem.message = f"{problem.message}; and something was left behind: {worse.message}"
        raise


async def has_end(session: Monitor, name: str) -> bool:
    """Tell whether a VM has an end of the cable of that name."""
    netdev = (await inspect(session)).netdev(name)
    return netdev is not None and netdev.type == _TYPE


async def plan_uncable(session: Monitor, name: str) -> tuple[Command, ...]:
    """Return what `uncable` will send to one of the VMs."""
    netdev = (await inspect(session)).netdev(name)
    if netdev is not None and netdev.nic is not None:
        return await change.plan_unplug(session, netdev.nic)
    return await change.plan_remove_netdev(session, name)


async def uncable(sessions: Sequence[Monitor], name: str, *, timeout_s: float = UNPLUG_S) -> None:
    """Take a cable's ends away; raises the first trouble when all that could be taken away is."""
    ended = await asyncio.gather(
        *(_take_end(session, name, timeout_s) for session in sessions), return_exceptions=True
    )
    for problem in ended:
        if isinstance(problem, BaseException):
            raise problem


async def _take_end(session: Monitor, name: str, timeout_s: float) -> None:
    netdev = (await inspect(session)).netdev(name)
    if netdev is None:
        return
    if netdev.nic is None:
        await change.remove_netdev(session, name)
    else:
        await change.unplug(session, netdev.nic, timeout_s=timeout_s)
