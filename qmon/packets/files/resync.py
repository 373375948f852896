"""Finding the next record behind damage.

Neither format marks the beginning of a record, so it is found by what its header must look like and by what must
follow. Owns these rules. Never decides what to do about the damage.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct

import numpy as np

from qmon.packets.copying import I64, U8, Mask

WINDOW_BYTES = 64 * 1024
# A record is believed when so many sound ones follow it.
FOLLOWERS = 2
# Records near each other in a file were made near each other in time.
NEAR_S = 30 * 86_400
LONGEST_WIRE_BYTES = 64 << 20
LONGEST_BLOCK_BYTES = 17 << 20
_BLOCK_TYPES = (1, 2, 3, 4, 5, 6, 9, 10, 0x0A0D0D0A, 0x0BAD, 0x4000_0BAD)


@dataclass(frozen=True, slots=True)
class PcapRule:
    """What a sound record header of one pcap capture looks like. `second` is the stamp of the last good one."""

    order: str
    record_bytes: int
    limit: int
    fractions: int
    second: int | None

    def sound(self, data: U8, low: int, high: int) -> Mask:
        """For every place from `low` to `high - 1`: may a record begin there?"""
        kind = np.dtype(self.order + "u4")
        second, fraction, size, length = (
            np.ndarray((high - low,), kind, data, offset=low + at, strides=(1,)) for at in (0, 4, 8, 12)
        )
        mask: Mask = (size <= length) & (length > 0)
        mask &= (size <= self.limit) & (length <= LONGEST_WIRE_BYTES) & (fraction < self.fractions)
        if self.second is not None:
            mask &= np.abs(second.astype(np.int64) - self.second) <= NEAR_S
        return mask

    def follow(self, data: U8, at: int) -> tuple[int, int]:
        """Go from a sound record to the next ones; return how many sound ones followed, and where that ended.

        -1 as the end: what followed was not sound.
        """
        size_of = Struct(self.order + "I").unpack_from
        for followers in range(FOLLOWERS + 1):
            at += self.record_bytes + size_of(data.data, at + 8)[0]
            if followers == FOLLOWERS or at + self.record_bytes > len(data):
                return followers, at
            if not self.sound(data, at, at + 1)[0]:
                return followers, -1
        raise AssertionError("the loop returns")


def find_pcap_record(data: U8, first: int, rule: PcapRule, *, final: bool) -> tuple[bool, int]:
    """Look for a record from `first` on; return (True, where) or (False, from where to look again with more data)."""
    for low, high in _windows(first, len(data) - rule.record_bytes + 1):
        for candidate in (low + np.flatnonzero(rule.sound(data, low, high))).tolist():
            followers, end = rule.follow(data, candidate)
            if followers >= FOLLOWERS or (final and end == len(data)):
                return True, candidate
            if end > 0 and not final:
                return False, candidate
            if end > 0 and followers:
                return True, candidate
    return False, max(first, len(data) - rule.record_bytes + 1)


def find_pcapng_block(data: U8, first: int, order: str, *, final: bool) -> tuple[bool, int]:
    """Look for a block from `first` on: of a known type, its length written before and behind it.

    Return (True, where) or (False, from where to look again with more data).
    """
    for low, high in _windows(first, len(data) - 11):
        for candidate in _block_candidates(data, low, high, order).tolist():
            either = "<>" if data[candidate] == 0x0A else order
            end = max(candidate + _number(data, candidate + 4, one) for one in either)
            if any(_is_block(data, candidate, one) for one in either):
                return True, candidate
            if end > len(data) and not final:
                return False, candidate
    return False, max(first, len(data) - 11)


def _block_candidates(data: U8, low: int, high: int, order: str) -> I64:
    kind = np.ndarray((high - low,), np.dtype(order + "u4"), data, offset=low, strides=(1,))
    size = np.ndarray((high - low,), np.dtype(order + "u4"), data, offset=low + 4, strides=(1,))
    mask = np.isin(kind, np.array(_BLOCK_TYPES, np.uint32))
    mask &= ((size >= 12) & (size <= LONGEST_BLOCK_BYTES) & (size % 4 == 0)) | (kind == 0x0A0D0D0A)
    return low + np.flatnonzero(mask)


def _is_block(data: U8, at: int, order: str) -> bool:
    size = _number(data, at + 4, order)
    end = at + size
    return 12 <= size <= LONGEST_BLOCK_BYTES and end <= len(data) and _number(data, end - 4, order) == size


def _number(data: U8, at: int, order: str) -> int:
    return int(Struct(order + "I").unpack_from(data.data, at)[0])


def _windows(first: int, stop: int) -> Iterator[tuple[int, int]]:
    for low in range(first, stop, WINDOW_BYTES):
        yield low, min(low + WINDOW_BYTES, stop)
