"""The guest found on its wire: by the address that was given, by one that is known, or by a scan of its network.

Owns the order of what is tried. Must never ask toward the network.
"""

from __future__ import annotations

from qmon.errors import UsageError
from qmon.wire.finding import Found, everybody, resolve, scan
from qmon.wire.neighbour import Neighbour
from qmon.wire.opening import Place
from qmon.wire.subnet import to_scan


async def find_guest(place: Place, us: Neighbour, address: str | None, *, six: bool) -> Found | None:
    """Return where the guest is; None where nobody answers."""
    if address is not None:
        return await resolve(place.wire, us, address)
    if six:
        return await _find6(place, us)
    return await _find4(place, us)


async def _find4(place: Place, us: Neighbour) -> Found | None:
    if place.subnet is None:
        raise UsageError(
            f"the addresses on {place.netdev.id} are not known", hint="Name the guest's: qmon ping ADDRESS."
        )
    mac = place.nic.mac if place.nic else None
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
