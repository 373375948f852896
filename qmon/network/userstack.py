"""Which addresses a user-mode stack has for itself: its gateway, its name server, its SMB server. Pure.

Owns QEMU's rules for what an option left out means (net/slirp.c). Must never guess: what QEMU was started with tells,
and a netdev that was added since tells nothing.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from qmon.network.model import Netdev

Options = Mapping[str, str]

_ON = frozenset({"on", "yes", "true", "y"})
_INFO = re.compile(r"(?:^|,)net=([0-9.]+)(?:,|$)")
# The mask of a net= without one: (bits looked at, their value) → mask.
_MASKS = (
    (0x80000000, 0x00000000, 0xFF000000),
    (0xFFF00000, 0xAC100000, 0xFFF00000),
    (0xC0000000, 0x80000000, 0xFFFF0000),
    (0xFFFF0000, 0xC0A80000, 0xFFFF0000),
    (0xFFFF0000, 0xC6120000, 0xFFFE0000),
    (0xE0000000, 0xE0000000, 0xFFFFFF00),
)
_DEFAULT_NET, _DEFAULT_PREFIX = "10.0.2.0/24", "fec0::"
_GATEWAY, _DNS, _SMB, _LEASE = 0x0202, 0x0203, 0x0204, 0x020F
# libslirp's NB_BOOTP_CLIENTS.
LEASES = 16


@dataclass(frozen=True, slots=True)
class UserStack:
    """`network` is its IPv4 network's address, `roles` are what its own addresses are for: gateway, dns or smb.

    `prefix_bits` is the length of the network's prefix, `first_lease` the first of `LEASES` that it gives away.
    """

    network: str
    roles: Mapping[str, str]
    prefix_bits: int = 24
    first_lease: str = ""


def user_stack(netdev: Netdev, networks: Sequence[Options]) -> UserStack | None:
    """Return the stack behind a netdev; None where it is none, or its addresses are not known.

    `networks` are the options of the networks that its QEMU was started with (`Vm.networks`), nothing if unknown.
    A netdev that took the id of one on the command line is told from it by its network, if that differs.
    """
    if netdev.type != "user" or netdev.ghost:
        return None
    stacks = [one for one in networks if one.get("type") == "user"]
    if netdev.id.startswith("#"):  # QEMU's own choice, which says nothing of where it comes from.
        fitting = [one for one in stacks if "id" not in one]
    else:
        fitting = [one for one in stacks if one.get("id") == netdev.id]
    try:
        found = [_read(one) for one in fitting]
    except (ValueError, OSError):
        return None  # QEMU would not have started with it: these words are not its own.
    info = _INFO.search(netdev.info)
    if not found or any(one != found[0] for one in found) or info is None or info[1] != found[0].network:
        return None
    return found[0]


def assumed_stack(netdev: Netdev) -> UserStack | None:
    """Return the stack behind a user netdev as it is unless its options said otherwise; None where it has no IPv4.

    For those who only need a likely answer: a netdev that was added since the VM was started tells its network alone.
    """
    info = _INFO.search(netdev.info)
    if netdev.type != "user" or info is None:
        return None
    try:
        return _read({"net": f"{info[1]}/24"})
    except (ValueError, OSError):
        return None


def _read(options: Options) -> UserStack:
    network, mask = _network(options)
    roles: dict[str, str] = {}
    if _enabled(options, "ipv4", "ipv6"):
        # Later ones win where somebody gave two of them one address.
        if "smb" in options:
            server = _number(options.get("smbserver", "0.0.0.0")) or network | _SMB & ~mask
            roles[_text(server)] = "smb"
        roles[_text(_given(options, "dns", network | _DNS & ~mask))] = "dns"
        roles[_text(_given(options, "host", network | _GATEWAY & ~mask))] = "gateway"
    if _enabled(options, "ipv6", "ipv4"):
        given = options.get("ipv6-prefix") or options.get("ipv6-net", "").partition("/")[0]
        prefix = ipaddress.IPv6Address(given or _DEFAULT_PREFIX)
        for option, bits, role in (("ipv6-dns", 3, "dns"), ("ipv6-host", 2, "gateway")):
            own = options.get(option)
            roles[str(ipaddress.IPv6Address(own or int(prefix) | bits))] = role
    first = _text(_given(options, "dhcpstart", network | _LEASE & ~mask))
    return UserStack(_text(network), roles, mask.bit_count(), first)


def _enabled(options: Options, family: str, other: str) -> bool:
    given = options.get(family)
    if given is None:
        return options.get(other) not in _ON
    return given in _ON


def _network(options: Options) -> tuple[int, int]:
    ip = options.get("ip")
    text, slash, length = options.get("net", f"{ip}/24" if ip else _DEFAULT_NET).partition("/")
    address = _number(text)
    if not slash:
        mask = next((mask for bits, value, mask in _MASKS if address & bits == value), 0xFFFFFFF0)
    elif length.isdecimal():
        mask = 0xFFFFFFFF << 32 - min(int(length), 32) & 0xFFFFFFFF
    else:
        mask = _number(length)
    return address & mask, mask


def _given(options: Options, name: str, default: int) -> int:
    return _number(options[name]) if name in options else default


def _number(text: str) -> int:
    # As QEMU does, which takes what inet_aton takes.
    return int.from_bytes(socket.inet_aton(text))


def _text(number: int) -> str:
    return str(ipaddress.IPv4Address(number))
