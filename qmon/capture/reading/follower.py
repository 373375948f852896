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

from qmon.capture.reading import kernel
from qmon.capture.reading.clock import Sighting
from qmon.packets.batch import Damage, FrameBatch
from qmon.packets.files.pcap import PcapReader

READ_BYTES = 1 << 20
_PUNCH_BYTES = 256 << 10
_FILE_HEADER, _RECORD_HEADER = 24, 16
# A record half written for so long will never be finished: QEMU gave the dump up.
_STUCK_NS = 2_000_000_000


class Follower:
    """Reads what QEMU appends to a memfd, which it owns from now on."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.at_end = True
        self.damage: Damage | None = None
        self._reader = PcapReader()
        self._read = 0
        self._parsed = 0
        self._punched = 0
        self._unfinished_since = self._unfinished_at = 0

    def __repr__(self) -> str:
        return f"<Follower fd={self.fd} read={self._read} parsed={self._parsed}>"

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
        return self._read

    def written_ns(self) -> int:
        """Return when the file was last written (UTC ns), early by up to a tick of the kernel's clock."""
        return os.fstat(self.fd).st_mtime_ns

    def read(self, budget_bytes: int = 4 * READ_BYTES) -> tuple[FrameBatch | None, Sighting | None]:
        """Return the frames that are complete now, with QEMU's own stamps, and what was seen of the time.

        Not more than about `budget_bytes` at once; `at_end` says whether that was all there was.
        """
        batches: list[FrameBatch] = []
        self.at_end = False
        taken = seen = 0
        while taken < budget_bytes:
            data = os.pread(self.fd, READ_BYTES, self._read)
            if data:
                # At once: what it takes to understand the data would make the frames look younger.
                seen = time.time_ns()
                self._read += len(data)
                taken += len(data)
                batches += self._parse(data)
            if len(data) < READ_BYTES:
                self.at_end = True
                break
        if not taken:
            return None, None
        self._note_unfinished()
        self._give_back()
        if not batches:
            return None, None
        batch = FrameBatch.concatenate(batches)
        return batch, self._sighting(batch, seen)

    def close(self) -> None:
        """Close the memfd; QEMU's own descriptor, if it still has one, keeps it alive."""
        os.close(self.fd)

    def _parse(self, data: bytes) -> list[FrameBatch]:
        batches = []
        if self._parsed == 0 and self._read >= _FILE_HEADER:
            self._parsed = _FILE_HEADER
        for item in self._reader.feed(data):
            if isinstance(item, FrameBatch):
                batches.append(item)
                self._parsed += len(item) * _RECORD_HEADER + int(item.captured.sum(dtype="int64"))
            elif isinstance(item, Damage):
                self.damage = item
        return batches

    def _note_unfinished(self) -> None:
        if self._parsed == self._read:
            self._unfinished_since = 0
        elif self._unfinished_since == 0 or self._parsed != self._unfinished_at:
            # Another record than the one seen half-written last time: while much is read, one always is.
            self._unfinished_since, self._unfinished_at = time.monotonic_ns(), self._parsed

    def _sighting(self, batch: FrameBatch, seen: int) -> Sighting:
        last_stamp = int(batch.time_ns[-1])
        status = os.fstat(self.fd)
        exact = self._parsed == self._read == status.st_size
        return Sighting(last_stamp, seen, status.st_mtime_ns if exact else None)

    def _give_back(self) -> None:
        """Punch what was read, a good piece at a time; at the end of the file the last page stays QEMU's."""
        until = self._read - self._read % kernel.PAGE
        if until - self._punched >= _PUNCH_BYTES:
            kernel.punch(self.fd, self._punched, until)
            self._punched = until


class FileFollower(Follower):
    """Reads what QEMU appends to a plain file, which is deleted at the end.

    Such a file cannot be sealed: it is `sealed` when it takes more than `limit_bytes`, and QEMU writes on.
    """

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
