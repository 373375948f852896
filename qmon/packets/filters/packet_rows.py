"""Which packets the list shows: all of a store's, or those that a selector means.

Owns the mapping between rows and packet numbers, the pause, and how far a filter has looked. Must never draw.
"""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from qmon.packets.filters.matches import Matches
from qmon.packets.filters.words import selector_from
from qmon.packets.store.packet_store import PacketStore

FILTER_SLICE_S = 0.012


class PacketRows:
    """Rows over a store.

    Without a filter, or with one that only marks (`only_matches` false), a row's number is the packet's `seq`;
    else it counts the matches.
    """

    def __init__(self, store: PacketStore) -> None:
        self.store = store
        self.paused = False
        self.expression = ""
        self._only_matches = True
        self._filter: Matches | None = None
        self._end = store.next_seq

    def __repr__(self) -> str:
        return f"<PacketRows {self.expression!r} {self.first}..{self.end}{' paused' if self.paused else ''}>"

    @property
    def first(self) -> int:
        """The oldest row."""
        if self._hiding is None:
            return self.store.first_seq
        return int(np.searchsorted(self._hiding.seqs, self.store.first_seq))

    @property
    def end(self) -> int:
        """One more than the newest row."""
        return max(self._end, self.first)

    @property
    def filtering(self) -> bool:
        """Whether a filter is set."""
        return self._filter is not None

    @property
    def only_matches(self) -> bool:
        """Whether a filter hides what does not match; else it marks what does."""
        return self._only_matches

    @only_matches.setter
    def only_matches(self, value: bool) -> None:
        self._only_matches = value
        self._take_in()

    @property
    def behind(self) -> int:
        """How many packets the filter has still to look at."""
        return 0 if self._filter is None else max(self.store.next_seq - self._filter.looked_at, 0)

    @property
    def matches(self) -> int:
        """How many packets matched so far."""
        return 0 if self._filter is None else len(self._filter.seqs)

    @property
    def _hiding(self) -> Matches | None:
        return self._filter if self._only_matches else None

    def set_filter(self, expression: str) -> None:
        """Show (or mark) what matches; an empty expression shows all. UsageError if it means nothing."""
        selector = selector_from(expression, [one.link_type for one in self.store.interfaces])
        self._filter = None if selector is None else Matches(self.store, selector, self.store.first_seq)
        self.expression = "" if selector is None else selector.expression
        self._take_in()

    def update(self) -> bool:
        """Take in what the store got since the last time; return whether the rows changed."""
        return False if self.paused else self._take_in()

    def _take_in(self) -> bool:
        before = self._end
        if self._filter is not None:
            deadline = time.monotonic() + FILTER_SLICE_S
            while self._filter.step() and time.monotonic() < deadline:
                pass
        self._end = self.store.next_seq if self._hiding is None else len(self._hiding.seqs)
        return before != self._end

    def seq(self, row: int) -> int:
        """Return the number of a row's packet."""
        return row if self._hiding is None else int(self._hiding.seqs[row])

    def row_of(self, seq: int) -> int:
        """Return the row of a packet, or of the first one shown after it."""
        return seq if self._hiding is None else int(np.searchsorted(self._hiding.seqs, seq))

    def marked(self, seq: int) -> bool:
        """Return whether a packet is to stand out: it matches a filter that hides nothing."""
        return self._filter is not None and not self._only_matches and self._is_match(self._filter.seqs, seq)

    def match_after(self, seq: int, step: int) -> int | None:
        """Return the next (`step` 1) or previous (-1) packet that matches, None if there is none."""
        if self._filter is None:
            return None
        seqs = self._filter.seqs
        at = int(np.searchsorted(seqs, seq, "right")) if step > 0 else int(np.searchsorted(seqs, seq)) - 1
        return int(seqs[at]) if 0 <= at < len(seqs) and seqs[at] >= self.store.first_seq else None

    @staticmethod
    def _is_match(seqs: NDArray[np.int64], seq: int) -> bool:
        at = int(np.searchsorted(seqs, seq))
        return at < len(seqs) and int(seqs[at]) == seq
