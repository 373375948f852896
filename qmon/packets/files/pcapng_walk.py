"""Where the blocks of a pcapng buffer are, through sections of either byte order.

Sections of one order are walked at once. Where the order turns, the next blocks are walked one by one before that is
tried again: a file may turn at every section, and each try costs as much as a thousand blocks.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

import numpy as np

from qmon.packets.copying import I64, U8, U32, Mask, items_at
from qmon.packets.files import pcapng_blocks as blocks
from qmon.packets.files.resync import LONGEST_BLOCK_BYTES
from qmon.packets.files.scan import Layout, walk

LEAST_BLOCK = 12
GUESS_BYTES = 2048
_FEW_BLOCKS = 256


@dataclass(frozen=True, slots=True)
class Blocks:
    """n rows: where each block begins and ends, its type, and whether its numbers are big-endian."""

    start: I64
    end: I64
    kind: U32
    big: Mask

    def __len__(self) -> int:
        return len(self.start)

    def select(self, which: Mask) -> Blocks:
        """Return some of them."""
        return Blocks(self.start[which], self.end[which], self.kind[which], self.big[which])


def sound_blocks(data: U8, at: int, order: str) -> tuple[Blocks, int, str]:
    """Return the whole and sound blocks from `at` on, where they end, and the byte order there."""
    pieces: list[Blocks] = []
    while True:
        piece, at = _of_one_order(data, at, order)
        pieces.append(piece)
        if not is_turn(data, at, order):
            return _joined(pieces), at, order
        some = _Some()
        while is_turn(data, at, order) and len(some.start) < _FEW_BLOCKS:
            order = "<" if order == ">" else ">"
            at = _one_by_one(data, at, order, some)
        pieces.append(some.blocks())


def is_turn(data: U8, at: int, order: str) -> bool:
    """Say whether a section of the other byte order begins here."""
    if at + LEAST_BLOCK > len(data) or number_at(data, at, "<") != blocks.SECTION:
        return False
    return number_at(data, at + 8, "<" if order == ">" else ">") == blocks.BYTE_ORDER_MAGIC


def number_at(data: U8, at: int, order: str) -> int:
    """Return four bytes as a number."""
    return int(struct.unpack_from(order + "I", data.data, at)[0])


def words_at(data: U8, size: int, at: I64, big: Mask) -> U32:
    """Return the `size` bytes at each place as numbers, shape (len(at), size // 4), each row in its own order."""
    raw = items_at(data, size, at)
    shape = (len(at), size // 4)
    if not big.any():
        return raw.view("<u4").reshape(shape).astype(np.uint32)
    words = raw.view(">u4").reshape(shape).astype(np.uint32)
    return words if big.all() else np.where(big[:, None], words, raw.view("<u4").reshape(shape))


@dataclass(slots=True)
class _Some:
    start: list[int] = field(default_factory=list)
    end: list[int] = field(default_factory=list)
    kind: list[int] = field(default_factory=list)
    big: list[bool] = field(default_factory=list)

    def blocks(self) -> Blocks:
        start, end = np.array(self.start, np.int64), np.array(self.end, np.int64)
        return Blocks(start, end, np.array(self.kind, np.uint32), np.array(self.big, np.bool_))


def _one_by_one(data: U8, at: int, order: str, some: _Some) -> int:
    """Walk blocks of one order until the other one begins, or there are enough; return where they end."""
    head_of, size_of = struct.Struct(order + "III").unpack_from, struct.Struct(order + "I").unpack_from
    view, stop = data.data, len(data)
    while at + LEAST_BLOCK <= stop and len(some.start) < _FEW_BLOCKS:
        kind, size, third = head_of(view, at)
        end = at + size
        if kind == blocks.SECTION and third != blocks.BYTE_ORDER_MAGIC:
            break
        if size < LEAST_BLOCK or size % 4 or size > LONGEST_BLOCK_BYTES or end > stop:
            break
        if size_of(view, end - 4)[0] != size:
            break
        some.start.append(at)
        some.end.append(end)
        some.kind.append(kind)
        some.big.append(order == ">")
        at = end
    return at


def _of_one_order(data: U8, at: int, order: str) -> tuple[Blocks, int]:
    start, stop = walk(data, at, len(data), Layout(4, 0, LEAST_BLOCK, order), _Guesser(data, at, order))
    big = np.full(len(start), order == ">")
    if not len(start):
        return Blocks(start, start, start.astype(np.uint32), big), stop
    head = words_at(data, 8, start, big)
    kind, size = head[:, 0], head[:, 1].astype(np.int64)
    end = np.append(start[1:], stop)
    behind = words_at(data, 4, end - 4, big)[:, 0].astype(np.int64)
    sound = (size == behind) & (size == end - start) & (size % 4 == 0) & (size <= LONGEST_BLOCK_BYTES)
    third = words_at(data, 4, np.minimum(start + 8, len(data) - 4), big)[:, 0]
    sound &= (kind != blocks.SECTION) | (third == blocks.BYTE_ORDER_MAGIC)
    found = Blocks(start, end, kind, big)
    if sound.all():
        return found, stop
    count = int(np.argmin(sound))
    return found.select(np.arange(len(start)) < count), int(start[count])


def _joined(pieces: list[Blocks]) -> Blocks:
    if len(pieces) == 1:
        return pieces[0]
    return Blocks(
        np.concatenate([one.start for one in pieces]),
        np.concatenate([one.end for one in pieces]),
        np.concatenate([one.kind for one in pieces]),
        np.concatenate([one.big for one in pieces]),
    )


class _Guesser:
    """Guesses where blocks may begin: where an enhanced packet's type stands, and its length also ends it."""

    def __init__(self, data: U8, at: int, order: str) -> None:
        self._data = data
        self._at = at
        self._order = order

    def __call__(self, near: I64) -> I64:
        # Blocks begin in steps of four bytes from where one begins.
        near = near - (near - self._at) % 4
        near = near[near + GUESS_BYTES <= len(self._data)]
        kind = self._order + "u4"
        words = items_at(self._data, GUESS_BYTES, near).view(kind).reshape(len(near), GUESS_BYTES // 4)
        hit = words[:, :-1] == blocks.ENHANCED_PACKET
        where = hit.argmax(axis=1)
        which = np.arange(len(near))
        size = words[which, where + 1].astype(np.int64)
        found = near + where * 4
        likely = hit[which, where] & (size >= 32) & (found + size <= len(self._data))
        found, size = found[likely], size[likely]
        result: I64 = found[items_at(self._data, 4, found + size - 4).view(kind) == size]
        return result
