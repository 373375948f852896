"""The guest found on its wire: by the address that was given, by one that is known, or by a scan of its network.

Owns the order of what is tried. Must never ask toward the network.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from qmon.errors import UsageError
from qmon.wire.finding import Found, everybody, resolve, scan
from qmon.wire.knowing import learn_subnet
from qmon.wire.neighbour import Neighbour
from qmon.wire.opening import Place, speaking
from qmon.wire.subnet import to_scan

# An address that was seen is asked for less patiently: if it is not the guest's any more, others are tried.
_KNOWN_S = 0.4


async def find_guest(place: Place, us: Neighbour, address: str | None, *, six: bool) -> Found | None:
    """Return where the guest is; None where nobody answers."""
    if address is not None:
        return await resolve(place.wire, us, address)
    if six:
        return await _find6(place, us)
    return await _find4(place, us)


@asynccontextmanager
async def speaking_to_guest(
    place: Place, source: str | None, address: str | None
) -> AsyncIterator[Neighbour]:
    """Give somebody to speak as, in the guest's own network: where nothing is known of it, that is asked for first."""
    if source is None and address is None and not place.seen4:
        await learn_subnet(place)
    async with speaking(place, source, about=address) as us:
        yield us


def known_addresses(place: Place) -> list[str]:
    """Return the addresses that the guest is known to have, the one seen last first; and what a server offered it."""
    mac = place.nic.mac if place.nic else None
    known = place.vm.addresses.of(place.netdev.id, mac) if mac else ()
    seen = sorted(known, key=lambda one: -one.seen_ns)
    return [*(one.address for one in seen), *sorted(place.used)]


async def ask_all(place: Place, us: Neighbour) -> list[Found]:
    """Ask for every address of the guest's network by ARP, and for all IPv6 nodes; return who answered."""
    found = (
        []
        if place.subnet is None
        else await scan(place.wire, us, to_scan(place.subnet), mac=None, enough=1 << 20)
    )
    return [*found, *await everybody(place.wire, us), *await _ask_known6(place, us)]


async def _ask_known6(place: Place, us: Neighbour) -> list[Found]:
    """Ask whether the guest still has the IPv6 addresses it is known to have."""
    six = [one for one in known_addresses(place) if ":" in one]
    asked = [await resolve(place.wire, us, one, patience_s=_KNOWN_S) for one in six]
    return [one for one in asked if one is not None]


async def _find4(place: Place, us: Neighbour) -> Found | None:
    mac = place.nic.mac if place.nic else None
    for address in known_addresses(place):
        if ":" in address:
            continue
        there = await resolve(place.wire, us, address, patience_s=_KNOWN_S)
        if there is not None:
            return there
    if place.subnet is None:
        raise UsageError(
            f"no address of the guest on {place.netdev.id} is known", hint="Name it as the command's ADDRESS."
        )
    candidates = to_scan(place.subnet)
    likely = [one for one in candidates if one in place.subnet.leases]
    for some in (likely, [one for one in candidates if one not in place.subnet.leases]):
        found = await scan(place.wire, us, some, mac=mac) if some else []
        best = [one for one in found if one.mac == mac or mac is None]
        if best or found:
            return (best or found)[0]
    return None


async def _find6(place: Place, us: Neighbour) -> Found | None:
    mac = place.nic.mac if place.nic else None
    found = await everybody(place.wire, us)
    return next((one for one in found if one.mac == mac), found[0] if found else None)
