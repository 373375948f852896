"""A VM attached to, followed and spoken on: what every command that asks stands on.

Owns the choice of the netdev, and who speaks: the neighbour, made up or given. Must never send toward a network where
other machines may live without being allowed to.
"""

from __future__ import annotations

import ipaddress
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from qmon.capture.describe import present_netdevs
from qmon.capture.following import FollowedVm
from qmon.capture.vm import CaptureOptions
from qmon.errors import Refused, UsageError
from qmon.monitor.address import Target
from qmon.monitor.discovery import seen
from qmon.network.inspect import inspect
from qmon.network.model import Netdev, Network, Nic
from qmon.wire.headers import header_of
from qmon.wire.injection import Toward
from qmon.wire.layers import load_early
from qmon.wire.neighbour import Neighbour, is_free, made_up_mac, parse_source, present
from qmon.wire.subnet import Subnet, around, free_addresses, user_subnet
from qmon.wire.wire import PPS, Wire, polled

# Asks for leave to send toward the network; the text says what and why.
MaySend = Callable[[str], Awaitable[bool]]
# How many addresses are tried before a neighbour's is asked for.
_TRIED = 8


@dataclass(slots=True)
class Place:
    """A wire and what is on it. `networks` are the options its QEMU was started with, where these can be seen.

    `subnet` is None where nothing is known of the network's addresses.
    """

    vm: FollowedVm
    wire: Wire
    network: Network
    netdev: Netdev
    nics: tuple[Nic, ...]
    networks: Sequence[Mapping[str, str]] = ()
    subnet: Subnet | None = None
    used: set[str] = field(default_factory=set)
    may_send: MaySend | None = None
    allowed: bool = False

    @property
    def nic(self) -> Nic | None:
        """The NIC on the wire; None where there is none, or several by a hub."""
        return self.nics[0] if len(self.nics) == 1 else None

    @property
    def alone(self) -> bool:
        """Whether only the guest and QEMU's own stack are on this wire."""
        return self.netdev.type == "user" and len(self.nics) <= 1

    @property
    def seen4(self) -> set[str]:
        """The IPv4 addresses that were seen in use on this wire."""
        entries = self.vm.addresses.entries().items()
        found = (one.address for (netdev, _), known in entries if netdev == self.netdev.id for one in known)
        return {address for address in found if ":" not in address}

    async def allow_network(self, why: str) -> None:
        """Make sure that frames may be sent toward the network; `UsageError` where that was not allowed."""
        if self.alone or self.allowed:
            return
        self.allowed = self.may_send is not None and await self.may_send(
            f"{self.netdev.id} is a {self.netdev.type} network: other machines may be on it. {why}"
        )
        if not self.allowed:
            raise UsageError(
                f"nothing was sent toward the network of {self.netdev.id} ({self.netdev.type}): "
                "other machines may be on it",
                hint="--yes allows it.",
            )


@asynccontextmanager
async def open_place(
    target: Target | None, netdev: str | None, *, pps: float | None = PPS, may_send: MaySend | None = None
) -> AsyncIterator[Place]:
    """Attach, choose the netdev and tap it; at the end nothing of ours is in the VM."""
    load_early()
    async with AsyncExitStack() as stack:
        vm = await stack.enter_async_context(FollowedVm(target, CaptureOptions(events=False)))
        if vm.session is None:
            raise Refused(f"the monitor disconnected right after attaching: {vm.monitor_note}")
        network = await inspect(vm.session)
        chosen = choose(network, netdev)
        nics = nics_on(network, chosen)
        header = header_of(network, chosen, nics[0] if nics else None, vm.known.pid)
        wire = await stack.enter_async_context(Wire(vm, chosen.id, header=header, pps=pps))
        await stack.enter_async_context(polled(vm))
        process = vm.known.vm or await seen(vm.known.pid)
        networks = process.networks if process else ()
        subnet = user_subnet(chosen, networks)
        yield Place(vm, wire, network, chosen, nics, networks, subnet, may_send=may_send)


def choose(network: Network, named: str | None) -> Netdev:
    """Return the netdev that is meant: the named one, or the only one there is."""
    present_ = present_netdevs(network)
    if named is None and len(present_) == 1:
        named = next(iter(present_))
    if named is None:
        raise UsageError(
            f"which netdev? This VM has {len(present_)}: {', '.join(present_) or 'none'}",
            hint="Name it with --netdev ID.",
        )
    found = network.netdev(named)
    if found is None or found.ghost:
        raise Refused(f"there is no netdev {named}", hint="`qmon netdev ls` lists them.")
    return found


def nics_on(network: Network, netdev: Netdev) -> tuple[Nic, ...]:
    """Return the NICs at the other end of a netdev, through a hub too."""
    if netdev.hub is None:
        return tuple(one for one in network.nics if one.netdev == netdev.id and one.id == netdev.nic)
    return tuple(one for one in network.nics if one.hub == netdev.hub)


@asynccontextmanager
async def speaking(place: Place, source: str | None, *, about: str | None = None) -> AsyncIterator[Neighbour]:
    """Give, for the length of the block, somebody to speak as, who answers to those who ask where he is.

    `source` is ``ADDR[,MAC]`` of the user's choice; `about` the address that will be asked.
    """
    mac = made_up_mac(place.vm.known.name or place.vm.known.address, place.netdev.id)
    us = parse_source(source, mac) if source else await _made_up(place, mac, _ipv4(about))
    refuse_impostor(place, us, about)
    async with present(place.wire, us, lambda side: side is Toward.GUEST or place.alone or place.allowed):
        yield us


def _ipv4(text: str | None) -> str | None:
    try:
        return str(ipaddress.IPv4Address(text or ""))
    except ValueError:
        return None


async def _made_up(place: Place, mac: str, about: str | None) -> Neighbour:
    subnet = place.subnet
    near = about or min(place.seen4, default=None)
    if subnet is None and near is not None:
        subnet = around(near)
    if subnet is None:
        raise UsageError(
            f"no address on {place.netdev.id} is known that qmon could ask from",
            hint="Name one that nobody uses, in the guest's network: --source ADDR.",
        )
    used = place.used | place.seen4 | ({about} if about else set())
    for number, address in enumerate(free_addresses(subnet, used)):
        if place.alone:
            return Neighbour(mac, address)
        if number == _TRIED:
            break
        await place.allow_network(f"May qmon ask there, once, whether {address} is in use?")
        if await is_free(place.wire, mac, address, (Toward.GUEST, Toward.NETWORK)):
            return Neighbour(mac, address)
    raise Refused(
        f"no free address was found on {place.netdev.id}",
        hint="Name one that nobody uses with --source ADDR.",
    )


def refuse_impostor(place: Place, us: Neighbour, about: str | None) -> None:
    """Refuse to speak as the guest or as a router: that would take their place."""
    taken = {one.mac.lower() for one in place.network.nics if one.mac}
    own = place.subnet.own if place.subnet else frozenset()
    if us.address in own or us.address in place.used | place.seen4 or us.address == about:
        raise UsageError(
            f"--source: {us.address} is in use: qmon does not speak as the guest or as its router"
        )
    if us.mac in taken:
        raise UsageError(f"--source: {us.mac} is a NIC of this VM: qmon does not speak as the guest")
