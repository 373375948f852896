"""TCP's numbers as people read them: counted from the conversation's begin, and windows with their scale.

As in Wireshark: what a side sends is counted from its SYN, which is 0; where no SYN was seen, the first byte seen is 1.
A SYN with another number on the same addresses and ports begins a stream of its own. Works on whole batches: only SYNs
are looked at one by one, all else is columns, and a few bytes are kept of each stream.

Owns the numbers of streams, which count from 0 in the order of appearance, as tshark's `tcp.stream`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from qmon.packets.copying import I64, U8, U32, Mask
from qmon.packets.store.conversations import NO_FLOW

if TYPE_CHECKING:
    from numpy.typing import NDArray

T = TypeVar("T", bound=np.generic)

FIN, SYN, RST, ACK = 1, 2, 4, 16
# What is known of a side's window scale (RFC 7323): nothing, or that it is not used.
UNKNOWN, UNUSED = -1, -2
_FIRST_CAPACITY = 1024
_SCALE_OPTION, _MOST_SCALE = 3, 14


@dataclass(frozen=True, slots=True)
class Segments:
    """n TCP segments in the order in which they came; `flow` as `Conversations.assign` gives it.

    `asks` are the rows with a SYN; for these there are `options`, the 40 bytes behind the first 20 of the header, of
    which `option_bytes` count.
    """

    flow: U32
    sequence: U32
    acknowledged: U32
    flags: U8
    window: I64
    asks: I64
    options: U8
    option_bytes: I64


@dataclass(frozen=True, slots=True)
class Numbers:
    """What n segments are to be read as: `stream` is the conversation's, the others are relative to it.

    `scale` is the exponent of the sender's window, UNKNOWN or UNUSED; `base` the number that acknowledgements are
    counted from.
    """

    stream: I64
    sequence: I64
    acknowledged: I64
    window: I64
    scale: I64
    base: I64

    def select(self, which: Mask | I64 | slice) -> Numbers:
        """Return some of them."""
        return Numbers(*(getattr(self, name)[which] for name in self.__slots__))

    def spread(self, rows: I64, n: int) -> Numbers:
        """Return n rows of which some are these, the others 0."""
        columns = []
        for name in self.__slots__:
            column = np.zeros(n, np.int64)
            column[rows] = getattr(self, name)
            columns.append(column)
        return Numbers(*columns)


class Streams:
    """The streams of one source; all of its segments must be given, in order."""

    def __init__(self) -> None:
        self._count = 0
        self._stream_of = np.full(_FIRST_CAPACITY, -1, np.int64)
        # By stream and side: the number that is 0, whether there is one, the exponent of the window's scale.
        self._base = np.zeros(2 * _FIRST_CAPACITY, np.uint32)
        self._based = np.zeros(2 * _FIRST_CAPACITY, np.bool_)
        self._scale = np.full(2 * _FIRST_CAPACITY, UNKNOWN, np.int8)

    def __repr__(self) -> str:
        return f"<Streams {self._count}>"

    def see(self, segments: Segments) -> Numbers:
        """Take in segments; return their numbers."""
        n = len(segments.flow)
        if not n:
            nothing = np.zeros(0, np.int64)
            return Numbers(nothing, nothing, nothing, nothing, nothing, nothing)
        flow = (segments.flow & np.uint32(NO_FLOW)).astype(np.int64)
        way = (segments.flow >> np.uint32(31)).astype(np.int64)
        stream = self._streams(segments, flow, way)
        here, there = stream * 2 + way, stream * 2 + (1 - way)
        self._find_bases(segments, here, there)
        acknowledges = segments.flags & ACK != 0
        sequence = segments.sequence - self._base[here]
        acknowledged = np.where(
            acknowledges, segments.acknowledged - self._base[there], segments.acknowledged
        )
        self._read_scales(segments, here, there)
        scale = self._scale[here].astype(np.int64)
        scaled = (scale >= 0) & (segments.flags & SYN == 0)
        window = np.where(scaled, segments.window << np.maximum(scale, 0), segments.window)
        base = np.where(acknowledges, self._base[there], 0).astype(np.int64)
        return Numbers(stream, sequence.astype(np.int64), acknowledged.astype(np.int64), window, scale, base)

    def _streams(self, segments: Segments, flow: I64, way: I64) -> I64:
        """Return each segment's stream; make those that are new."""
        most = int(flow.max())
        if most >= len(self._stream_of):
            self._stream_of = _grown(self._stream_of, most + 1, -1)
        fresh = self._stream_of[flow] < 0
        openings: list[int] = []
        if fresh.any():
            rows = np.flatnonzero(fresh)
            _, first = np.unique(flow[rows], return_index=True)
            openings = rows[first].tolist()
        asks = np.flatnonzero(segments.flags & (SYN | ACK) == SYN).tolist()
        if not openings and not asks:
            return self._stream_of[flow]
        return self._opened(segments, flow, way, sorted({*openings, *asks}), set(openings))

    def _opened(self, segments: Segments, flow: I64, way: I64, rows: list[int], openings: set[int]) -> I64:
        """Go through the segments that may begin a stream; from there on its flow belongs to it."""
        stream = self._stream_of[flow]
        begun_at: dict[int, int] = {}
        begins: list[tuple[int, int, int]] = []
        for row in rows:
            one, side, number = int(flow[row]), int(way[row]), int(segments.sequence[row])
            known = begun_at.get(one, int(self._stream_of[one]))
            place = 2 * known + side
            reused = known >= 0 and self._based[place] and int(self._base[place]) != number
            if row in openings or reused:
                known = self._new()
                begun_at[one] = known
                begins.append((one, row, known))
                place = 2 * known + side
            if not self._based[place]:
                first = number if segments.flags[row] & SYN else (number - 1) & 0xFFFF_FFFF
                self._base[place], self._based[place] = first, True
        if begins:
            stream = _carried_on(stream, flow, begins)
            for one, known in begun_at.items():
                self._stream_of[one] = known
        return stream

    def _new(self) -> int:
        if 2 * self._count + 2 > len(self._base):
            room = 2 * len(self._base)
            self._base = _grown(self._base, room, 0)
            self._based = _grown(self._based, room, False)
            self._scale = _grown(self._scale, room, UNKNOWN)
        self._count += 1
        return self._count - 1

    def _find_bases(self, segments: Segments, here: I64, there: I64) -> None:
        """Note where a side's numbers begin: its first segment says so, or the other's first acknowledgement."""
        unknown = ~self._based[here] | ~self._based[there]
        if not unknown.any():
            return
        rows = np.flatnonzero(unknown)
        syn = (segments.flags[rows] & SYN != 0).astype(np.uint32)
        own = segments.sequence[rows] - (np.uint32(1) - syn)
        answers = rows[segments.flags[rows] & ACK != 0]
        side = np.concatenate((here[rows], there[answers]))
        number = np.concatenate((own, segments.acknowledged[answers] - np.uint32(1)))
        order = np.argsort(np.concatenate((rows, answers)), kind="stable")
        side, number = side[order], number[order]
        first, place = np.unique(side, return_index=True)
        new = ~self._based[first]
        self._base[first[new]] = number[place[new]]
        self._based[first[new]] = True

    def _read_scales(self, segments: Segments, here: I64, there: I64) -> None:
        """Read the scales that SYNs ask for; both sides must, or none has any."""
        for place, row in enumerate(segments.asks.tolist()):
            options = segments.options[place, : max(int(segments.option_bytes[place]), 0)].tobytes()
            shift = _scale_option(options)
            mine, other = int(here[row]), int(there[row])
            if segments.flags[row] & ACK and (shift is None or self._scale[other] == UNUSED):
                self._scale[mine] = self._scale[other] = UNUSED
            else:
                self._scale[mine] = UNUSED if shift is None else shift


def _carried_on(stream: I64, flow: I64, begins: list[tuple[int, int, int]]) -> I64:
    """Give the segments from each begin on, up to the next one of the same flow, to the stream that begins there."""
    table = np.array(sorted(begins), np.int64)
    n = len(stream)
    keys = table[:, 0] * n + table[:, 1]
    place = np.searchsorted(keys, flow * n + np.arange(n), "right") - 1
    own = (place >= 0) & (table[np.maximum(place, 0), 0] == flow)
    result: I64 = np.where(own, table[np.maximum(place, 0), 2], stream)
    return result


def _scale_option(options: bytes) -> int | None:
    at = 0
    while at < len(options) and options[at]:
        if options[at] == 1:
            at += 1
            continue
        size = options[at + 1] if at + 1 < len(options) else 0
        if size < 2:
            return None
        if options[at] == _SCALE_OPTION and size == 3 and at + 2 < len(options):
            return min(options[at + 2], _MOST_SCALE)
        at += size
    return None


def _grown(values: NDArray[T], size: int, fill: object) -> NDArray[T]:
    grown: NDArray[T] = np.full(max(size, 2 * len(values)), fill, values.dtype)
    grown[: len(values)] = values
    return grown
