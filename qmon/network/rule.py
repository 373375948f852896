"""How a user spells a host forward, and how QEMU does. Pure.

Owns the two spellings: ours (`[HOST:]HPORT[-HLAST]:GPORT[/udp]`) and QEMU's (`tcp:HOST:HPORT-GUEST:GPORT`). Must
never let an address that was left out mean all of the host's: that would open the guest to the network.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address

from qmon.errors import UsageError
from qmon.network.model import Forward
from qmon.text import plain

DEFAULT_HOST = "127.0.0.1"
EVERY_HOST = "0.0.0.0"
_HOST = r"(?P<host>\[[^\]]*\]|[^:\[\]/]*)"
_RANGE = r"(?P<hport>\d{1,9})(?:-(?P<hlast>\d{1,9}))?"
_OURS = re.compile(
    rf"(?:{_HOST}:)?{_RANGE}:(?P<gport>\d{{1,9}})(?:-(?P<glast>\d{{1,9}}))?(?:/(?P<protocol>\w+))?"
)
_OUR_KEY = re.compile(rf"(?:{_HOST}:)?{_RANGE}(?:/(?P<protocol>\w+))?")
_QEMUS = re.compile(
    rf"(?P<protocol>tcp|udp|):{_HOST}:(?P<hport>\d{{1,9}})-(?P<guest>\[[^\]]*\]|[^:\[\]]*):(?P<gport>\d{{1,9}})"
)
_QEMU_KEY = re.compile(rf"(?P<protocol>tcp|udp):{_HOST}:(?P<hport>\d{{1,9}})")
# Each forward costs QEMU a descriptor, of which it may have as few as 1024.
_LONGEST_RANGE = 256
_ADD = (
    "write [HOST:]HPORT:GPORT[/udp], such as 2222:22 or 8000-8010:8000, or as QEMU does: "
    "tcp:127.0.0.1:2222-10.0.2.15:22"
)
_REMOVE = "write [HOST:]HPORT[/udp], such as 2222, 8000-8010 or 0.0.0.0:5353/udp"


@dataclass(frozen=True, slots=True)
class Key:
    """What tells one forward of a netdev from the others: where the host listens."""

    protocol: str
    host: str
    host_port: int

    def __str__(self) -> str:
        return f"{self.protocol}:{self.host}:{self.host_port}"

    def matches(self, forward: Forward) -> bool:
        """Tell whether this is where `forward` listens."""
        host = EVERY_HOST if forward.host_address == "*" else forward.host_address
        return (self.protocol, self.host, self.host_port) == (forward.protocol, host, forward.host_port)


@dataclass(frozen=True, slots=True)
class Rule:
    """A forward to be made; a `guest` that is empty is the first address QEMU's DHCP gives away."""

    key: Key
    guest: str
    guest_port: int

    def __str__(self) -> str:
        return f"{self.key}-{self.guest}:{self.guest_port}"


def parse_rules(text: str) -> tuple[Rule, ...]:
    """Read what `forward add` is given, one rule a port; UsageError says how it is spelt."""
    if not text.strip():
        raise UsageError("Enter a forward, e.g. 2222:22", hint=_ADD)
    match = _QEMUS.fullmatch(text) or _OURS.fullmatch(text)
    if match is None:
        raise UsageError(f"'{plain(text)}' is not a forward", hint=_ADD)
    guest = _address(match.groupdict().get("guest") or "", text)
    keys = _keys(match, text)
    first = _port(match["gport"], text, lowest=1)
    last = match.groupdict().get("glast")
    if last is not None and int(last) - first != len(keys) - 1:
        raise UsageError(f"'{plain(text)}': the two ranges are not of one length", hint=_ADD)
    _port(str(first + len(keys) - 1), text, lowest=1)
    return tuple(Rule(key, guest, first + number) for number, key in enumerate(keys))


def parse_keys(text: str) -> tuple[Key, ...]:
    """Read what `forward rm` is given, one key a port; UsageError says how it is spelt."""
    match = (
        _QEMUS.fullmatch(text)
        or _OURS.fullmatch(text)
        or _QEMU_KEY.fullmatch(text)
        or _OUR_KEY.fullmatch(text)
    )
    if match is None:
        raise UsageError(f"'{plain(text)}' is not a forward", hint=_REMOVE)
    return _keys(match, text)


def _keys(match: re.Match[str], text: str) -> tuple[Key, ...]:
    """Return where the host listens: one key, or one a port of a range."""
    first = _key(match, text)
    last = match.groupdict().get("hlast")
    if last is None:
        return (first,)
    length = _port(last, text, lowest=1) - first.host_port + 1
    if not first.host_port or not 1 <= length <= _LONGEST_RANGE:
        raise UsageError(
            f"'{plain(text)}' is not a range of ports",
            hint=f"a range goes from a lower port to a higher one, such as 8000-8010: {_LONGEST_RANGE} ports at most",
        )
    return tuple(Key(first.protocol, first.host, first.host_port + number) for number in range(length))


def _key(match: re.Match[str], text: str) -> Key:
    protocol = match["protocol"] or "tcp"
    if protocol not in ("tcp", "udp"):
        raise UsageError(
            f"'{plain(text)}': {plain(protocol)} cannot be forwarded", hint="only tcp and udp can"
        )
    host = _address(match["host"] or "", text) or DEFAULT_HOST
    return Key(protocol, host, _port(match["hport"], text, lowest=0))


def _address(given: str, text: str) -> str:
    if given in ("", "*", "localhost"):
        return {"*": EVERY_HOST, "localhost": DEFAULT_HOST}.get(given, "")
    try:
        return given if ip_address(given.strip("[]")).version == 4 else f"[{given.strip('[]')}]"
    except ValueError:
        raise UsageError(
            f"'{plain(text)}': '{plain(given)}' is not an address",
            hint="addresses are numbers here, such as 127.0.0.1; * is all addresses of the host",
        ) from None


def _port(digits: str, text: str, *, lowest: int) -> int:
    if not lowest <= int(digits) < 65536:
        raise UsageError(
            f"'{plain(text)}': {int(digits)} is not a port", hint=f"ports go from {lowest} to 65535"
        )
    return int(digits)
