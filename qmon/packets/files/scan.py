"""Finding where each record of a capture begins.

A record says how long it is, so the next one is known only when this one was looked at: a loop in Python costs
about 130 ns a record. With much data at hand, many cursors therefore walk at the same time: a few places are guessed
at which some record seems to begin, and in every round one NumPy step moves all cursors by one record. A guess is
never trusted: what a cursor found counts only if the cursor behind it arrived exactly at the guessed place, and the
first cursor starts where a record is known to begin. Otherwise the plain loop takes over until the two ways meet.

Where records are large there are few in a lane, and the plain loop is as good. It looks at many at once where they are
of one size, as those of bulk data are: the next ones would then begin at equal distances, and NumPy sees whether they
do.

Owns nothing but this walk; knows no format. Never looks behind the end of the data it was given.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from struct import Struct

import numpy as np

from qmon.packets.copying import I64, U8

LANE_BYTES = 16 * 1024
# With fewer, a round costs more than the plain loop takes for as many records.
LEAST_LANES = 96
ROUNDS = 16
# From the first so many records it is told whether they are large: so many bytes each.
PROBED = 32
LARGE_BYTES = 800
# After so many of one size, more are expected: at most so many at once.
ALIKE, MOST_ALIKE = 6, 4096


@dataclass(frozen=True, slots=True)
class Layout:
    """How records of a format are chained: the next one is `max(size + overhead, least)` bytes further.

    `size` is a 32-bit number `size_at` bytes into the record; `order` is its byte order, "<" or ">". `least` is the
    number of bytes that must be there to look at a record at all, and that even an empty one has.
    """

    size_at: int
    overhead: int
    least: int
    order: str


def walk(data: U8, start: int, stop: int, layout: Layout, guess: Callable[[I64], I64]) -> tuple[I64, int]:
    """Return the starts of all records that lie wholly between `start` and `stop`, and where the last one ends.

    A record must begin at `start`. What stands there may be damaged: the caller looks at the lengths. `guess(near)`
    gives likely starts of records at or soon after the given places, any number of them.
    """
    lanes = (stop - start) // LANE_BYTES
    if lanes < LEAST_LANES:
        found, end = _walk_alone(data, start, stop, stop, layout)
        return np.array(found, np.int64), end
    probed, end = _walk_alone(data, start, stop, min(stop, start + PROBED * LARGE_BYTES), layout)
    if len(probed) < PROBED:
        found, end = _walk_alone(data, start, stop, stop, layout)
        return np.array(found, np.int64), end
    heads = guess(start + np.arange(1, lanes) * LANE_BYTES)
    heads = np.unique(heads[(heads > start) & (heads < stop - layout.least)])
    return _join(data, np.concatenate(([start], heads)), stop, layout)


def _walk_alone(data: U8, start: int, until: int, stop: int, layout: Layout) -> tuple[list[int], int]:
    """Walk from `start` while records begin before `until` and end at `stop` at the latest."""
    size_of = Struct(layout.order + "I").unpack_from
    size_at, overhead, least = layout.size_at, layout.overhead, layout.least
    last = min(until, stop - least + 1)
    view = data.data
    found: list[int] = []
    append = found.append
    at = start
    size_before, alike = -1, 0
    while at < last:
        size = size_of(view, at + size_at)[0]
        step = size + overhead
        after = at + (step if step > least else least)
        if after > stop:
            break
        append(at)
        alike = alike + 1 if size == size_before else 0
        if alike == ALIKE:
            more = range(after, min(last, stop - (after - at) + 1), after - at)[:MOST_ALIKE]
            more = more[: _count_alike(data, more, size, layout)]
            found += more
            after += len(more) * (after - at)
            alike = 0
        size_before = size
        at = after
    return found, at


def _count_alike(data: U8, starts: range, size: int, layout: Layout) -> int:
    """Return how many records at these places in a row have this size."""
    if not starts:
        return 0
    kind = np.dtype(layout.order + "u4")
    sizes = np.ndarray((len(starts),), kind, data, starts.start + layout.size_at, (starts.step,))
    other = sizes != size
    return int(other.argmax()) if other.any() else len(starts)


def _walk_together(data: U8, heads: I64, stop: int, layout: Layout) -> tuple[I64, I64]:
    """Walk from all heads at once, each to the next one's head; return all starts in order, and each lane's end.

    Arrays of no dimension stand for the constants: NumPy adds them twice as fast as Python's numbers.
    """
    kind = np.dtype(layout.order + "u4")
    sizes = np.ndarray((stop - layout.size_at - 3,), kind, data, offset=layout.size_at, strides=(1,))
    parked, least, overhead = (np.array(x) for x in (stop - layout.least + 1, layout.least, layout.overhead))
    lane = np.arange(len(heads))
    limit = np.append(heads[1:], parked)
    cursor = heads
    pieces = []
    last = heads.copy()
    while len(lane):
        rounds = np.empty((ROUNDS, len(lane)), np.int64)
        for row in rounds:
            row[:] = cursor
            step = sizes[cursor].astype(np.int64)
            if layout.overhead:
                step += overhead
            else:
                np.maximum(step, least, out=step)
            step += cursor
            cursor = np.minimum(step, parked, out=step)
        inside = rounds < limit
        pieces.append(rounds[inside])
        # Each lane's cursors ascend: the last one inside is the one before the first that is not.
        count = inside.sum(axis=0)
        last[lane] = rounds[count - 1, np.arange(len(lane))]
        going = np.flatnonzero(cursor < limit)
        lane, limit, cursor = lane[going], limit[going], cursor[going]
    ends = last + np.maximum(sizes[last].astype(np.int64) + layout.overhead, layout.least)
    return np.sort(np.concatenate(pieces)), ends


def _join(data: U8, heads: I64, stop: int, layout: Layout) -> tuple[I64, int]:
    """Put together what the lanes found, walking alone wherever a guess was wrong."""
    found, ends = _walk_together(data, heads, stop, layout)
    broken = np.flatnonzero(ends[:-1] != heads[1:]).tolist()
    pieces = []
    lane, count = 0, len(heads)
    while True:
        last = next((one for one in broken if one >= lane), count - 1)
        until = int(heads[last + 1]) if last + 1 < count else stop
        low, high = np.searchsorted(found, (heads[lane], until))
        pieces.append(found[low:high])
        at = int(ends[last])
        if at > stop:
            # The last record found is not whole: it begins where the whole ones end.
            return np.concatenate(pieces)[:-1], int(found[high - 1])
        lane = last + 1
        while True:
            lane = max(lane, int(np.searchsorted(heads, at)))
            if lane < count and heads[lane] == at:
                break
            until = int(heads[lane]) if lane < count else stop
            alone, after = _walk_alone(data, at, until, stop, layout)
            pieces.append(np.array(alone, np.int64))
            if after < until or after == at or lane >= count:
                return np.concatenate(pieces), after
            at = after
