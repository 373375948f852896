"""Several VMs' frames and notes put into one stream in true-time order, within a bounded window.

Each source hands out its own frames in order and says up to when it is complete; what all are complete for can go on.
A source that stays behind is waited for no longer than the window. A note that comes after later frames have gone on
takes the place it comes at, with its own time in its text. Owns the frames that wait. Must never reorder the frames of
one source or change their times, read a clock, or drop anything.
"""

from __future__ import annotations

from collections import deque
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

    def _frames(self, limit: int) -> list[FrameBatch]:
        ready = [frames for source in self._sources if (frames := _until(source, limit))]
        if len(ready) < 2:
            return ready[0] if ready else []
        # A source's own order is kept even where its clock was set back between two epochs.
        keys = np.concatenate(
            [np.maximum.accumulate(np.concatenate([one.time_ns for one in frames])) for frames in ready]
        )
        joined = FrameBatch.concatenate([batch for frames in ready for batch in frames])
        return [joined.select(np.argsort(keys, kind="stable"))]


def _until(source: _Source, limit: int) -> list[FrameBatch]:
    """Take from a source the frames before the first one that is later than `limit`, in the batches they came in."""
    for number, batch in enumerate(source.batches):
        count = _leading(batch, limit)
        if count < len(batch):
            ready = source.batches[:number] + ([batch.select(slice(0, count))] if count else [])
            source.batches = [batch.select(slice(count, None)), *source.batches[number + 1 :]]
            return ready
    ready, source.batches = source.batches, []
    return ready


def _leading(batch: FrameBatch, limit: int) -> int:
    """Count the frames before the first one that is later than `limit`."""
    late = np.flatnonzero(batch.time_ns > limit)
    return int(late[0]) if len(late) else len(batch)


def _between(batches: Sequence[FrameBatch], notes: Sequence[Note]) -> list[FrameBatch | Note]:
    """Put each note before the first frame that is later than it."""
    items: list[FrameBatch | Note] = []
    waiting = deque(notes)
    for batch in batches:
        done = 0
        while waiting and (count := max(done, _leading(batch, waiting[0].time_ns))) < len(batch):
            if count > done:
                items.append(batch.select(slice(done, count)))
                done = count
            items.append(waiting.popleft())
        items.append(batch.select(slice(done, None)) if done else batch)
    return [*items, *waiting]
