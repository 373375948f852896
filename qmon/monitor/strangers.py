"""Files that other processes name or are, read without trusting them.

Owns how such a file is opened: only a regular one, and never more of it than was asked for. Must never open
anything else, for opening alone can wait for ever (a FIFO), let somebody else go on, or set a device going.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

_CHUNK_BYTES = 4 << 20


@contextmanager
def regular_file(path: str) -> Iterator[int]:
    """Yield a descriptor to read the regular file at `path`; OSError where there is none or it may not be read."""
    # What the path leads to is held first and opened then: in between nobody can put something else there.
    held = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(held).st_mode):
            raise OSError(f"{path} is not a regular file")
        fd = os.open(f"/proc/self/fd/{held}", os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    finally:
        os.close(held)
    try:
        yield fd
    finally:
        os.close(fd)


def read_start(path: str, limit_bytes: int) -> bytes:
    """Return at most the first `limit_bytes` of a regular file, or of a file of `/proc`; OSError if there is none."""
    with regular_file(path) as fd:
        parts: list[bytes] = []
        left = limit_bytes
        while left and (part := os.read(fd, min(left, _CHUNK_BYTES))):
            parts.append(part)
            left -= len(part)
    return b"".join(parts)


def holds(path: str, wanted: bytes, limit_bytes: int) -> bool:
    """Tell whether `wanted` is among the first `limit_bytes` of a regular file; OSError if there is none."""
    with regular_file(path) as fd:
        end, read_bytes = b"", 0
        while read_bytes < limit_bytes and (part := os.read(fd, _CHUNK_BYTES)):
            # A read and not a mapping: a file that is cut short meanwhile would end this process.
            if wanted in end + part:
                return True
            end = part[-len(wanted) :]
            read_bytes += len(part)
    return False
