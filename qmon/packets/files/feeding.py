"""What the readers of both capture formats share: bytes that arrive cut anywhere, and what comes out.

Owns the waiting for the rest of a record. Does no I/O.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from qmon.packets.batch import Bytes, Damage, FrameBatch, Interface, Names, Note, Statistics
from qmon.packets.copying import U8

Item = FrameBatch | Interface | Note | Names | Damage | Statistics

# No frame is longer than this (libpcap's own bound), but for some link types that carry whole transfers: of these a
# frame may be so long that a few copies of it still fit into memory.
MAX_FRAME_BYTES = 262_144
MAX_TRANSFER_BYTES = 16 << 20
# LINKTYPE_USB_LINUX, USB_LINUX_MMAPPED, DBUS, USBPCAP, USB_DARWIN, EBHSCR
_TRANSFER_LINK_TYPES = frozenset({189, 220, 231, 249, 266, 279})


def longest_frame(link_type: int) -> int:
    """Return how many bytes a frame can have at most; more is damage."""
    return MAX_TRANSFER_BYTES if link_type in _TRANSFER_LINK_TYPES else MAX_FRAME_BYTES


class Reader(ABC):
    """Takes the bytes of one capture in order. `position` is where the next byte not yet understood lies."""

    def __init__(self, *, base: int = 0) -> None:
        self.position = base
        self.need = 1
        self._parts: list[bytes] = []
        self._have = 0

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at byte {self.position}, {self._have} waiting>"

    def feed(self, data: Bytes) -> list[Item]:
        """Take more bytes; return what they complete, in order. The batches own their bytes."""
        if data:
            self._parts.append(bytes(data))
            self._have += len(data)
        return self._parse_waiting(final=False) if self._have >= self.need else []

    def finish(self) -> list[Item]:
        """Say that no more bytes come; a half-written record becomes damage."""
        return self._parse_waiting(final=True)

    def _parse_waiting(self, *, final: bool) -> list[Item]:
        whole = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        items, used = self.parse(np.frombuffer(whole, np.uint8), final=final)
        self._parts = [whole[used:]] if used < len(whole) else []
        self._have = len(whole) - used
        return items

    @abstractmethod
    def parse(self, data: U8, *, final: bool) -> tuple[list[Item], int]:
        """Take a buffer whose first byte lies at `position`; return what it holds and how many bytes are done with.

        The batches are views of `data`. The rest must be passed again, with more behind it: at least `need` bytes
        in all. For callers who own a buffer; others use `feed`.
        """
