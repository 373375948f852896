"""Another network under a NIC: the NIC is unplugged, and one like it plugged into a new netdev.

Owns what of a NIC goes over to its successor, and the way back. Must never take a NIC away that could not be plugged
in again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qmon.errors import QmonError, Refused, TimedOut
from qmon.monitor import commands
from qmon.monitor.commands import Command
from qmon.network.change import (
    Between,
    check_gone,
    netdev_after,
    netdev_step,
    nic_of,
    send_nic,
    take_back,
)
from qmon.network.inspect import inspect
from qmon.network.model import Network, Nic
from qmon.network.release import UNPLUG_S, device_id, let_go
from qmon.network.steps import to_the_end
from qmon.text import plain

if TYPE_CHECKING:
    from qmon.monitor.protocol import Monitor

_NAMED = "/machine/peripheral/"
# Properties that are the place's or the netdev's, that QEMU works out by itself, or that the machine type sets.
_NOT_CARRIED = frozenset({"netdev", "addr", "mac", "romsize"})
_NOBODYS_PREFIX = "x-"
_PLAIN_TYPES = (bool, int, str)


@dataclass(frozen=True, slots=True)
class _Replacement:
    """The commands of a replacement; `back` plugs in what was there before."""

    network: Network
    nic: Nic
    netdev: Command
    unplug: Command
    plug: Command
    back: Command
    removal: tuple[Command, ...]

    @property
    def steps(self) -> tuple[Command, ...]:
        return (self.netdev, self.unplug, self.plug, *self.removal)


async def plan_replace(session: Monitor, name: str, spec: str) -> tuple[Command, ...]:
    """Return what `replace` will send."""
    return (await _plan(session, name, spec)).steps


async def replace(
    session: Monitor, name: str, spec: str, *, timeout_s: float = UNPLUG_S, between: Between | None = None
) -> str:
    """Put a new netdev, in `-netdev` syntax, under a NIC and return its id; the old netdev is removed.

    The guest sees its NIC unplugged, and one of the same model, id, MAC and PCI address plugged in. On failure the old
    pair is back. `TimedOut` if the guest has not released the NIC in time. `between` is awaited when the new netdev
    is there and no NIC on it yet.
    """
    plan = await _plan(session, name, spec)
    id_ = str(plan.netdev.arguments["id"])
    await plan.netdev.send(session)
    try:
        if between is not None:
            await between(id_)
        await let_go(session, plan.nic, timeout_s=timeout_s)
    except BaseException as problem:
        await to_the_end(take_back(session, plan.netdev, problem))
        raise
    await to_the_end(_plug_again(session, plan, id_))
    return id_


async def _plug_again(session: Monitor, plan: _Replacement, netdev: str) -> None:
    try:
        await send_nic(session, plan.plug)
    except TimedOut as late:
        raise TimedOut(late.message, hint=f"The netdev {netdev} is there; the NIC may still come.") from late
    except QmonError as problem:
        await _go_back(session, plan, problem)
        raise
    check_gone(plan.network, plan.nic, f"{plain(plan.nic.id)} is on {netdev} now")
    for step in plan.removal:
        try:
            await step.send(session)
        except Refused as refused:
            raise Refused(
                f"{plain(plan.nic.id)} is on {netdev} now, but its old netdev {plain(plan.nic.netdev or '')} stays: "
                f"{refused.reason}"
            ) from refused


async def _go_back(session: Monitor, plan: _Replacement, problem: QmonError) -> None:
    try:
        await plan.back.send(session)
        problem.message = f"{problem.message}; {plain(plan.nic.id)} is on its old netdev again"
    except QmonError as worse:
        problem.message = (
            f"{problem.message}; and {plain(plan.nic.id)} could not be plugged in again: {worse.message}"
        )
    await take_back(session, plan.netdev, problem)


async def _plan(session: Monitor, name: str, spec: str) -> _Replacement:
    network = await inspect(session)
    nic = nic_of(network, name)
    netdev = await netdev_step(session, spec)
    id_ = str(netdev.arguments["id"])
    if network.netdev(id_) is not None:
        raise Refused(
            f"there is a netdev '{plain(id_)}' already",
            hint="Give the new netdev another id: both are there for a moment.",
        )
    arguments = await _arguments(session, nic)
    old = {"netdev": nic.netdev} if nic.netdev is not None else {}
    return _Replacement(
        network,
        nic,
        netdev,
        commands.device_del(device_id(nic)),
        commands.device_add({**arguments, "netdev": id_}),
        commands.device_add({**arguments, **old}),
        tuple(netdev_after(network, nic)),
    )


async def _arguments(session: Monitor, nic: Nic) -> dict[str, object]:
    """Return the words of `device_add` that make such a NIC again, without its netdev."""
    if nic.path is None or nic.model is None:
        raise Refused(f"where {plain(nic.id)} is in the VM is not known, so it could not be plugged in again")
    if await _get(session, nic.path, "hotpluggable") is not True:
        raise Refused(
            f"{plain(nic.id)} cannot be unplugged while the VM runs: the bus it is on takes no changes",
            hint=f"qmon nic down {plain(nic.id)} pulls its cable; qmon plug gives the guest a second NIC.",
        )
    model = str(await _get(session, nic.path, "type"))
    arguments: dict[str, object] = {"driver": model}
    if nic.path.startswith(_NAMED):
        arguments["id"] = nic.id
    bus = str(await _get(session, nic.path, "parent_bus") or "").rpartition("/")[2]
    if bus:
        arguments["bus"] = bus
    address = await _get(session, nic.path, "addr")
    if isinstance(address, int) and address >= 0:
        arguments["addr"] = f"{address >> 3:02x}.{address & 7:x}"
    return {**arguments, "mac": nic.mac, **await _settings(session, nic.path, model)}


async def _settings(session: Monitor, path: str, model: str) -> dict[str, object]:
    """Return the NIC's properties that are not as QEMU would set them."""
    found: dict[str, object] = {}
    for entry in await commands.device_list_properties(session, model):
        name, default = entry.name, entry.default
        if name in _NOT_CARRIED or name.startswith(_NOBODYS_PREFIX) or "<" in entry.type:
            continue
        value = await _get(session, path, name)
        # QEMU tells no default of texts, whose unset value is an empty one, nor of what is set by code.
        unset = value == default if default is not None else value in ("", None, -1, True, False)
        if isinstance(value, _PLAIN_TYPES) and (not unset or (name == "romfile" and value == "")):
            found[name] = value
    return found


async def _get(session: Monitor, path: str, name: str) -> Any:
    try:
        return await commands.qom_get(session, path, name)
    except Refused:
        return None
