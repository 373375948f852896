"""What watches the packets of a store go by: counters, and whatever else sums something up while they arrive.

Owns the shape, and the list of those that every store has. The store itself knows none of them by name: a new one is a
module with a class that has `see`, and a line in `standard`; who wants its results asks `PacketStore.observer`.
"""

from __future__ import annotations

from typing import Protocol

from qmon.packets.store.rows import Arrived
from qmon.packets.store.traffic import TrafficCounter


class Observer(Protocol):
    """Sees each packet once, in the order of `seq`.

    `see` is called by the thread that appends, with whole batches; the frames' bytes are only good during the call.
    Results are asked for by other threads: an observer has a lock of its own around both.
    """

    def see(self, arrived: Arrived) -> None:
        """Take in some packets."""


def standard() -> tuple[Observer, ...]:
    """Make one of each that every store has."""
    return (TrafficCounter(),)
