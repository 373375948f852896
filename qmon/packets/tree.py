"""The neutral shape of a dissected packet: what panes draw, whoever dissected it. Must never know the dissector."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Node:
    """A layer, a field, or a group of fields, with plain texts.

    Its bytes are `frame[start:stop]`; a node without bytes of its own (part of a byte, or computed) has neither.
    Children lie within their parent and never overlap. Bit fields that share bytes are children without a range
    of a group that has one.
    """

    label: str
    value: str = ""
    start: int | None = None
    stop: int | None = None
    children: tuple[Node, ...] = ()

    def walk(self) -> Iterator[Node]:
        """Yield this node and all below it, in order."""
        yield self
        for child in self.children:
            yield from child.walk()
