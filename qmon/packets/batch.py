"""Frames on their way through qmon: many at once, as one buffer and a few columns.

Owns the shapes that every source of frames (a VM, a capture file) hands out and every consumer (store,
exporter, filter) takes. Must never hold a Python object per packet, and must never know where the frames come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum, IntFlag

import numpy as np

from qmon.packets.copying import I64, U8, U16, U32, Mask, copy_pieces

ETHERNET = 1
DEFAULT_SNAPLEN = 262_144
# Stands for the time of what has none.
NO_TIME = -(1 << 63)

Bytes = bytes | bytearray | memoryview


class Direction(IntEnum):
    """Which way a frame went, seen from the guest: `OUT` is what it sent."""

    UNKNOWN = 0
    IN = 1
    OUT = 2


class Offload(IntFlag):
    """What the sender left for hardware to do, so that it is not taken for an error."""

    NONE = 0
    SEGMENTATION = 1
    PARTIAL_CHECKSUM = 2


@dataclass(frozen=True, slots=True)
class Interface:
    """Where frames were seen. `name` is the netdev's id; `mac` is 6 bytes.

    `link_type` is a number of tcpdump.org's LINKTYPE_ list. `fcs_bytes` is how many bytes of check sum end each
    frame.
    """

    name: str = ""
    link_type: int = ETHERNET
    snaplen: int = DEFAULT_SNAPLEN
    description: str = ""
    mac: bytes | None = None
    capture_filter: str = ""
    fcs_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Statistics:
    """What one interface counted, up to `time_ns`; None where a count is not known."""

    interface: int
    time_ns: int
    received: int | None = None
    dropped: int | None = None


@dataclass(frozen=True, slots=True)
class Note:
    """Something that happened between the packets: a QMP event, a gap, a change made by qmon.

    `kind` is a short word (`event`, `gap`, `change`, `comment`, …); `interface` is an index where it concerns
    one. `time_ns` is `NO_TIME` for what a file says of itself.
    """

    time_ns: int
    text: str
    kind: str = "comment"
    interface: int | None = None


@dataclass(frozen=True, slots=True)
class Names:
    """Names that a capture holds for addresses: (address as text, name) pairs."""

    pairs: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes of a capture that could not be understood: `skipped` of them from `offset` on (0: not known).

    `count` is how often that is so, `offset` then the first place.
    """

    offset: int
    reason: str
    skipped: int = 0
    count: int = 1

    def __str__(self) -> str:
        more = f" (and {self.count - 1:,} times more)" if self.count > 1 else ""
        return f"at byte {self.offset}: {self.reason}{more}"


@dataclass(frozen=True, slots=True)
class FrameBatch:
    """Some frames, in order.

    Frame `i` is `data[offset[i] : offset[i] + captured[i]]`; between frames `data` may hold anything. `length`
    is what the frame had on the wire, `time_ns` UTC since the epoch (`NO_TIME` where the source has none),
    `interface` an index into the source's list. `position` says where the frame's bytes lie in the source's file,
    where it has one. `offload` holds `Offload` bits (None: no frame has any). `comments` are (i, text) pairs.

    A batch never changes, but a source may say that its `data` is only good until its next batch.
    """

    data: U8
    offset: I64
    captured: U32
    length: U32
    time_ns: I64
    interface: U16
    direction: U8
    position: I64 | None = None
    offload: U8 | None = None
    comments: tuple[tuple[int, str], ...] = ()

    def __len__(self) -> int:
        return len(self.offset)

    def __repr__(self) -> str:
        return f"<FrameBatch {len(self)} frames, {self.captured_bytes} bytes>"

    @property
    def captured_bytes(self) -> int:
        """How many bytes its frames have, which may be fewer than `data` has."""
        return int(self.captured.sum(dtype=np.int64))

    def frame(self, index: int) -> memoryview:
        """Return the captured bytes of one frame, without a copy."""
        start = int(self.offset[index])
        return self.data[start : start + int(self.captured[index])].data

    def select(self, which: Mask | I64 | slice) -> FrameBatch:
        """Return some of the frames (a mask, indices or a slice), sharing the bytes."""
        comments = self.comments
        if comments:
            rank = np.full(len(self), -1, np.int64)
            chosen = np.arange(len(self), dtype=np.int64)[which]
            rank[chosen] = np.arange(len(chosen))
            comments = tuple((int(rank[i]), text) for i, text in comments if rank[i] >= 0)
        return replace(
            self,
            offset=self.offset[which],
            captured=self.captured[which],
            length=self.length[which],
            time_ns=self.time_ns[which],
            interface=self.interface[which],
            direction=self.direction[which],
            position=None if self.position is None else self.position[which],
            offload=None if self.offload is None else self.offload[which],
            comments=comments,
        )

    @classmethod
    def empty(cls) -> FrameBatch:
        """Return a batch of no frames."""
        return cls.from_frames(())

    @classmethod
    def from_frames(
        cls,
        frames: Sequence[Bytes],
        *,
        time_ns: Sequence[int] | int = 0,
        length: Sequence[int] | None = None,
        interface: Sequence[int] | int = 0,
        direction: Sequence[int] | int = Direction.UNKNOWN,
    ) -> FrameBatch:
        """Build a batch from separate frames; for the few, not for the many."""
        n = len(frames)
        captured = np.fromiter((len(frame) for frame in frames), np.uint32, n)
        offset = np.zeros(n, np.int64)
        np.cumsum(captured[:-1], out=offset[1:])
        return cls(
            data=np.frombuffer(b"".join(frames), np.uint8),
            offset=offset,
            captured=captured,
            length=captured if length is None else np.asarray(length, np.uint32),
            time_ns=np.broadcast_to(np.asarray(time_ns, np.int64), n),
            interface=np.broadcast_to(np.asarray(interface, np.uint16), n),
            direction=np.broadcast_to(np.asarray(direction, np.uint8), n),
        )

    @classmethod
    def concatenate(cls, batches: Sequence[FrameBatch]) -> FrameBatch:
        """Join batches one after the other. Positions survive only where every batch has them."""
        if len(batches) == 1:
            return batches[0]
        if not batches:
            return cls.empty()
        shift = np.cumsum([0] + [len(batch.data) for batch in batches[:-1]])
        rank = np.cumsum([0] + [len(batch) for batch in batches[:-1]])
        positions = [batch.position for batch in batches if batch.position is not None]
        return cls(
            data=np.concatenate([batch.data for batch in batches]),
            offset=np.concatenate([batch.offset + by for batch, by in zip(batches, shift, strict=True)]),
            captured=np.concatenate([batch.captured for batch in batches]),
            length=np.concatenate([batch.length for batch in batches]),
            time_ns=np.concatenate([batch.time_ns for batch in batches]),
            interface=np.concatenate([batch.interface for batch in batches]),
            direction=np.concatenate([batch.direction for batch in batches]),
            position=np.concatenate(positions) if len(positions) == len(batches) else None,
            offload=_join_offload(batches),
            comments=tuple(
                (i + int(by), text)
                for batch, by in zip(batches, rank, strict=True)
                for i, text in batch.comments
            ),
        )

    def compact(self) -> FrameBatch:
        """Return the same frames with `data` of their own that holds nothing else, in order.

        For a batch whose `data` will be reused by its source, or of which only a few frames were selected.
        """
        ends = np.cumsum(self.captured, dtype=np.int64)
        data = np.empty(int(ends[-1]) if len(ends) else 0, np.uint8)
        offset = ends - self.captured
        copy_pieces(self.data, self.offset, data, offset, self.captured)
        return replace(self, data=data, offset=offset)


def _join_offload(batches: Sequence[FrameBatch]) -> U8 | None:
    if all(batch.offload is None for batch in batches):
        return None
    return np.concatenate(
        [np.zeros(len(batch), np.uint8) if batch.offload is None else batch.offload for batch in batches]
    )
