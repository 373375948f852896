"""Operands: what a test compares, each a list of values in one packet."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from qmon.packets.fields.field import ADDRESS_BYTES, NUMBERS, Field, Kind, Value
from qmon.packets.fields.registry import Packet
from qmon.packets.filters.display.literals import Literal

# What is sliced of a protocol are its own bytes: of these the header alone, of others all they carry, too.
_HEADER_BYTES = {"eth": 14, "vlan": 4, "ipv6": 40, "udp": 8}


class Operand(ABC):
    """Has values in a packet: none, one or many. `kind` is their type."""

    kind: Kind

    @abstractmethod
    def values(self, packet: Packet) -> Sequence[Value]:
        """Return the values."""

    @property
    @abstractmethod
    def fields(self) -> tuple[Field, ...]:
        """The fields it is made of."""


@dataclass(frozen=True, slots=True)
class FieldValue(Operand):
    """A field; with `layer` only in the layer of that number, counted from 1, or backwards from -1."""

    field: Field
    layer: int | None = None

    @property
    def kind(self) -> Kind:  # type: ignore[override]
        """The field's type."""
        return self.field.kind

    @property
    def fields(self) -> tuple[Field, ...]:
        """See `Operand`."""
        return (self.field,)

    def values(self, packet: Packet) -> Sequence[Value]:
        """See `Operand`; a protocol's value are its bytes."""
        layers = list(packet.layers_with(self.field))
        if self.layer is not None:
            place = self.layer - 1 if self.layer > 0 else len(layers) + self.layer
            layers = layers[place : place + 1] if place >= 0 else []
        if self.field.kind is Kind.PROTOCOL and self.field.name in self.field.layers:
            return [one.data[one.at : one.stop] for one in layers]
        return [value for layer in layers for value in self.field.values(layer)]


@dataclass(frozen=True, slots=True)
class Constant(Operand):
    """A literal."""

    literal: Literal
    kind: Kind

    @property
    def fields(self) -> tuple[Field, ...]:
        """None."""
        return ()

    def values(self, packet: Packet) -> Sequence[Value]:  # noqa: ARG002
        """See `Operand`."""
        return (self.literal.value,)


@dataclass(frozen=True, slots=True)
class Range:
    """A piece of a value: from `start` (backwards from the end if negative), `size` long or to the end."""

    start: int
    size: int | None

    def of(self, value: bytes | str) -> bytes | str | None:
        """Return the piece, None if the value is too short."""
        start = self.start if self.start >= 0 else len(value) + self.start
        stop = len(value) if self.size is None else start + self.size
        return value[start:stop] if 0 <= start < stop <= len(value) else None


@dataclass(frozen=True, slots=True)
class Slice(Operand):
    """Pieces of an operand's values, one after the other."""

    of: Operand
    ranges: tuple[Range, ...]

    @property
    def kind(self) -> Kind:  # type: ignore[override]
        """Bytes, or text where the operand is text."""
        return Kind.STRING if self.of.kind is Kind.STRING else Kind.BYTES

    @property
    def fields(self) -> tuple[Field, ...]:
        """See `Operand`."""
        return self.of.fields

    def values(self, packet: Packet) -> Sequence[Value]:
        """See `Operand`."""
        found: list[Value] = []
        own = None
        if isinstance(self.of, FieldValue) and self.of.kind is Kind.PROTOCOL:
            own = _HEADER_BYTES.get(self.of.field.name)
        for value in self.of.values(packet):
            whole = as_bytes(value, self.of.kind)[:own]
            pieces = [part.of(whole) for part in self.ranges]
            if whole is not None and None not in pieces:
                found.append(whole[:0].join(pieces))  # type: ignore[arg-type]
        return found


def as_bytes(value: Value, kind: Kind) -> bytes | str:
    """Return a value as what can be cut: an address as its bytes."""
    if isinstance(value, int) and kind in ADDRESS_BYTES:
        return value.to_bytes(ADDRESS_BYTES[kind], "big")
    return value if isinstance(value, bytes | str) else str(value)


@dataclass(frozen=True, slots=True)
class Call(Operand):
    """A function of an operand's values."""

    name: str
    of: Operand

    @property
    def kind(self) -> Kind:  # type: ignore[override]
        """The type of what the function returns."""
        if self.name in ("len", "count"):
            return Kind.NUMBER
        return self.of.kind if self.name in ("max", "min", "abs") else Kind.STRING

    @property
    def fields(self) -> tuple[Field, ...]:
        """See `Operand`."""
        return self.of.fields

    def values(self, packet: Packet) -> Sequence[Value]:
        """See `Operand`."""
        values = self.of.values(packet)
        if self.name == "count":
            return (len(values),) if values else ()
        if self.name == "len":
            return [len(as_bytes(value, self.of.kind)) for value in values]
        if self.name in ("max", "min"):
            return (FUNCTIONS[self.name](values),) if values else ()
        if self.name == "string":
            field = self.of.fields[0]
            return [field.text(value) for value in values]
        return [FUNCTIONS[self.name](value) for value in values]


FUNCTIONS: dict[str, Callable[..., Value]] = {
    "len": len, "count": len, "string": str, "upper": str.upper, "lower": str.lower, "max": max, "min": min, "abs": abs,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Arithmetic(Operand):
    """Two operands' numbers combined."""

    sign: str
    left: Operand
    right: Operand

    @property
    def kind(self) -> Kind:  # type: ignore[override]
        """That of the left side."""
        return self.left.kind if self.left.kind in NUMBERS else Kind.NUMBER

    @property
    def fields(self) -> tuple[Field, ...]:
        """See `Operand`."""
        return self.left.fields + self.right.fields

    def values(self, packet: Packet) -> Sequence[Value]:
        """See `Operand`."""
        return [
            result
            for one in self.left.values(packet)
            for other in self.right.values(packet)
            if (result := combined(self.sign, one, other)) is not None
        ]


def combined(sign: str, one: Value, other: Value) -> int | None:
    """Return the result of an operator; None for what is no number, and for a division by 0."""
    if isinstance(one, bytes):
        one = int.from_bytes(one, "big")
    if isinstance(other, bytes):
        other = int.from_bytes(other, "big")
    if not isinstance(one, int) or not isinstance(other, int):
        return None
    if sign in "/%" and other == 0:
        return None
    results = {"&": one & other, "+": one + other, "-": one - other, "*": one * other}
    if sign in results:
        return results[sign]
    return one // other if sign == "/" else one % other
