"""Tests: relations between operands, and how they are joined; true or not of one packet.

Where an operand has several values, a relation holds if it holds for any of them; `!=` and `===` must hold for all, as
in Wireshark 4. What a packet does not have is in no relation.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass

from qmon.packets.fields.field import Field, Value
from qmon.packets.fields.registry import Packet
from qmon.packets.filters.display.literals import Literal
from qmon.packets.filters.display.values import Arithmetic, Constant, Operand, as_bytes


class Test(ABC):
    """Says of a packet whether it is meant."""

    __test__ = False  # Not pytest's.

    @abstractmethod
    def holds(self, packet: Packet) -> bool:
        """Look at a packet."""

    @property
    @abstractmethod
    def fields(self) -> tuple[Field, ...]:
        """The fields that are looked at."""


@dataclass(frozen=True, slots=True)
class Joined(Test):
    """Tests joined by `and`, `or` or `xor`."""

    word: str
    parts: tuple[Test, ...]

    @property
    def fields(self) -> tuple[Field, ...]:
        """See `Test`."""
        return tuple(field for part in self.parts for field in part.fields)

    def holds(self, packet: Packet) -> bool:
        """See `Test`."""
        if self.word == "and":
            return all(part.holds(packet) for part in self.parts)
        if self.word == "or":
            return any(part.holds(packet) for part in self.parts)
        return sum(part.holds(packet) for part in self.parts) % 2 == 1


@dataclass(frozen=True, slots=True)
class Not(Test):
    """The opposite of a test."""

    of: Test

    @property
    def fields(self) -> tuple[Field, ...]:
        """See `Test`."""
        return self.of.fields

    def holds(self, packet: Packet) -> bool:
        """See `Test`."""
        return not self.of.holds(packet)


@dataclass(frozen=True, slots=True)
class Exists(Test):
    """Whether there is such a value; of arithmetic, whether it is not 0."""

    of: Operand

    @property
    def fields(self) -> tuple[Field, ...]:
        """See `Test`."""
        return self.of.fields

    def holds(self, packet: Packet) -> bool:
        """See `Test`."""
        values = self.of.values(packet)
        return any(values) if isinstance(self.of, Arithmetic) else bool(values)


@dataclass(frozen=True, slots=True)
class Compare(Test):
    """A relation; `every` says whether all pairs of values must be in it, or one is enough."""

    sign: str
    left: Operand
    right: Operand
    every: bool

    @property
    def fields(self) -> tuple[Field, ...]:
        """See `Test`."""
        return self.left.fields + self.right.fields

    def holds(self, packet: Packet) -> bool:
        """See `Test`."""
        mask = self.right.literal.mask if isinstance(self.right, Constant) else None
        results = (
            compared(self.sign, one, other, mask)
            for one in self.left.values(packet)
            for other in self.right.values(packet)
        )
        if not self.every:
            return any(results)
        found = list(results)
        return bool(found) and all(found)


def compared(sign: str, one: Value, other: Value, mask: int | None = None) -> bool:
    """Say whether two values are in a relation; `mask` says which bits of them count."""
    if mask is not None and isinstance(one, int) and isinstance(other, int):
        one, other = one & mask, other & mask
    if type(one) is not type(other):
        one, other = _alike(one, other)
    if sign == "==":
        return one == other
    if sign == "!=":
        return one != other
    if sign == "<":
        return one < other  # type: ignore[operator]
    if sign == "<=":
        return one <= other  # type: ignore[operator]
    return one > other if sign == ">" else one >= other  # type: ignore[operator]


def _alike(one: Value, other: Value) -> tuple[Value, Value]:
    """Return two values of different types as bytes or text."""
    if isinstance(one, bytes) and isinstance(other, int):
        return int.from_bytes(one, "big"), other
    if isinstance(one, int) and isinstance(other, bytes):
        return one, int.from_bytes(other, "big")
    return str(one), str(other)


@dataclass(frozen=True, slots=True)
class Contains(Test):
    """Whether a value holds a text or bytes."""

    left: Operand
    literal: Literal
    every: bool = False

    @property
    def fields(self) -> tuple[Field, ...]:
        """See `Test`."""
        return self.left.fields

    def holds(self, packet: Packet) -> bool:
        """See `Test`."""
        wanted = self.literal.value
        results = []
        for value in self.left.values(packet):
            whole = as_bytes(value, self.left.kind)
            results.append(wanted in whole)  # type: ignore[operator]
        return (all(results) if self.every else any(results)) and bool(results)


@dataclass(frozen=True, slots=True)
class Matches(Test):
    """Whether a regular expression is found in a value."""

    left: Operand
    pattern: re.Pattern[bytes]
    every: bool = False

    @property
    def fields(self) -> tuple[Field, ...]:
        """See `Test`."""
        return self.left.fields

    def holds(self, packet: Packet) -> bool:
        """See `Test`."""
        results = []
        for value in self.left.values(packet):
            whole = as_bytes(value, self.left.kind)
            raw = whole.encode("utf-8", "surrogateescape") if isinstance(whole, str) else whole
            results.append(self.pattern.search(raw) is not None)
        return (all(results) if self.every else any(results)) and bool(results)


@dataclass(frozen=True, slots=True)
class In(Test):
    """Whether a value is one of a set's: each a literal, or the first and last of a range."""

    left: Operand
    members: tuple[tuple[Literal, Literal | None], ...]
    negated: bool = False
    every: bool = False

    @property
    def fields(self) -> tuple[Field, ...]:
        """See `Test`."""
        return self.left.fields

    def holds(self, packet: Packet) -> bool:
        """See `Test`."""
        results = [self._has(value) for value in self.left.values(packet)]
        if not results:
            return False
        return all(results) if self.every else any(results)

    def _has(self, value: Value) -> bool:
        found = any(
            compared("==", value, first.value, first.mask)
            if last is None
            else compared(">=", value, first.value) and compared("<=", value, last.value)
            for first, last in self.members
        )
        return found is not self.negated
