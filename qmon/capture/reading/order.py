"""The frames of one VM's files put into the order in which QEMU wrote them.

QEMU stamps and writes under one lock, so over all its files stamps grow in the order of the writes. Files are read one
after the other, twice: what the first pass found is complete, for every file was read again after it; what only the
second pass found may still lack a neighbour, and waits unless it is older than something the first pass found. No
clock is needed for that, and nothing is ever out of order.

Owns the frames between reading and handing out. Must never look at a file or a clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from qmon.packets.batch import FrameBatch
from qmon.packets.copying import Mask

Key = tuple[int, int]  # Epoch, stamp.
_NEVER: Key = (-1, 0)
# With less than this a batch of its own costs more than the copy.
_LARGE_BYTES = 256 << 10


@dataclass(frozen=True, slots=True)
class Piece:
    """Frames of one file and one epoch; `rank` decides between equal stamps, lower first.

    The batch's `time_ns` are QEMU's stamps, the filters' different whole seconds removed.
    """

    epoch: int
    rank: int
    batch: FrameBatch

    @property
    def first(self) -> Key:
        """The key of its first frame."""
        return (self.epoch, int(self.batch.time_ns[0]))

    @property
    def last(self) -> Key:
        """The key of its last frame."""
        return (self.epoch, int(self.batch.time_ns[-1]))

    def split(self, limit: Key) -> tuple[Piece | None, Piece | None]:
        """Return what has at most the key `limit`, and the rest."""
        if self.last <= limit:
            return self, None
        if self.epoch > limit[0]:
            return None, self
        count = int(np.searchsorted(self.batch.time_ns, limit[1], side="right"))
        if count == 0:
            return None, self
        return self._part(slice(0, count)), self._part(slice(count, None))

    def _part(self, which: slice | Mask) -> Piece:
        return Piece(self.epoch, self.rank, self.batch.select(which))


class Orderer:
    """Takes passes, gives out what is in order."""

    def __init__(self) -> None:
        self._waiting: list[Piece] = []

    def __len__(self) -> int:
        return sum(len(piece.batch) for piece in self._waiting)

    def keep(self, pieces: Sequence[Piece]) -> None:
        """Take what was read out of turn; it goes through the next passes."""
        self._waiting += pieces

    def passed(
        self, first: Sequence[Piece], second: Sequence[Piece], *, behind: Sequence[Key] = ()
    ) -> list[Piece]:
        """Take the two passes; return pieces that are complete, each file's in its order.

        `behind` holds, for files that were not read to their end, the key reached so far.
        """
        sure = [*self._waiting, *first]
        limit = max((piece.last for piece in sure), default=_NEVER)
        candidates = [*sure, *second]
        if behind:
            limit = min(limit, *behind)
        ready: list[Piece] = []
        self._waiting = []
        for piece in candidates:
            now, later = piece.split(limit)
            if now is not None:
                ready.append(now)
            if later is not None:
                self._waiting.append(later)
        return ready

    def flush(self) -> list[Piece]:
        """Return all that waits: nothing more will come."""
        ready, self._waiting = self._waiting, []
        return ready


def merged(pieces: Sequence[Piece], offsets: Sequence[int]) -> list[FrameBatch]:
    """Return what pieces hold in true order; `offsets` holds each epoch's constant, added to the stamps.

    Frames of one file keep their order; between files the lower rank goes first on equal stamps. Only what lies
    between each other's frames, or is small, is copied into one batch.
    """
    batches = []
    for together in _runs(sorted(pieces, key=lambda piece: (*piece.first, piece.rank))):
        ranked = sorted(together, key=lambda piece: piece.rank)
        batch = ranked[0].batch
        if len(ranked) > 1:
            # A piece may be a small part of what was read at once.
            batch = FrameBatch.concatenate([piece.batch.compact() for piece in ranked])
            batch = batch.select(np.argsort(batch.time_ns, kind="stable"))
        batches.append(replace(batch, time_ns=batch.time_ns + offsets[together[0].epoch]))
    return batches


def _runs(pieces: Sequence[Piece]) -> list[list[Piece]]:
    """Split pieces, by their first frames in order, where the next begins only after all before it have ended."""
    runs: list[list[Piece]] = []
    last, large = (*_NEVER, 0), False
    for piece in pieces:
        follows = (*piece.first, piece.rank) >= last
        is_large = piece.batch.captured_bytes >= _LARGE_BYTES
        if not runs or runs[-1][0].epoch != piece.epoch or (follows and (large or is_large)):
            runs.append([])
            large = False
        runs[-1].append(piece)
        last = max(last, (*piece.last, piece.rank))
        large = large or is_large
    return runs
