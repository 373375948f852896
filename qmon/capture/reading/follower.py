"""A growing pcap in memory turned into complete records; the memory behind the reader is given back.

Owns one memfd (or a plain file, where asked for) that one of QEMU's filters writes to: reading position, punched
position, and the facts that the clock needs (when a record was seen, when the file was last written). Must never
wait, and must never hand out half a record: QEMU's header and frame may be seen apart.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

import numpy as np

from qmon.capture.reading import kernel
from qmon.capture.reading.clock import Sighting
from qmon.packets.batch import Damage, FrameBatch
from qmon.packets.files.pcap import PcapReader

READ_BYTES = 4 << 20
_PUNCH_BYTES = 256 << 10
# A record half written for so long will never be finished: QEMU gave the dump up.
_STUCK_NS = 2_000_000_000


class Follower:
    """Reads what QEMU appends to a memfd, which it owns from now on."""

    is_memory = True

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.at_end = True
        self.damage: Damage | None = None
        self._reader = PcapReader()
        self._parsed = 0
        self._punched = 0
        self._unfinished_since = self._unfinished_at = 0

    def __repr__(self) -> str:
        return f"<Follower fd={self.fd} read={self._parsed}>"

    @property
    def sealed(self) -> bool:
        """Whether QEMU cannot, or must not, write here any more."""
        return kernel.growth_is_sealed(self.fd)

    def seal(self) -> None:
        """Let QEMU write no further, as far as that can be done without it."""
        kernel.seal_growth(self.fd)

    @property
    def stuck(self) -> bool:
        """Whether QEMU gave up in the midst of a record, or wrote what is no capture."""
        if self.damage is not None:
            return True
        since = self._unfinished_since
        return since != 0 and time.monotonic_ns() - since > _STUCK_NS

    def allocated_bytes(self) -> int:
        """Return the memory the file takes now."""
        return os.fstat(self.fd).st_blocks * 512

    @property
    def read_bytes(self) -> int:
        """How much was read of the file, from its start."""
        return self._parsed

    def written_ns(self) -> int:
        """Return when the file was last written (UTC ns), early by up to a tick of the kernel's clock."""
        return os.fstat(self.fd).st_mtime_ns

    def read(self, budget_bytes: int = READ_BYTES) -> tuple[FrameBatch | None, Sighting | None]:
        """Return the frames that are complete now, with QEMU's own stamps, and what was seen of the time.

        Not more than about `budget_bytes` at once; `at_end` says whether that was all there was.
        """
        status = os.fstat(self.fd)
        # At once: what it takes to read and understand the data would make the frames look younger.
        seen = time.time_ns()
        there = status.st_size - self._parsed
        enough = max(budget_bytes, self._reader.need)
        self.at_end = there <= enough
        batches = self._parse(min(there, enough)) if there >= self._reader.need else []
        self._note_unfinished(status.st_size)
        self._give_back()
        if not batches:
            return None, None
        batch = FrameBatch.concatenate(batches)
        written = status.st_mtime_ns if self._parsed == status.st_size else None
        return batch, Sighting(int(batch.time_ns[-1]), seen, written)

    def close(self) -> None:
        """Close the memfd; QEMU's own descriptor, if it still has one, keeps it alive."""
        os.close(self.fd)

    def _parse(self, size: int) -> list[FrameBatch]:
        """Copy so many bytes out of the file, once: the batches are views of them. Half a record is read again."""
        data = np.empty(size, np.uint8)
        size = os.preadv(self.fd, [data.data], self._parsed)
        items, used = self._reader.parse(data[:size], final=False)
        self._parsed += used
        for item in items:
            if isinstance(item, Damage):
                self.damage = item
        return [item for item in items if isinstance(item, FrameBatch)]

    def _note_unfinished(self, size: int) -> None:
        if self._parsed == size:
            self._unfinished_since = 0
        elif self._unfinished_since == 0 or self._parsed != self._unfinished_at:
            # Another record than the one seen half-written last time: while much is read, one always is.
            self._unfinished_since, self._unfinished_at = time.monotonic_ns(), self._parsed

    def _give_back(self) -> None:
        """Punch what was read, a good piece at a time; at the end of the file the last page stays QEMU's."""
        until = self._parsed - self._parsed % kernel.PAGE
        if until - self._punched >= _PUNCH_BYTES:
            kernel.punch(self.fd, self._punched, until)
            self._punched = until


class FileFollower(Follower):
    """Reads what QEMU appends to a plain file, which is deleted at the end.

    Such a file cannot be sealed: it is `sealed` when it takes more than `limit_bytes`, and QEMU writes on.
    """

    is_memory = False

    def __init__(self, fd: int, path: Path, limit_bytes: int) -> None:
        super().__init__(fd)
        self.path = path
        self._limit_bytes = limit_bytes

    @property
    def sealed(self) -> bool:
        """Whether it has become too big."""
        return self.allocated_bytes() > self._limit_bytes

    def seal(self) -> None:
        """Nothing keeps QEMU from writing to a plain file."""

    def _give_back(self) -> None:
        """Punch what was read where the file system can do that; where not, the limit ends it."""
        with suppress(OSError):
            super()._give_back()

    def close(self) -> None:
        """Delete the file."""
        with suppress(OSError):
            self.path.unlink()
        super().close()
