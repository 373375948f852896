"""Several VMs' frames and notes put into one stream in true-time order, within a bounded window.

Each source hands out its own frames in order and says up to when it is complete; what all are complete for can go on.
A source that stays behind is waited for no longer than the window. Owns the frames that wait. Must never reorder the
frames of one source, read a clock, or drop anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from qmon.packets.batch import FrameBatch, Note

WINDOW_NS = 500_000_000


@dataclass(slots=True)
class _Source:
    batches: list[FrameBatch] = field(default_factory=list)
    complete_until: int = 0


class Merger:
    """Takes what sources hand out; gives back frames and notes in order."""

    def __init__(self, sources: int, *, window_ns: int = WINDOW_NS) -> None:
        self._sources = [_Source() for _ in range(sources)]
        self._notes: list[Note] = []
        self._window_ns = window_ns

    def __len__(self) -> int:
        return sum(len(batch) for source in self._sources for batch in source.batches)

    def add(
        self, source: int, batch: FrameBatch | None, notes: Sequence[Note], *, complete_until: int
    ) -> None:
        """Take a source's next frames; it will hand out none older than `complete_until` (UTC ns) any more."""
        if batch is not None and len(batch):
            self._sources[source].batches.append(batch)
        self._notes += notes
        self._sources[source].complete_until = complete_until

    def take(self, now_ns: int | None) -> list[FrameBatch | Note]:
        """Return what may go on at `now_ns`; None means that nothing more will come: everything."""
        if now_ns is None:
            limit = (1 << 63) - 1
        else:
            limit = min(source.complete_until for source in self._sources)
            limit = max(limit, now_ns - self._window_ns)
        ready = self._frames(limit)
        notes = sorted((note for note in self._notes if note.time_ns <= limit), key=lambda note: note.time_ns)
        self._notes = [note for note in self._notes if note.time_ns > limit]
        return _between(ready, notes)

    def _frames(self, limit: int) -> FrameBatch | None:
        if len(self._sources) == 1:
            batches, self._sources[0].batches = self._sources[0].batches, []
            return FrameBatch.concatenate(batches) if batches else None
        ready = []
        for source in self._sources:
            batches, source.batches = source.batches, []
            for batch in batches:
                count = _leading(batch, limit)
                if count:
                    ready.append(batch.select(slice(0, count)))
                if count < len(batch):
                    source.batches.append(batch.select(slice(count, None)))
        if not ready:
            return None
        joined = FrameBatch.concatenate(ready)
        # A source's own order is kept even where its clock was set back between two epochs.
        keys = np.concatenate([np.maximum.accumulate(batch.time_ns) for batch in ready])
        return joined.select(np.argsort(keys, kind="stable"))


def _leading(batch: FrameBatch, limit: int) -> int:
    """Count the frames before the first one that is later than `limit`."""
    late = np.flatnonzero(batch.time_ns > limit)
    return int(late[0]) if len(late) else len(batch)


def _between(frames: FrameBatch | None, notes: Sequence[Note]) -> list[FrameBatch | Note]:
    """Put each note before the first frame that is later than it."""
    if frames is None:
        return list(notes)
    items: list[FrameBatch | Note] = []
    done = 0
    for note in notes:
        count = max(done, _leading(frames, note.time_ns))
        if count > done:
            items.append(frames.select(slice(done, count)))
            done = count
        items.append(note)
    if done < len(frames):
        items.append(frames.select(slice(done, None)))
    return items
