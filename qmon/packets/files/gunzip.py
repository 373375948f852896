"""Unpacking a gzipped stream piece by piece, into somebody's buffer. Owns the state between pieces; does no I/O."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import numpy as np

from qmon.packets.copying import U8

MAGIC = bytes.fromhex("1f8b")
PIECE_BYTES = 4096
_GZIP_WINDOW = 31


class Gunzip:
    """Unpacks one gzip file, of one member or several. zlib.error where it is damaged or ends too early."""

    def __init__(self, first: bytes) -> None:
        self._packed = first
        self._inflate = zlib.decompressobj(_GZIP_WINDOW)
        self._touched = False

    def read_into(self, free: U8, read: Callable[[], bytes]) -> int:
        """Unpack at least one byte into `free`, asking `read` for more as needed; return how many, 0 at the end."""
        while True:
            if not self._packed:
                self._packed = read()
                if not self._packed:
                    if self._touched:
                        raise zlib.error("it ends too early")
                    return 0
            self._touched = True
            # By small pieces: where one is damaged, nothing of it comes out.
            piece, self._packed = self._packed[:PIECE_BYTES], self._packed[PIECE_BYTES:]
            out = self._inflate.decompress(piece, len(free))
            if self._inflate.eof:
                self._next_member(self._inflate.unused_data + self._packed)
            else:
                self._packed = self._inflate.unconsumed_tail + self._packed
            if out:
                free[: len(out)] = np.frombuffer(out, np.uint8)
                return len(out)

    def _next_member(self, rest: bytes) -> None:
        # Behind the last member there may be padding.
        self._packed = rest if rest.startswith(MAGIC) else b""
        self._inflate = zlib.decompressobj(_GZIP_WINDOW)
        self._touched = False
