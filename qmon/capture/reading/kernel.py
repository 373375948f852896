"""The few Linux calls that Python's library lacks: punching holes and watching a file for writes.

Owns the ctypes declarations. Must never hold more than the call: what to punch or watch is decided elsewhere.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import time

PAGE = os.sysconf("SC_PAGE_SIZE")

# linux/falloc.h, linux/inotify.h, linux/fcntl.h; Python's fcntl and os have the rest.
_FALLOC_KEEP_SIZE, _FALLOC_PUNCH_HOLE = 0x01, 0x02
_IN_MODIFY = 0x02
_CLOCK_REALTIME_COARSE = 5  # linux/time.h
_IN_NONBLOCK, _IN_CLOEXEC = os.O_NONBLOCK, os.O_CLOEXEC

_libc = ctypes.CDLL(None, use_errno=True)
_fallocate = _libc.fallocate
_fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def memory_file(name: str) -> int:
    """Make a file that lives in memory only and can be sealed; its descriptor."""
    return os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)


def seal_growth(fd: int) -> None:
    """Let nobody write beyond the file's end any more: a writer there gets EPERM (fcntl(2), file sealing)."""
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW)


def growth_is_sealed(fd: int) -> bool:
    """Say whether `seal_growth` was done, by whomever."""
    return bool(fcntl.fcntl(fd, fcntl.F_GET_SEALS) & fcntl.F_SEAL_GROW)


def punch(fd: int, start: int, stop: int) -> None:
    """Give back the memory of the bytes [start, stop), which then read as zeros; the size stays."""
    if stop > start:
        _checked(_fallocate(fd, _FALLOC_PUNCH_HOLE | _FALLOC_KEEP_SIZE, start, stop - start))


def write_tick_ns() -> int:
    """Return how early the time of a file's last write may be: the kernel takes it from a clock that ticks."""
    return max(1_000_000, round(time.clock_getres(_CLOCK_REALTIME_COARSE) * 1e9))


class WriteWatch:
    """An inotify descriptor (`fd`) that becomes readable when one of the watched files was written."""

    def __init__(self) -> None:
        self.fd = _checked(_libc.inotify_init1(_IN_NONBLOCK | _IN_CLOEXEC))
        self.paused = False
        self._watches: dict[int, int] = {}

    def __repr__(self) -> str:
        return f"<WriteWatch fd={self.fd} of {sorted(self._watches)}>"

    def add(self, fd: int) -> None:
        """Watch the file behind a descriptor of ours (it needs no name: /proc leads to its inode)."""
        self.resume()
        self._watches[fd] = self._add(fd)

    def remove(self, fd: int) -> None:
        """Watch it no longer."""
        watch = self._watches.pop(fd, None)
        if watch is not None and not self.paused:
            _checked(_libc.inotify_rm_watch(self.fd, watch))

    def pause(self) -> None:
        """Spare the writers the notification, a tenth of what a write costs, while nobody waits for it."""
        if not self.paused:
            self.paused = True
            for watch in self._watches.values():
                _checked(_libc.inotify_rm_watch(self.fd, watch))

    def resume(self) -> bool:
        """Watch again; return whether writes may have gone unnoticed until now. OSError as of `add`."""
        if not self.paused:
            return False
        self._watches = {fd: self._add(fd) for fd in self._watches}
        self.paused = False
        return True

    def _add(self, fd: int) -> int:
        path = f"/proc/self/fd/{fd}".encode()
        return _checked(_libc.inotify_add_watch(self.fd, path, _IN_MODIFY))

    def clear(self) -> bool:
        """Forget what was signalled so far; return whether anything was."""
        signalled = False
        while True:
            try:
                os.read(self.fd, 65_536)
            except BlockingIOError:
                return signalled
            signalled = True

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self.fd)
