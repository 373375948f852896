"""One protocol's part of a frame, and what is known of the frame as a whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(slots=True)
class Facts:
    """What is known of a frame beside its bytes. Times are ns; `direction` is a `Direction`; `number` counts from 1.

    `first_ns` is the time of the source's first frame, `previous_ns` that of the one before.
    """

    number: int = 1
    time_ns: int = 0
    first_ns: int = 0
    previous_ns: int = 0
    length: int = 0
    captured: int = 0
    interface: int = 0
    netdev: str = ""
    direction: int = 0
    comment: str | None = None
    # What the conversation tells of a TCP segment: by field's name (`analysis`).
    tcp: dict[str, int] | None = None
    link_type: int = 1


class Layer:
    """A protocol's header and what follows it: the frame's bytes from `at` to `stop`, as far as they were captured.

    `end` is where the protocol's part ended on the wire; reading behind `stop` gives None. `cache` is for what a
    protocol has found out about its layer already. `frame` is the whole frame's facts, `below` the layer that carries
    this one.
    """

    __slots__ = ("at", "below", "cache", "data", "end", "facts", "layers", "protocol", "stop")

    def __init__(
        self,
        protocol: str,
        data: bytes,
        at: int,
        end: int,
        facts: Facts,
        below: Layer | None,
        layers: list[Layer],
    ) -> None:
        self.protocol, self.data, self.at, self.end = protocol, data, at, end
        self.stop = min(end, len(data))
        self.facts, self.below, self.layers = facts, below, layers
        self.cache: Any = None

    def __repr__(self) -> str:
        return f"<Layer {self.protocol} {self.at}..{self.end}>"

    def bytes(self, at: int, size: int) -> bytes | None:
        """Return bytes that lie so far behind the header's begin, None if they are not all there."""
        start = self.at + at
        return self.data[start : start + size] if start + size <= self.stop else None

    def number(self, at: int, size: int) -> int | None:
        """Return bytes as a number, None if they are not all there."""
        start = self.at + at
        return int.from_bytes(self.data[start : start + size], "big") if start + size <= self.stop else None

    def byte(self, at: int) -> int:
        """Return one byte, -1 if it is not there."""
        start = self.at + at
        return self.data[start] if start < self.stop else -1
