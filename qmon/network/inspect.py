"""A VM's network, asked of its monitor: `info network` and QOM joined into a `Network`.

Owns which questions are asked. Must only ask what leaves the VM as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from qmon.errors import Refused
from qmon.monitor import commands
from qmon.monitor.hmp import (
    FilterText,
    HubText,
    NetClient,
    NetworkText,
    UsernetStack,
    parse_network,
    parse_usernet,
)
from qmon.monitor.links import known as known_links
from qmon.monitor.protocol import Monitor
from qmon.network.ids import PREFIX
from qmon.network.model import Filter, Forward, Hub, HubPort, Netdev, Network, Nic
from qmon.network.probe import why_unfilterable

# Questions about one netdev, filter or NIC each, of each of the three kinds; one takes some 0.3 ms.
ASK_LIMIT = 1000
_ANONYMOUS = ("/machine/peripheral-anon", "/machine/unattached")
# Properties that every QOM object has, or that say nothing of a filter that is not known already.
_NOT_A_FILTER_PROPERTY = frozenset({"type", "position", "insert", "netdev"})


async def inspect(session: Monitor, *, links: Mapping[str, bool] | None = None) -> Network:
    """Return what is plugged into what now.

    `links` are the link states that are known, by NIC; unless given, those that qmons have set.
    """
    text = parse_network(await network_text(session))
    questions = _Questions()
    ghosts = await _ghosts(session, text, questions)
    properties = await _filter_properties(session, text, questions)
    paths = await _nic_paths(session, text, questions)
    states = known_links(session.peer_pid) if links is None else links
    network = build(text, ghosts=ghosts, properties=properties, paths=paths, links=states)
    return replace(network, not_asked=tuple(questions.left_out))


async def usernet(session: Monitor) -> tuple[UsernetStack, ...]:
    """Return the user-mode stacks with their connections and forwards."""
    return parse_usernet(await usernet_text(session))


async def network_text(session: Monitor) -> str:
    """Return `info network` as this QEMU prints it."""
    # QEMU after 11.1 has a QMP command for it, and may be built without the human monitor.
    if "x-query-network" in await session.commands():
        return await commands.x_query_network(session)
    return await session.hmp("info network")


async def usernet_text(session: Monitor) -> str:
    """Return `info usernet` as this QEMU prints it; empty where QEMU was built without user networking."""
    if "x-query-usernet" in await session.commands():
        return await commands.x_query_usernet(session)
    reply = await session.hmp("info usernet")
    return "" if reply.startswith("unknown command: ") else reply


def forwards(stacks: tuple[UsernetStack, ...]) -> tuple[Forward, ...]:
    """Return the host forwards among the rows of `info usernet`."""
    return tuple(
        Forward(
            stack.netdev,
            row.protocol.lower(),
            row.source.address,
            row.source.port or 0,
            row.destination.address,
            row.destination.port or 0,
        )
        for stack in stacks
        for row in stack.connections
        if row.is_forward
    )


# Joining, pure


def build(
    text: NetworkText,
    *,
    ghosts: frozenset[str] = frozenset(),
    properties: Mapping[str, tuple[tuple[str, str], ...]] | None = None,
    paths: Mapping[str, str] | None = None,
    links: Mapping[str, bool] | None = None,
) -> Network:
    """Join the text with what QOM said; `ghosts` are ids of netdevs that QEMU no longer has."""
    properties, paths, links = properties or {}, paths or {}, links or {}
    netdevs: list[Netdev] = []
    nics: list[Nic] = []

    def backend(client: NetClient, nic: str | None, hub: int | None) -> None:
        filters = tuple(_filter(one, client.id, properties) for one in client.filters)
        netdevs.append(Netdev(client.id, client.type, client.info, nic, hub, filters, client.queues))

    def card(client: NetClient, netdev: str | None, hub: int | None) -> None:
        # A link set under the netdev's name is the NIC's as well.
        path, link = paths.get(client.id), links.get(client.id, links.get(netdev or ""))
        nics.append(Nic(client.id, client.model, client.mac, netdev, hub, path, client.queues, link))

    for client, hub in _clients(text):
        if client.type == "nic":
            card(client, client.peer.id if client.peer else None, hub)
            if client.peer is not None:
                backend(client.peer, client.id, hub)
        else:
            backend(client, None, hub)
    hubs = tuple(_hub(hub) for hub in text.hubs)
    return Network(_with_ghosts(netdevs, ghosts), tuple(nics), hubs, text.not_understood)


def _clients(text: NetworkText) -> Iterator[tuple[NetClient, int | None]]:
    yield from ((client, None) for client in text.clients)
    for hub in text.hubs:
        yield from ((port.client, hub.id) for port in hub.ports if port.client is not None)


def _with_ghosts(netdevs: list[Netdev], ghosts: frozenset[str]) -> tuple[Netdev, ...]:
    # Of two netdevs with one id, only the latest can be alive: QEMU gives an id again when its owner is deleted.
    last = {netdev.id: index for index, netdev in enumerate(netdevs)}
    unplugged = {netdev.id for netdev in netdevs if netdev.nic is None and netdev.hub is None}
    return tuple(
        replace(netdev, ghost=True)
        if netdev.id in ghosts
        or (netdev.nic is not None and (netdev.id in unplugged or last[netdev.id] != index))
        else netdev
        for index, netdev in enumerate(netdevs)
    )


def _hub(hub: HubText) -> Hub:
    return Hub(hub.id, tuple(HubPort(port.id, port.client.id if port.client else None) for port in hub.ports))


def _filter(text: FilterText, netdev: str, known: Mapping[str, tuple[tuple[str, str], ...]]) -> Filter:
    pairs = (part.partition("=") for part in text.properties.split(","))
    read = tuple((name, value) for name, equals, value in pairs if equals and name != "netdev")
    return Filter(text.id, text.type, netdev, known.get(text.id, read))


# Asking


class _Questions:
    """Keeps the number of questions of one kind within `ASK_LIMIT`; `left_out` says what was not asked."""

    def __init__(self) -> None:
        self.left_out: list[str] = []

    def about(self, ids: Iterable[str], asked: str) -> list[str]:
        """Return the ids to ask about, each once; `asked` says of what kind they are and what is asked."""
        wanted = list(dict.fromkeys(ids))
        if len(wanted) > ASK_LIMIT:
            self.left_out.append(f"Only the first {ASK_LIMIT:,} of {len(wanted):,} {asked}.")
        return wanted[:ASK_LIMIT]


async def _ghosts(session: Monitor, text: NetworkText, questions: _Questions) -> frozenset[str]:
    plugged = (client.peer.id for client in text.clients if client.peer is not None)
    wanted = questions.about(plugged, "netdevs were checked for deletion")
    return frozenset({netdev for netdev in wanted if not await is_backend(session, netdev)})


async def is_backend(session: Monitor, netdev: str) -> bool:
    """Tell whether QEMU still has a netdev of this id."""
    problem = await why_unfilterable(session, netdev)
    return problem is None or "network backend" not in problem.reason


async def _filter_properties(
    session: Monitor, text: NetworkText, questions: _Questions
) -> dict[str, tuple[tuple[str, str], ...]]:
    there = (
        one.id
        for client, _ in _clients(text)
        for one in (*client.filters, *(client.peer.filters if client.peer else ()))
        if not one.id.startswith(PREFIX) and "/" not in one.id
    )
    wanted = questions.about(there, "filters were asked for their properties")
    found = {one: await _properties(session, f"/objects/{one}") for one in wanted}
    return {id_: pairs for id_, pairs in found.items() if pairs}


async def _properties(session: Monitor, path: str) -> tuple[tuple[str, str], ...]:
    pairs = []
    try:
        for entry in await commands.qom_list(session, path):
            if entry.name not in _NOT_A_FILTER_PROPERTY and not entry.type.startswith("child<"):
                value = await commands.qom_get(session, path, entry.name)
                pairs.append((entry.name, _as_text(value)))
    except Refused:
        return ()  # It went away between two questions; the text's own reading stands.
    return tuple(pairs)


def _as_text(value: Any) -> str:
    return ("on" if value else "off") if isinstance(value, bool) else str(value)


async def _nic_paths(session: Monitor, text: NetworkText, questions: _Questions) -> dict[str, str]:
    nics = {client.id: client for client, _ in _clients(text) if client.type == "nic"}
    named = await children(session, "/machine/peripheral")
    paths = {id_: f"/machine/peripheral/{id_}" for id_ in nics if id_ in named}
    rest = {
        (client.model or "", client.mac): id_
        for id_, client in nics.items()
        if id_ not in paths and client.mac is not None
    }
    models = {model for model, _ in rest}
    for place in _ANONYMOUS if rest else ():
        kinds = {name: kind for name, kind in (await children(session, place)).items() if kind in models}
        for name in questions.about(kinds, f"devices in {place} were asked which NIC they are"):
            mac = await _get(session, f"{place}/{name}", "mac")
            id_ = rest.pop((kinds[name], mac or ""), None)
            if id_ is not None:
                paths[id_] = f"{place}/{name}"
    return paths


async def children(session: Monitor, path: str) -> dict[str, str]:
    """Return a QOM node's children as name → type."""
    try:
        listed = await commands.qom_list(session, path)
    except Refused:
        return {}
    return {one.name: one.type[6:-1] for one in listed if one.type.startswith("child<")}


async def _get(session: Monitor, path: str, name: str) -> str | None:
    try:
        return str(await commands.qom_get(session, path, name))
    except Refused:
        return None
