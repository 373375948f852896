"""Frames of a live capture, kept in memory outside of the heap until they are asked for or too many.

Owns some anonymous memory files, filled one after the other; the oldest is closed when nothing in it is needed, and
its memory is free at once. Positions count bytes from the first frame ever written and never come back.
"""

from __future__ import annotations

import os
import threading

import numpy as np

from qmon.packets.batch import FrameBatch
from qmon.packets.copying import I64

SEGMENT_BYTES = 16 << 20
# Record headers between frames are written along, if they are not more than this share of the whole.
_SLACK = 1.25


class Spool:
    """Append-only bytes; OSError if there is no memory left."""

    def __init__(self) -> None:
        self._segments: list[tuple[int, int]] = []
        # A number that was closed may be another file's at once: nobody may be reading by it then.
        self._closing = threading.Lock()
        self._first = 0
        self._end = 0

    def __repr__(self) -> str:
        return f"<Spool bytes {self._first} to {self._end}>"

    @property
    def held_bytes(self) -> int:
        """How much memory is in use."""
        return self._end - (self._segments[0][0] if self._segments else self._end)

    def write(self, batch: FrameBatch) -> I64:
        """Keep a batch's frames; return their positions."""
        if not len(batch):
            return np.zeros(0, np.int64)
        low = int(batch.offset.min())
        high = int((batch.offset + batch.captured).max())
        total = int(batch.captured.sum(dtype=np.int64))
        if high - low > total * _SLACK + 64 * len(batch):
            batch = batch.compact()
            low, high = 0, total
        base = self._append(batch.data[low:high].data)
        return base + (batch.offset - low)

    def read(self, position: int, size: int) -> bytes:
        """Return bytes written before; fewer if they are already gone."""
        pieces = []
        with self._closing:
            segments = self._segments
            for index, (start, fd) in enumerate(segments):
                end = segments[index + 1][0] if index + 1 < len(segments) else self._end
                low, high = max(position, start), min(position + size, end)
                if low < high:
                    pieces.append(os.pread(fd, high - low, low - start))
        return b"".join(pieces)

    def release(self, before: int) -> None:
        """Give back memory in which nothing lies at `before` or behind."""
        while len(self._segments) > 1 and self._segments[1][0] <= before:
            with self._closing:
                _, fd = self._segments[0]
                self._segments = self._segments[1:]
                os.close(fd)

    def close(self) -> None:
        """Give everything back."""
        with self._closing:
            segments, self._segments = self._segments, []
            for _, fd in segments:
                os.close(fd)

    def _append(self, data: memoryview) -> int:
        if not self._segments or self._end - self._segments[-1][0] >= SEGMENT_BYTES:
            fd = os.memfd_create("qmon-frames", os.MFD_CLOEXEC)
            self._segments = [*self._segments, (self._end, fd)]
        start, fd = self._segments[-1]
        base, written = self._end, 0
        while written < len(data):
            written += os.pwrite(fd, data[written:], base - start + written)
        self._end = base + written
        return base
