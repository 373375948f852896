"""Copying many pieces of different sizes from one buffer to another without a loop over pieces.

Large pieces of one size at one distance, as bulk data comes, are the rows of a table and copied as that; other large
ones are worth a step of Python each. NumPy copies items of one size fast: a smaller piece, of 500 bytes, is copied as
items of 256 bytes, as many as begin in steps of 256, and a last one that ends where the piece ends and so overlaps the
one before it. Still smaller pieces use smaller items, the few under 16 bytes go byte by byte. Such pieces are copied
twice, which costs about 100 ns a frame.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    U8 = NDArray[np.uint8]
    U16 = NDArray[np.uint16]
    U32 = NDArray[np.uint32]
    U64 = NDArray[np.uint64]
    I64 = NDArray[np.int64]
    Mask = NDArray[np.bool_]
else:
    # Importing numpy.typing takes longer than indexing 10,000 packets.
    U8 = U16 = U32 = U64 = I64 = Mask = np.ndarray

# Pieces of at least so many bytes are copied as items of that size.
ITEMS = (256, 64, 16)
# Larger ones one by one, or as rows where at least so many are alike.
LARGE_BYTES = 1024
LEAST_ROWS = 8
# So much is copied without a second thought.
TAIL_BYTES = 64 * 1024


def copy_pieces(source: U8, start: I64, target: U8, to: I64, size: U32 | I64) -> None:
    """Copy `source[start[i] : start[i] + size[i]]` to `target[to[i] : …]`; the places in `target` must not overlap."""
    size = size.astype(np.int64, copy=False)
    if len(size) == 1:
        first, there, count = int(start[0]), int(to[0]), int(size[0])
        target[there : there + count] = source[first : first + count]
        return
    rest = np.arange(len(size))
    large = size >= LARGE_BYTES
    if large.any():
        which = rest[large]
        _copy_large(source, start[which], target, to[which], size[which])
        rest = rest[~large]
    for item in ITEMS:
        large = size[rest] >= item
        which = rest[large]
        if len(which):
            _copy_items(source, start[which], target, to[which], size[which], item)
        rest = rest[~large]
    if len(rest):
        within, owner = _steps(size[rest])
        target[to[rest][owner] + within] = source[start[rest][owner] + within]


def _copy_large(source: U8, start: I64, target: U8, to: I64, size: I64) -> None:
    apart, there_apart = np.diff(start), np.diff(to)
    # A step to the next piece that is not like the one before it ends a table.
    alike = (size[1:] == size[:-1]) & (apart > 0) & (there_apart > 0)
    alike[1:] &= ~alike[:-1] | ((apart[1:] == apart[:-1]) & (there_apart[1:] == there_apart[:-1]))
    bounds = [0, *(np.flatnonzero(~alike) + 1).tolist(), len(size)]
    view, target_view = source.data, target.data
    for first, stop in pairwise(bounds):
        count, length = stop - first, int(size[first])
        at, there = int(start[first]), int(to[first])
        if count >= LEAST_ROWS:
            rows = np.ndarray((count, length), np.uint8, source, at, (int(apart[first]), 1))
            np.ndarray((count, length), np.uint8, target, there, (int(there_apart[first]), 1))[:] = rows
            continue
        for at, there in zip(start[first:stop].tolist(), to[first:stop].tolist(), strict=True):
            target_view[there : there + length] = view[at : at + length]


def _copy_items(source: U8, start: I64, target: U8, to: I64, size: I64, item: int) -> None:
    step, owner = _steps(-(-size // item))
    within = np.minimum(step * item, (size - item)[owner])
    _items(target, item)[to[owner] + within] = _items(source, item)[start[owner] + within]


def _steps(count: I64) -> tuple[I64, I64]:
    """For counts (2, 3): the steps (0, 1, 0, 1, 2) and their owners (0, 0, 1, 1, 1)."""
    owner = np.repeat(np.arange(len(count)), count)
    first = np.cumsum(count) - count
    return np.arange(len(owner)) - first[owner], owner


def items_at(data: U8, size: int, start: I64) -> U8:
    """Return the `size` bytes from each place of `start` on, one after the other; all must lie within `data`."""
    return _items(data, size)[start].view(np.uint8)


def clipped_items_at(data: U8, size: int, start: I64) -> U8:
    """Like `items_at` for places where the data may end too early: zeros stand for what is missing."""
    if not len(start):
        return np.zeros(0, np.uint8)
    if int(start.max()) + size <= len(data):
        return items_at(data, size, start)
    lowest = int(start.min())
    tail = np.concatenate((data[lowest:], np.zeros(size, np.uint8)))
    if len(tail) <= TAIL_BYTES or len(start) == 1:
        return items_at(tail, size, np.minimum(start - lowest, len(tail) - size))
    early = start + size <= len(data)
    result = np.empty((len(start), size), np.uint8)
    result[early] = items_at(data, size, start[early]).reshape(-1, size)
    result[~early] = clipped_items_at(data, size, start[~early]).reshape(-1, size)
    return result.reshape(-1)


def put_items(data: U8, size: int, start: I64, rows: NDArray[Any]) -> None:
    """Write rows of `size` bytes each to the places of `start`."""
    if len(start):
        flat = np.ascontiguousarray(rows).reshape(-1).view(np.dtype((np.void, size)))
        _items(data, size)[start] = flat


def _items(data: U8, size: int) -> NDArray[np.void]:
    """Return a view of `data` as overlapping items, one beginning at every byte."""
    return np.ndarray((len(data) - size + 1,), np.dtype((np.void, size)), data, strides=(1,))
