"""One file that one of QEMU's filters writes to, with what is known of its frames.

Owns the counts and labels of one file. Must never know how the filter came to be.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from qmon.capture.reading.follower import Follower
from qmon.capture.reading.headers import HeaderFinder
from qmon.packets.batch import Direction

_UNLIMITED = 1 << 62


class Full(StrEnum):
    """Why a file was sealed: too much waited in it, too little memory was free, or QEMU may write no longer file."""

    LIMIT = "limit"
    MEMORY = "memory"
    LENGTH = "length"


class Guard(Protocol):
    """Who seals a file when too much waits in it, or when qmon is gone."""

    def drop(self) -> None:
        """Guard it no longer."""

    @property
    def full(self) -> Full | None:
        """Why it sealed the file; None if it did not."""


@dataclass(slots=True)
class Channel:
    """One filter and the file it writes to.

    `headers` removes virtio-net headers where there may be some; `seconds` is added to the stamps (None: not known).
    `largest_bytes` is how long QEMU's process may make the file; `guard` is None where nobody guards it.
    """

    netdev: str
    interface: int
    filter_id: str
    direction: Direction
    follower: Follower
    headers: HeaderFinder | None = None
    seconds: int | None = None
    packets: int = 0
    bytes: int = 0
    largest_bytes: int = _UNLIMITED
    guard: Guard | None = None

    @property
    def is_long(self) -> bool:
        """Whether the file nears the length that QEMU's process may write."""
        return self.follower.read_bytes > self.largest_bytes // 3 * 2

    @property
    def has_ended(self) -> bool:
        """Whether QEMU will write nothing more here: sealed, given up in a record, or no capture at all."""
        return self.follower.sealed or self.follower.stuck

    def unguard(self) -> None:
        """Have it guarded no longer: QEMU has stopped to write to it."""
        if self.guard is not None:
            self.guard.drop()
            self.guard = None

    def close(self) -> None:
        """Let go of the file."""
        self.unguard()
        self.follower.close()
