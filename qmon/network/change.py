"""Changes of a running VM's network, each whole or not at all; every one can say before what it will send.

Owns the order of commands and the way back after a failure. Must never leave behind what the user did not ask for,
and never send what `hazards` refuses.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from qmon.errors import QmonError, Refused, TimedOut, UsageError
from qmon.monitor import commands
from qmon.monitor.commands import Command
from qmon.monitor.hmp import parse_network
from qmon.network import hazards
from qmon.network.forward import (
    add_forwards,
    list_forwards,
    plan_add_forwards,
    plan_remove_forwards,
    remove_forwards,
)
from qmon.network.ids import boot_id
from qmon.network.inspect import build, inspect, network_text
from qmon.network.mac import check_mac, free_mac
from qmon.network.model import Network, Nic
from qmon.network.nics import nic_properties
from qmon.network.options import driver_of, parse_device, parse_netdev
from qmon.network.ports import advice, pcie_ports
from qmon.network.release import UNPLUG_S, device_id, let_go
from qmon.network.steps import to_the_end
from qmon.network.surroundings import surroundings
from qmon.text import plain

if TYPE_CHECKING:
    from qmon.monitor.protocol import Monitor

__all__ = [
    "UNPLUG_S",
    "add_forwards",
    "add_netdev",
    "add_nic",
    "cut_off",
    "list_forwards",
    "plan_add_forwards",
    "plan_add_netdev",
    "plan_add_nic",
    "plan_plug",
    "plan_remove_forwards",
    "plan_remove_netdev",
    "plan_remove_nic",
    "plan_set_link",
    "plan_unplug",
    "plug",
    "remove_forwards",
    "remove_netdev",
    "remove_nic",
    "set_link",
    "unplug",
]

Between = Callable[[str], Awaitable[object]]


# Netdevs


async def plan_add_netdev(session: Monitor, spec: str) -> tuple[Command, ...]:
    """Return what `add_netdev` will send."""
    return (await netdev_step(session, spec),)


async def add_netdev(session: Monitor, spec: str) -> str:
    """Add a netdev in `-netdev` syntax and return its id."""
    step = await netdev_step(session, spec)
    await step.send(session)
    return str(step.arguments["id"])


async def plan_remove_netdev(session: Monitor, id_: str, *, force: bool = False) -> tuple[Command, ...]:
    """Return what `remove_netdev` will send."""
    return (await _netdev_removal(session, id_, force=force),)


async def remove_netdev(session: Monitor, id_: str, *, force: bool = False) -> None:
    """Remove a netdev; `Refused` if something is plugged into it, unless `force`."""
    await (await _netdev_removal(session, id_, force=force)).send(session)


async def netdev_step(session: Monitor, spec: str) -> Command:
    """Return the command that adds a netdev in `-netdev` syntax; `Refused` if it would harm the VM."""
    arguments = parse_netdev(spec, await session.schema())
    hazards.check_netdev(arguments, session.version, await surroundings(session.peer_pid))
    return commands.netdev_add(arguments)


async def _netdev_removal(session: Monitor, id_: str, *, force: bool) -> Command:
    network = await inspect(session)
    hazards.check_netdev_removal(network, id_, force=force)
    known = {netdev.id for netdev in network.netdevs} | {
        port.id for hub in network.hubs for port in hub.ports
    }
    if id_ not in known:
        raise Refused(f"there is no netdev '{plain(id_)}'", hint=_there_are("netdevs", known))
    return commands.netdev_del(id_)


# NICs


async def plan_add_nic(session: Monitor, spec: str) -> tuple[Command, ...]:
    """Return what `add_nic` will send."""
    return (await nic_step(session, spec),)


async def add_nic(session: Monitor, spec: str) -> str | None:
    """Plug a NIC in, in `-device` syntax; return its name (as of `plug`).

    Where the board takes NICs only in PCIe ports and `bus` is not given, a free port is found.
    """
    step = await nic_step(session, spec)
    await send_nic(session, step)
    return await _name_of(session, step)


async def plan_remove_nic(session: Monitor, name: str) -> tuple[Command, ...]:
    """Return what `remove_nic` will send."""
    nic = nic_of(await inspect(session), name)
    return (commands.device_del(device_id(nic)),)


async def remove_nic(session: Monitor, name: str, *, timeout_s: float = UNPLUG_S) -> str | None:
    """Ask the guest to let go of a NIC and wait until it has; return the netdev that stays, None if none does.

    `TimedOut` if the guest has not let go, `Refused` if it will not.
    """
    network = await inspect(session)
    nic = nic_of(network, name)
    await let_go(session, nic, timeout_s=timeout_s)
    return next((one.id for one in network.netdevs if one.nic == nic.id and not one.ghost), None)


async def plan_set_link(session: Monitor, name: str, up: bool) -> tuple[Command, ...]:
    """Return what `set_link` will send."""
    _nic_or_netdev(await inspect(session), name)
    return (commands.set_link(name, up),)


async def set_link(session: Monitor, name: str, up: bool) -> None:
    """Plug the cable of a NIC (or of a netdev) in or out; QEMU cannot tell afterwards how it stands."""
    _nic_or_netdev(await inspect(session), name)
    await commands.set_link(name, up).send(session)


async def nic_step(session: Monitor, spec: str, *, netdev: str | None = None) -> Command:
    """Return the command that plugs a NIC in, with a free address and port, into `netdev` where that is given."""
    arguments = parse_device(spec, properties := await nic_properties(session, driver_of(spec)))
    network = await inspect(session)
    if "mac" in arguments:
        check_mac(str(arguments["mac"]), network)
    elif "mac" in properties:
        seed = f"{boot_id()} {session.address} {session.peer_pid} {arguments.get('id')} {netdev}"
        arguments["mac"] = free_mac(seed, network)
    if netdev is not None:
        if arguments.get("netdev", netdev) != netdev:
            raise UsageError(
                f"the NIC is to be plugged into {plain(str(arguments['netdev']))}, but the new netdev is {netdev}",
                hint="leave netdev= out: the NIC goes into the netdev it is plugged in with",
            )
        arguments["netdev"] = netdev
    if "addr" in properties and "bus" not in arguments:
        port = next((port for port in await pcie_ports(session) if not port.taken), None)
        if port is not None:
            arguments["bus"] = port.bus
    return commands.device_add(arguments)


async def send_nic(session: Monitor, step: Command) -> None:
    """Send a `device_add`; a refusal of the bus says what would help."""
    try:
        await step.send(session)
    except Refused as refused:
        if "does not support hotplugging" in refused.reason:
            refused.hint = advice(refused.reason, await pcie_ports(session))
        elif "usb-bus" in refused.reason:
            refused.hint = "The VM has no USB controller; start it with one: -device qemu-xhci"
        raise


async def _name_of(session: Monitor, step: Command) -> str | None:
    """Return the name of the NIC that `step` plugged in: its id, or what QEMU calls the one on its netdev."""
    if "id" in step.arguments:
        return str(step.arguments["id"])
    netdev = step.arguments.get("netdev")
    if netdev is None:
        return None
    with suppress(QmonError):  # It is plugged in; that its name could not be asked for is no failure.
        listed = build(parse_network(await network_text(session))).nics
        # The newest comes last. One before it may be dead: plugged into a deleted netdev of the same id.
        return next((nic.id for nic in reversed(listed) if nic.netdev == netdev), None)
    return None


def nic_of(network: Network, name: str) -> Nic:
    """Return the NIC of that name; `Refused` if there is none."""
    nic = network.nic(name)
    if nic is None:
        raise Refused(
            f"there is no NIC '{plain(name)}'", hint=_there_are("NICs", {nic.id for nic in network.nics})
        )
    return nic


def _nic_or_netdev(network: Network, name: str) -> None:
    if network.netdev(name) is None:
        nic_of(network, name)


def _there_are(what: str, names: set[str]) -> str:
    if not names:
        return f"this VM has no {what}"
    return f"its {what}: {', '.join(sorted(map(plain, names)))}"


# Both together


async def plan_plug(session: Monitor, netdev_spec: str, nic_spec: str) -> tuple[Command, ...]:
    """Return what `plug` will send."""
    return await _plug_steps(session, netdev_spec, nic_spec)


async def plug(
    session: Monitor, netdev_spec: str, nic_spec: str, *, between: Between | None = None
) -> tuple[str, str | None]:
    """Add a netdev and a NIC on it, both or neither; return the netdev's id and the NIC's name.

    A NIC without an id has the name that QEMU lists it by, None if that could not be learnt.

    `between` is awaited when the netdev is there and the NIC is not yet: a tap set there sees the first frame.
    """
    netdev, nic = await _plug_steps(session, netdev_spec, nic_spec)
    await to_the_end(_plug(session, netdev, nic, between))
    return str(netdev.arguments["id"]), await _name_of(session, nic)


async def _plug_steps(session: Monitor, netdev_spec: str, nic_spec: str) -> tuple[Command, Command]:
    netdev = await netdev_step(session, netdev_spec)
    return netdev, await nic_step(session, nic_spec, netdev=str(netdev.arguments["id"]))


async def _plug(session: Monitor, netdev: Command, nic: Command, between: Between | None) -> None:
    id_ = str(netdev.arguments["id"])
    await netdev.send(session)
    try:
        if between is not None:
            await between(id_)
        await send_nic(session, nic)
    except TimedOut as late:
        raise TimedOut(late.message, hint=f"The netdev {id_} is there; the NIC may still come.") from late
    except BaseException as problem:
        await take_back(session, netdev, problem)
        raise


async def take_back(session: Monitor, added: Command, problem: BaseException) -> None:
    """Remove a netdev that was added for a NIC which did not come; `problem` is told if that fails too."""
    netdev, stays = str(added.arguments["id"]), hazards.lasting(added.arguments["type"])
    try:
        if stays is None:
            await commands.netdev_del(netdev).send(session)
    except QmonError as worse:
        stays = worse.message
    if stays is not None:
        problem.add_note(f"the netdev {netdev} was left behind: {stays}")
        if isinstance(problem, QmonError):
            problem.message = f"{problem.message}; and the netdev {netdev} was left behind: {stays}"


async def plan_unplug(session: Monitor, name: str) -> tuple[Command, ...]:
    """Return what `unplug` will send."""
    network = await inspect(session)
    nic = nic_of(network, name)
    return (commands.device_del(device_id(nic)), *netdev_after(network, nic))


async def unplug(session: Monitor, name: str, *, timeout_s: float = UNPLUG_S) -> str | None:
    """Remove a NIC and then its netdev, and return the netdev's id, None if the NIC was plugged into no live one.

    `TimedOut` if the guest has not let go in time: both are still there then, and the request stands.
    """
    network = await inspect(session)
    nic = nic_of(network, name)
    await let_go(session, nic, timeout_s=timeout_s)
    steps = netdev_after(network, nic)
    check_gone(network, nic, f"the NIC {plain(name)} is unplugged")
    for step in steps:
        try:
            await step.send(session)
        except Refused as refused:
            raise Refused(
                f"the NIC {plain(name)} is unplugged, but its netdev {plain(nic.netdev or '')} stays: {refused.reason}",
                qmp_class=refused.qmp_class,
                reason=refused.reason,
            ) from refused
    return nic.netdev if steps else None


async def cut_off(session: Monitor, name: str) -> str | None:
    """Remove the netdev that a NIC is plugged into, and return its id, None if there is none.

    The NIC stays, dead, until the guest releases it or the VM is reset.
    """
    network = await inspect(session)
    steps = netdev_after(network, nic_of(network, name))
    for step in steps:
        await step.send(session)
    return str(steps[0].arguments["id"]) if steps else None


def netdev_after(network: Network, nic: Nic) -> list[Command]:
    """Return what removes a NIC's netdev when the NIC is gone; nothing where it is plugged into no live one."""
    netdev = None if nic.netdev is None else network.netdev(nic.netdev)
    # A live netdev of the same name is not the one that this NIC was plugged into.
    if netdev is None or netdev.ghost or netdev.nic != nic.id or hazards.lasting(netdev.type):
        return []
    return [commands.netdev_del(netdev.id)]


def check_gone(network: Network, nic: Nic, done: str) -> None:
    """Say, after `done`, that a NIC's netdev stays because it must."""
    netdev = None if nic.netdev is None else network.netdev(nic.netdev)
    stays = hazards.lasting(netdev.type) if netdev is not None and not netdev.ghost else None
    if stays is not None:
        raise Refused(f"{done}, but its netdev {plain(nic.netdev or '')} stays: {stays}")
