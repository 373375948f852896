"""What can be known of the network at a netdev before anything else is asked there.

Owns the way to find out: a user-mode stack's own options, else the offer of a DHCP server. Must never ask a network
where that was not allowed.
"""

from __future__ import annotations

import ipaddress

from qmon.wire.opening import Place
from qmon.wire.questions import ask_dhcp
from qmon.wire.subnet import around


async def learn_subnet(place: Place) -> None:
    """Fill in the place's subnet where it is not known; it stays unknown where nobody tells."""
    if place.subnet is not None or place.nic is None or place.nic.mac is None:
        return
    await place.allow_network("May qmon ask its DHCP server which addresses it has?")
    offer = (await ask_dhcp(place)).answer
    if not offer:
        return
    routers, servers = offer["router"], offer["dns"]
    assert isinstance(routers, list)
    assert isinstance(servers, list)
    place.subnet = around(
        str(offer["address"]),
        bits=_bits(offer["netmask"]),
        router=next(iter(routers), None),
        dns=tuple(servers),
        own=(str(offer["server"]), *routers, *servers),
    )
    place.used.add(str(offer["address"]))


def _bits(mask: object) -> int | None:
    try:
        return ipaddress.IPv4Network(f"0.0.0.0/{mask}").prefixlen
    except ValueError:
        return None
