"""The packets of a store that a selector means, found little by little, also while the store grows.

Owns how far was looked. Must never look at more than `STEP_PACKETS` in one step: others want the processor too.
"""

from __future__ import annotations

import numpy as np

from qmon.packets.copying import I64
from qmon.packets.filters.selector import Selector
from qmon.packets.store.packet_store import PacketStore

# A few ms.
STEP_PACKETS = 16_384


class Matches:
    """Grows by `step`; what was evicted from the store stays in it."""

    def __init__(self, store: PacketStore, selector: Selector, start_seq: int = 0) -> None:
        self._store = store
        self._selector = selector
        self._next = start_seq
        self._found = np.empty(256, np.int64)
        self._count = 0

    def __repr__(self) -> str:
        return f"<Matches of {self._selector.expression!r}: {self._count} of {self._next}>"

    @property
    def seqs(self) -> I64:
        """The matching packets so far, ascending; a view, good until the next `step`."""
        return self._found[: self._count]

    @property
    def looked_at(self) -> int:
        """The next packet to look at."""
        return self._next

    def step(self) -> bool:
        """Look at the next slice of the store; return whether there is more to look at."""
        store = self._store
        start = max(self._next, store.first_seq)
        stop = min(start + STEP_PACKETS, store.next_seq)
        if start >= stop:
            return False
        self._add(self._selector.seqs(store, start, stop))
        self._next = stop
        return stop < store.next_seq

    def _add(self, seqs: I64) -> None:
        wanted = self._count + len(seqs)
        if wanted > len(self._found):
            grown = np.empty(max(wanted, 2 * len(self._found)), np.int64)
            grown[: self._count] = self.seqs
            self._found = grown
        self._found[self._count : wanted] = seqs
        self._count = wanted
