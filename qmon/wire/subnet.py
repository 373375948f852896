"""What is known of the network at a netdev: which addresses it has, its router, and which address nobody uses. Pure.

Owns the choice of addresses for a made-up neighbour. Must never give one that is known to be somebody's.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from qmon.network.model import Netdev
from qmon.network.userstack import LEASES, UserStack, assumed_stack, user_stack

Options = Mapping[str, str]
# What is assumed where nobody tells how long a network's prefix is.
_ASSUMED_BITS = 24
# Of a larger network, only so many addresses are tried one by one.
SCAN_LIMIT = 1024
# Where the prefix is not known, a neighbour lives so near to the guest that most prefixes would cover both.
_NEAR_BITS = 28


@dataclass(frozen=True, slots=True)
class Subnet:
    """An IPv4 network. `own` are addresses of routers and servers, `leases` those that a user-mode stack gives away.

    `alone` says that only the guest and the stack are on it; `exact` that the prefix is known and not assumed.
    """

    network: ipaddress.IPv4Network
    router: str | None = None
    dns: tuple[str, ...] = ()
    own: frozenset[str] = frozenset()
    leases: tuple[str, ...] = ()
    alone: bool = False
    exact: bool = True

    def __contains__(self, address: str) -> bool:
        return ipaddress.IPv4Address(address) in self.network


def user_subnet(netdev: Netdev, networks: Sequence[Options]) -> Subnet | None:
    """Return the network of a user-mode stack; `networks` is what its QEMU was started with, as far as is known."""
    stack = user_stack(netdev, networks) or assumed_stack(netdev)
    return _of_stack(stack) if stack else None


def _of_stack(stack: UserStack) -> Subnet:
    network = ipaddress.IPv4Network((stack.network, stack.prefix_bits), strict=False)
    first = ipaddress.IPv4Address(stack.first_lease)
    leases = tuple(str(first + number) for number in range(LEASES) if first + number in network)
    roles = {role: address for address, role in stack.roles.items() if ":" not in address}
    return Subnet(
        network,
        router=roles.get("gateway"),
        dns=tuple(filter(None, [roles.get("dns")])),
        own=frozenset(roles.values()),
        leases=leases,
        alone=True,
    )


def around(
    address: str,
    *,
    bits: int | None = None,
    router: str | None = None,
    dns: tuple[str, ...] = (),
    own: Iterable[str] = (),
) -> Subnet:
    """Return the network that an address is in; where the length of its prefix is not known it is assumed."""
    network = ipaddress.IPv4Network((address, bits or _ASSUMED_BITS), strict=False)
    return Subnet(network, router, dns, own=frozenset(own), exact=bits is not None)


def free_addresses(subnet: Subnet, used: Collection[str] = ()) -> Iterator[str]:
    """Yield addresses that nobody is known to use, the most suitable first; `used` are addresses seen in use."""
    taken = {*subnet.own, *subnet.leases, *used}
    network = subnet.network
    if not subnet.exact and used:
        # Among the guest's nearest neighbours first.
        near = ipaddress.IPv4Network((min(used), _NEAR_BITS), strict=False)
        yield from (one for one in _from_top(near) if one not in taken and one in subnet)
    yield from (one for one in _from_top(network) if one not in taken)


def _from_top(network: ipaddress.IPv4Network) -> Iterator[str]:
    last, first = int(network.broadcast_address) - 1, int(network.network_address) + 1
    for number in range(last, max(first, last - SCAN_LIMIT) - 1, -1):
        yield str(ipaddress.IPv4Address(number))


def to_scan(subnet: Subnet) -> list[str]:
    """Return the addresses at which a guest may be, the likely ones first; nothing of a network that is too large."""
    if subnet.network.num_addresses > SCAN_LIMIT:
        return list(subnet.leases)
    rest = (str(one) for one in subnet.network.hosts())
    return list(dict.fromkeys((*subnet.leases, *(one for one in rest if one not in subnet.own))))
