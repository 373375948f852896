"""What a field is: Wireshark's name and label for it, its type, and how it is read.

A field is one entry in the table of its protocol. Most lie at a fixed place of their protocol's header (`at`, `size`,
`mask`): from that one entry both a single frame and a whole batch are read. The others have a function that is given
the protocol's layer in one frame (`read`).

Owns the shapes, and how a value is written. Must never know a protocol.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from socket import AF_INET6, inet_ntop

from qmon.packets.fields.layer import Layer
from qmon.text import plain

Value = int | float | str | bytes


class Kind(Enum):
    """The type of a field's values. Numbers, truths and addresses are ints; addresses have the size of their bytes."""

    NUMBER = "number"
    HEX = "hexadecimal number"
    TRUTH = "truth"
    ETHER = "hardware address"
    IPV4 = "IPv4 address"
    IPV6 = "IPv6 address"
    BYTES = "bytes"
    STRING = "text"
    SECONDS = "seconds"
    PROTOCOL = "protocol"


ADDRESS_BYTES = {Kind.ETHER: 6, Kind.IPV4: 4, Kind.IPV6: 16}
NUMBERS = frozenset({Kind.NUMBER, Kind.HEX, Kind.TRUTH})


@dataclass(frozen=True, slots=True)
class Field:
    """One field. `layers` are the protocols whose layers have it, `at` its places in the header (`tcp.port` has two).

    `when` says of a layer whether it has the field at all. `mask` is of the number that its bytes make, `names` are
    Wireshark's names of its numbers.
    """

    name: str
    kind: Kind
    label: str
    layers: tuple[str, ...]
    at: tuple[int, ...] = ()
    size: int = 0
    mask: int = 0
    when: Callable[[Layer], bool] | None = None
    read: Callable[[Layer], Iterable[Value]] | None = None
    names: Mapping[int, str] | None = None

    @property
    def shift(self) -> int:
        """How far the masked bits are moved down."""
        return (self.mask & -self.mask).bit_length() - 1 if self.mask else 0

    @property
    def fixed(self) -> bool:
        """Whether every layer has it at the same place: whole batches can be read."""
        return bool(self.at) and self.when is None

    def values(self, layer: Layer) -> Iterable[Value]:
        """Return what one of its protocol's layers holds of it."""
        if self.when is not None and not self.when(layer):
            return ()
        if self.read is not None:
            return self.read(layer)
        found = []
        for at in self.at:
            raw = layer.bytes(at, self.size)
            if raw is not None:
                found.append(self._value(raw))
        return found

    def _value(self, raw: bytes) -> Value:
        if self.kind is Kind.BYTES:
            return raw
        number = int.from_bytes(raw, "big")
        return (number & self.mask) >> self.shift if self.mask else number

    def text(self, value: Value) -> str:
        """Write a value as `tshark -T fields` does."""
        if self.kind is Kind.TRUTH:
            return "1" if value else "0"
        if self.kind is Kind.HEX and isinstance(value, int):
            return f"0x{value:0{2 * self.size or 1}x}"
        if self.kind is Kind.SECONDS and isinstance(value, int):
            return seconds(value)
        if self.kind in ADDRESS_BYTES and isinstance(value, int):
            return address(self.kind, value)
        if self.kind is Kind.PROTOCOL:
            return self.name
        if isinstance(value, bytes):
            return value.hex()
        return plain(value) if isinstance(value, str) else str(value)


def seconds(ns: int) -> str:
    """Write a number of ns as seconds with nine digits."""
    sign, ns = ("-", -ns) if ns < 0 else ("", ns)
    return f"{sign}{ns // 10**9}.{ns % 10**9:09}"


@functools.lru_cache(8192)
def address(kind: Kind, value: int) -> str:
    """Write an address."""
    raw = value.to_bytes(ADDRESS_BYTES[kind], "big")
    if kind is Kind.ETHER:
        return raw.hex(":")
    return ".".join(map(str, raw)) if kind is Kind.IPV4 else inet_ntop(AF_INET6, raw)


class Table:
    """Makes the entries of one protocol: all have its layer, and what lies at a fixed place needs only be named."""

    def __init__(self, layer: str, label: str, *, like: tuple[str, ...] = ()) -> None:
        """Begin with the protocol itself; the layers of those that are `like` it have its fields too."""
        self.layers = (layer, *like)
        self.fields = [Field(layer, Kind.PROTOCOL, label, (layer,), read=_present)]

    def fixed(
        self,
        name: str,
        label: str,
        at: int | tuple[int, ...],
        size: int,
        kind: Kind = Kind.NUMBER,
        *,
        mask: int = 0,
        when: Callable[[Layer], bool] | None = None,
        names: Mapping[int, str] | None = None,
    ) -> None:
        """Add a field that lies `at` so many bytes from the header's begin."""
        places = at if isinstance(at, tuple) else (at,)
        self.fields.append(Field(name, kind, label, self.layers, places, size, mask, when, names=names))

    def flag(
        self,
        name: str,
        label: str,
        at: int,
        mask: int,
        *,
        size: int = 1,
        when: Callable[[Layer], bool] | None = None,
    ) -> None:
        """Add one bit."""
        self.fixed(name, label, at, size, Kind.TRUTH, mask=mask, when=when)

    def read(
        self,
        name: str,
        label: str,
        kind: Kind,
        read: Callable[[Layer], Iterable[Value]],
        *,
        size: int = 0,
        names: Mapping[int, str] | None = None,
    ) -> None:
        """Add a field that a function finds; `size` is of its bytes where it is written in hexadecimal."""
        self.fields.append(Field(name, kind, label, self.layers, (), size, read=read, names=names))


def _present(layer: Layer) -> Iterable[Value]:  # noqa: ARG001
    return (1,)
