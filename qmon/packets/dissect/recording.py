"""Noting which bits every field takes while scapy dissects.

scapy's packets go through their `fields_desc` and hand each field what is left of the bytes. While a packet is
dissected, it is given stand-ins that do the same and note how much was left before and after. Must never change what
scapy does, but for stopping it when it has done enough.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

# A frame that keeps scapy busy for longer, or makes more fields of itself, is cut off there.
LIMIT_S = 0.4
LIMIT_FIELDS = 4000


class TooMuchError(Exception):
    """This frame costs too much: what follows is shown as data."""


@dataclass(slots=True)
class Span:
    """One field of a packet: what it is, its value, and its bits within the packet's bytes."""

    field: Any
    value: Any
    start_bit: int
    stop_bit: int
    parts: list[Record] = field(default_factory=list)


@dataclass(slots=True)
class Record:
    """What one packet (or part of one) was made of; `raw` is what it was given, `spans` what it took."""

    packet: Any
    raw: bytes
    spans: list[Span] = field(default_factory=list)

    @property
    def size(self) -> int:
        """How many bytes the fields took."""
        return (max(span.stop_bit for span in self.spans) + 7) // 8 if self.spans else 0


class Recording:
    """The records of one frame, by packet."""

    def __init__(self) -> None:
        self._records: dict[int, Record] = {}
        self._deadline = time.thread_time() + LIMIT_S
        self._fields = 0
        self._begun: list[Record] = []

    def begin(self, packet: Any, raw: bytes) -> Record:
        """Note that a packet begins to be dissected. The record keeps it alive, so its identity stays its own."""
        record = Record(packet, raw)
        self._records[id(packet)] = record
        if packet.underlayer is None:
            self._begun.append(record)
        return record

    def begun(self) -> int:
        """Return how many packets that are nobody's payload were begun so far."""
        return len(self._begun)

    def begun_since(self, before: int) -> list[Record]:
        """Return those that were begun since a count was taken: what a field consists of."""
        return self._begun[before:]

    def of(self, packet: Any) -> Record | None:
        """Return the record of a packet, if it was dissected from bytes."""
        return self._records.get(id(packet))

    def spend(self) -> None:
        """Count a field; TooMuchError if that was enough."""
        self._fields += 1
        if self._fields > LIMIT_FIELDS or (self._fields & 31 == 0 and time.thread_time() > self._deadline):
            raise TooMuchError


class StandIn:
    """Stands in for a field during one dissection."""

    __slots__ = ("_field", "_record", "_recording")

    def __init__(self, original: Any, record: Record, recording: Recording) -> None:
        self._field = original
        self._record = record
        self._recording = recording

    def __getattr__(self, name: str) -> Any:
        return getattr(self._field, name)

    def getfield(self, packet: Any, rest: Any) -> Any:
        """Let the field take its part, and note it."""
        if packet.name != "Raw":
            self._recording.spend()
        before = self._recording.begun()
        left, value = self._field.getfield(packet, rest)
        whole = len(self._record.raw) * 8
        # A field that took nothing and has no value is one whose condition does not hold.
        if value is not None or _bits(left) != _bits(rest):
            parts = self._recording.begun_since(before)
            span = Span(self._field, value, whole - _bits(rest), whole - _bits(left), parts)
            self._record.spans.append(span)
        return left, value


def _bits(rest: Any) -> int:
    """Return how many bits are left: scapy has bytes, or (bytes, bits of the first one already taken)."""
    if isinstance(rest, tuple):
        return len(rest[0]) * 8 - int(rest[1])
    return len(rest) * 8
