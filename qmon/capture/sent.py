"""What a qmon sent on a VM's wire, marked among the frames of a capture by a comment.

Owns the match of announcements, which come before the frames, with the frames. A frame that the capture never shows is
forgotten after a while.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from qmon.packets.batch import Direction, FrameBatch

T = TypeVar("T")

COMMENT = "sent by qmon"
_KEPT_S, _KEPT = 30.0, 1 << 16
_LONGEST_FRAME = 1 << 20

# Netdev, direction, and the frame's digest.
_Key = tuple[str, int, str]


def announcement(netdev: str, direction: Direction, frames: Iterable[bytes]) -> dict[str, object]:
    """Return what is announced of frames that are about to be sent: (length, digest) of each."""
    return {
        "netdev": netdev,
        "direction": direction.name.lower(),
        "frames": [[len(frame), digest(frame)] for frame in frames],
    }


def digest(frame: bytes | memoryview) -> str:
    """Return what a frame is known by."""
    return hashlib.blake2b(frame, digest_size=8).hexdigest()


class SentFrames:
    """Announced frames that have not been seen yet."""

    def __init__(self) -> None:
        self._awaited: Counter[_Key] = Counter()
        self._lengths: Counter[int] = Counter()
        self._order: deque[tuple[float, _Key, int]] = deque()

    def __repr__(self) -> str:
        return f"<{self._awaited.total()} frames announced and not seen>"

    def expect(self, announced: Mapping[str, object]) -> None:
        """Take in an announcement; what is not understood is left out."""
        netdev, direction, frames = (announced.get(key) for key in ("netdev", "direction", "frames"))
        if direction not in ("in", "out") or not isinstance(netdev, str) or not isinstance(frames, list):
            return
        way = Direction[direction.upper()]
        now = time.monotonic()
        for one in frames:
            match one:
                case [int(length), str(known)] if 0 < length <= _LONGEST_FRAME:
                    key = netdev, int(way), known
                    self._awaited[key] += 1
                    self._lengths[length] += 1
                    self._order.append((now, key, length))
        self._forget(now)

    def marked(self, batch: FrameBatch, netdevs: Sequence[str]) -> FrameBatch:
        """Return a batch with a comment at each frame that was announced; `netdevs` are the interfaces' names."""
        if not self._awaited:
            return batch
        lengths = np.array([*self._lengths], np.int64)
        comments = []
        for index in np.flatnonzero(np.isin(batch.length, lengths)):
            row = int(index)
            interface = int(batch.interface[row])
            netdev = netdevs[interface] if interface < len(netdevs) else ""
            key = netdev, int(batch.direction[row]), digest(batch.frame(row))
            if key in self._awaited:
                self._drop(key, int(batch.length[row]))
                comments.append((row, COMMENT))
        return replace(batch, comments=(*batch.comments, *comments)) if comments else batch

    def _drop(self, key: _Key, length: int) -> None:
        _take_one(self._awaited, key)
        _take_one(self._lengths, length)
        if not self._awaited:
            self._order.clear()

    def _forget(self, now: float) -> None:
        while self._order and (now - self._order[0][0] > _KEPT_S or len(self._order) > _KEPT):
            _, key, length = self._order.popleft()
            if key in self._awaited:
                self._drop(key, length)


def _take_one(counts: Counter[T], one: T) -> None:
    counts[one] -= 1
    if counts[one] <= 0:
        del counts[one]
