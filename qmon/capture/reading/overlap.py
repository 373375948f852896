"""Where one file of a netdev's frames goes on with another: the frames that both hold.

While a sink is changed, two of QEMU's filters write the same packets, each with a stamp of its own: microseconds apart,
and by the whole seconds that were fixed when the filter was made. Pure; must never guess where contents differ.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qmon.packets.batch import FrameBatch

_NS = 1_000_000_000
# How far apart two filters' stamps of one packet are believed to be, at most.
_CLOSE_NS = 100_000_000


@dataclass(frozen=True, slots=True)
class Overlap:
    """The first `count` frames of the new file are the last of the old one.

    `seconds`, in ns, added to the new file's stamps makes them go on with the old one's.
    """

    count: int
    seconds: int


def find_overlap(tail: FrameBatch, head: FrameBatch) -> Overlap | None:
    """Find with which frames of `head`, the new file from its start, `tail`, the old one to its end, ends.

    Every frame of the overlap is compared; where frames are all alike, the stamps decide. None: nothing in common.
    """
    if not len(tail) or not len(head):
        return None
    apart = np.abs(_within_a_second(tail.time_ns - head.time_ns[0]))
    alike = (tail.length == head.length[0]) & (apart < _CLOSE_NS)
    best: tuple[int, int] | None = None
    for start in np.flatnonzero(alike).tolist():
        count = len(tail) - start
        if count > len(head) or not np.array_equal(tail.length[start:], head.length[:count]):
            continue
        cost = int(np.median(np.abs(_within_a_second(tail.time_ns[start:] - head.time_ns[:count]))))
        if (best is None or cost < best[0]) and _same_bytes(tail, start, head, count):
            best = cost, count
    if best is None:
        return None
    count = best[1]
    difference = np.median(tail.time_ns[-count:] - head.time_ns[:count])
    return Overlap(count, round(float(difference) / _NS) * _NS)


def _same_bytes(tail: FrameBatch, start: int, head: FrameBatch, count: int) -> bool:
    return all(tail.frame(start + index) == head.frame(index) for index in range(count))


def _within_a_second(
    difference: np.ndarray[tuple[int], np.dtype[np.int64]],
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return differences without their whole seconds, between -0.5 s and 0.5 s."""
    return (difference + _NS // 2) % _NS - _NS // 2
