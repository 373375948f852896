"""Several VMs' frames and notes put into one stream in true-time order, within a bounded window.

Each source hands out its own frames in order and says up to when it is complete; what all are complete for can go on.
A source that stays behind is waited for no longer than the window. A note that comes after later frames have gone on
takes the place it comes at, with its own time in its text. Owns the frames that wait. Must never reorder the frames of
one source or change their times, read a clock, or drop anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from qmon.packets.batch import FrameBatch, Note
from qmon.text import clock

WINDOW_NS = 500_000_000
_FOREVER = (1 << 63) - 1


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
        self._reached_ns = 0

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
            limit = _FOREVER
        else:
            limit = min(source.complete_until for source in self._sources)
            limit = max(limit, now_ns - self._window_ns)
        ready = self._frames(self._first_note_after(limit) if len(self._sources) == 1 else limit)
        notes = [self._late(note) for note in self._notes if note.time_ns <= limit]
        self._notes = [note for note in self._notes if note.time_ns > limit]
        items = _between(ready, sorted(notes, key=lambda note: note.time_ns))
        for item in items:
            last = item.time_ns if isinstance(item, Note) else int(item.time_ns.max())
            self._reached_ns = max(self._reached_ns, last)
        return items

    def _first_note_after(self, limit: int) -> int:
        """Return the time of the first note that has to wait: a lone source's frames wait for nothing else."""
        return min((note.time_ns for note in self._notes if note.time_ns > limit), default=_FOREVER)

    def _late(self, note: Note) -> Note:
        """Return the note, or where later frames have gone on already, one for that place."""
        if note.time_ns >= self._reached_ns:
            return note
        text = f"{note.text} (at {clock(note.time_ns)})"
        return Note(self._reached_ns, text, note.kind, note.interface)

    def _frames(self, limit: int) -> FrameBatch | None:
        ready = []
        for source in self._sources:
            if not source.batches:
                continue
            batch = FrameBatch.concatenate(source.batches)
            count = _leading(batch, limit)
            source.batches = [batch.select(slice(count, None))] if count < len(batch) else []
            if count:
                ready.append(batch.select(slice(0, count)) if count < len(batch) else batch)
        if len(ready) < 2:
            return ready[0] if ready else None
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
