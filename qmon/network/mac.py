"""MAC addresses of new NICs: free ones for those that were given none, and what is wrong with those that were. Pure.

QEMU numbers NICs without an address from 52:54:00:12:34:56 on in every VM, so that two VMs on one network have the
same; here each is drawn from what tells the VM and the NIC from all others. Must never change what a user gave.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from itertools import count

from qmon.errors import Refused, UsageError
from qmon.network.model import Network
from qmon.text import plain

# The prefix that QEMU's addresses have (net/net.c), locally administered.
_PREFIX = bytes.fromhex("525400")
_MAC = re.compile(r"[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}")


def check_mac(text: str, network: Network) -> None:
    """Refuse an address that no NIC can have, or that another NIC of the VM has."""
    if not _MAC.fullmatch(text):
        return  # QEMU says what is wrong with it.
    packed = _packed(text)
    if packed[0] & 1:
        raise UsageError(
            f"mac={plain(text)} is a multicast address: frames to it are for a group, never for one NIC",
            hint=f"The first byte must be even, as in {_text(bytes([packed[0] & 0xFE]) + packed[1:])}",
        )
    owner = next((nic for nic in network.nics if nic.mac and _packed(nic.mac) == packed), None)
    if owner is not None:
        raise Refused(
            f"mac={plain(text)} is the address of {plain(owner.id)} already: on one network neither would work",
            hint="Leave mac= out, and a free address is chosen.",
        )


def free_mac(seed: str, network: Network) -> str:
    """Return an address that no NIC of the VM has; the same for the same `seed` and network."""
    taken = {_packed(nic.mac) for nic in network.nics if nic.mac and _MAC.fullmatch(nic.mac)}
    return _text(next(one for one in _candidates(seed) if one not in taken))


def _candidates(seed: str) -> Iterable[bytes]:
    for number in count():
        yield _PREFIX + hashlib.sha256(f"{seed} {number}".encode(errors="surrogateescape")).digest()[:3]


def _packed(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", "").replace("-", "")) if _MAC.fullmatch(text) else b""


def _text(packed: bytes) -> str:
    return packed.hex(":")
