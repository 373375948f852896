"""`qmon info network` and `qmon info usernet`: HMP's views as tables."""

from __future__ import annotations

from collections import deque

import click

from qmon.cli import output as out
from qmon.cli.context import Context
from qmon.cli.groups import CommandGroup
from qmon.monitor.hmp import Endpoint, UsernetConnection, UsernetStack
from qmon.network import inspect
from qmon.network.model import Filter, Netdev, Network, Nic


@click.group(cls=CommandGroup, epilog="\b\nExamples:\n  qmon info network\n  qmon info usernet -o json")
def info() -> None:
    """Show the VM's networks, or the connections of its user-mode stacks."""


def _raw_option(command: click.decorators.FC) -> click.decorators.FC:
    return click.option("--raw", is_flag=True, help="The text as QEMU prints it.")(command)


@info.command(
    epilog="\b\nExamples:\n  qmon info network\n  qmon --vm web info network -o json | jq '.nics[].mac'"
)
@_raw_option
@out.output_option
@click.pass_obj
def network(context: Context, output: str, raw: bool) -> None:
    """Show NICs, netdevs, hubs and filters, and what is plugged into what."""
    out.run(_network(context, output, raw))


async def _network(context: Context, output: str, raw: bool) -> None:
    async with context.attach() as session:
        if raw:
            out.data(await inspect.network_text(session))
            return
        found = await inspect.inspect(session)
    if output == "json":
        out.document(network_record(found))
    else:
        _print_network(found)
    say_incomplete(found)


def say_incomplete(network: Network) -> None:
    """Say what of the VM's network is not shown, or not surely right."""
    for line in network.not_understood:
        out.talk(f"not understood: {line}")
    for sentence in network.not_asked:
        out.talk(sentence)


def network_record(network: Network) -> dict[str, object]:
    """Return the document of `info network`."""
    return {
        "netdevs": [netdev_record(netdev) for netdev in network.netdevs],
        "nics": [nic_record(nic) for nic in network.nics],
        "hubs": [
            {"id": hub.id, "ports": [{"id": port.id, "peer": port.peer} for port in hub.ports]}
            for hub in network.hubs
        ],
        "not_understood": list(network.not_understood),
        "not_asked": list(network.not_asked),
    }


def netdev_record(netdev: Netdev) -> dict[str, object]:
    """Return one entry of `netdevs`."""
    return {
        "id": netdev.id,
        "type": netdev.type,
        "info": netdev.info,
        "nic": netdev.nic,
        "hub": netdev.hub,
        "queues": netdev.queues,
        "ghost": netdev.ghost,
        "filters": [
            {"id": one.id, "type": one.type, "properties": dict(one.properties)} for one in netdev.filters
        ],
    }


def nic_record(nic: Nic) -> dict[str, object]:
    """Return one entry of `nics`."""
    return {
        "id": nic.id,
        "model": nic.model,
        "mac": nic.mac,
        "netdev": nic.netdev,
        "hub": nic.hub,
        "path": nic.path,
        "link": None if nic.link_up is None else "up" if nic.link_up else "down",
        "queues": nic.queues,
    }


def _print_network(network: Network) -> None:
    # NICs of one name have theirs in QEMU's order.
    below = {nic.id: deque(network.below(nic.id)) for nic in network.nics}
    rows: list[tuple[object, ...]] = []
    for nic in network.nics:
        row: tuple[object, ...] = (None, None, None)
        if mine := below.get(nic.id):
            row = _netdev_cells(mine.popleft())
        rows.append(
            (nic.id, nic.model, nic.mac, *(row if nic.hub is None else (f"hub {nic.hub}", None, None)))
        )
    left = {id(netdev) for those in below.values() for netdev in those}
    for netdev in network.netdevs:
        if netdev.nic not in below or id(netdev) in left:
            place = None if netdev.hub is None else f"hub {netdev.hub}"
            rows.append((place, None, None, *_netdev_cells(netdev)))
    if not rows:
        out.talk("This VM has neither a NIC nor a netdev.")
        return
    out.table(("NIC", "MODEL", "MAC", "NETDEV", "TYPE", "INFO"), rows)
    _print_filters([one for netdev in network.netdevs for one in netdev.filters])


def _netdev_cells(netdev: Netdev) -> tuple[object, ...]:
    return _name(netdev.id, netdev.ghost), netdev.type, netdev.info or None


def _print_filters(filters: list[Filter]) -> None:
    foreign = [one for one in filters if not one.ours]
    if foreign:
        out.data("", harmless=True)
        out.table(
            ("FILTER", "TYPE", "NETDEV", "PROPERTIES"),
            [
                (one.id, one.type, one.netdev, ",".join(f"{name}={value}" for name, value in one.properties))
                for one in foreign
            ],
        )
    # A capture has two filters with long names on each netdev; who makes it is what people want to know.
    captures = {(one.netdev, _maker(one.id)) for one in filters if one.ours}
    for netdev, maker in sorted(captures):
        out.talk(f"{netdev} is captured by {maker}")


def _maker(filter_id: str) -> str:
    from qmon.network.ids import Life, owner_of

    owner = owner_of(filter_id)
    if owner is None:
        return f"a qmon (filter {filter_id})"
    where = {Life.GONE: ", which is gone", Life.FOREIGN: " of another host or container"}.get(
        owner.life(), ""
    )
    return f"qmon pid {owner.pid}{where}"


def _name(id_: str, ghost: bool) -> str:
    return f"{id_} (deleted)" if ghost else id_


@info.command(
    epilog="States are QEMU's own. HOST_FORWARD is a forward that waits; a TCP forward whose guest does not answer "
    "shows SYN_SENT; UDP and ICMP show the seconds until they are forgotten. FD is a descriptor of the QEMU process."
    "\n\n\b\nExamples:\n  qmon info usernet\n  qmon info usernet --raw"
)
@_raw_option
@out.output_option
@click.pass_obj
def usernet(context: Context, output: str, raw: bool) -> None:
    """Show the connections and forwards of the user-mode stacks."""
    out.run(_usernet(context, output, raw))


async def _usernet(context: Context, output: str, raw: bool) -> None:
    async with context.attach() as session:
        if raw:
            out.data(await inspect.usernet_text(session))
            return
        stacks = await inspect.usernet(session)
    if output == "json":
        out.document({"stacks": [stack_record(stack) for stack in stacks]})
    else:
        _print_usernet(stacks)
    for stack in stacks:
        for line in stack.not_understood:
            out.talk(f"not understood: {line}")


def stack_record(stack: UsernetStack) -> dict[str, object]:
    """Return one entry of the document of `info usernet`."""
    return {
        "netdev": stack.netdev,
        "hub": stack.hub,
        "connections": [
            {
                "protocol": one.protocol,
                "state": one.state,
                "expires_s": one.expires_s,
                "fd": one.fd,
                "source": _end_record(one.source),
                "destination": _end_record(one.destination),
                "recv_queue": one.recv_queue,
                "send_queue": one.send_queue,
            }
            for one in stack.connections
        ],
        "not_understood": list(stack.not_understood),
    }


def _end_record(end: Endpoint) -> dict[str, object]:
    return {"address": end.address, "port": end.port}


def _print_usernet(stacks: tuple[UsernetStack, ...]) -> None:
    if not stacks:
        out.talk("This VM has no user-mode network.")
        return
    out.table(
        ("NETDEV", "PROTOCOL", "STATE", "FD", "SOURCE", "DESTINATION", "RECVQ", "SENDQ"),
        [(stack.netdev, *_cells(one)) for stack in stacks for one in stack.connections],
    )


def _cells(one: UsernetConnection) -> tuple[object, ...]:
    ends = (_end(one.source), _end(one.destination))
    return (one.protocol, one.state, one.fd, *ends, one.recv_queue, one.send_queue)


def _end(end: Endpoint) -> str:
    return end.address if end.port is None else f"{end.address}:{end.port}"
