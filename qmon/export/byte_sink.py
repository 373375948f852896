"""Where the bytes of a capture go: a file, a FIFO, a pipe, without ever waiting for a reader.

Owns the descriptor and the bytes that a slow reader has not taken yet. Must never block, and must never leave half a
record at the end of a file whose disk is full.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import select
import socket
import stat
from collections import deque
from collections.abc import Callable
from pathlib import Path

from qmon.errors import QmonError, UsageError
from qmon.packets.batch import Bytes

_FIFO_RETRY_S = 0.05
# What a reader is given to take the rest when somebody has told us to end.
FAREWELL_S = 1.0


class ReaderLeft(Exception):
    """Nobody reads the pipe any more: a normal end."""


class ByteSink:
    """Takes bytes; made by `open_path` or `on_descriptor`. `whole(data, size)` finds where records end.

    Without `whole` half a record may end a file: for lines, which others may be writing to the same file.
    """

    def __init__(
        self, fd: int, name: str, *, regular: bool, whole: Callable[[Bytes, int], int] | None
    ) -> None:
        self.name = name
        self.size = 0
        self._fd = fd
        self._start = _position(fd) if regular else 0
        self._socket = socket.socket(fileno=os.dup(fd)) if stat.S_ISSOCK(os.fstat(fd).st_mode) else None
        self._regular = regular
        self._whole = whole
        self._pending = bytearray()
        self._watch = select.poll()
        self._watch.register(fd, 0)

    def __repr__(self) -> str:
        return f"<ByteSink {self.name} {self.size} bytes, {len(self._pending)} waiting>"

    @classmethod
    async def open_path(cls, path: str, whole: Callable[[Bytes, int], int]) -> ByteSink:
        """Create or overwrite a file; a FIFO waits for its reader. A terminal is refused."""
        try:
            kind = await asyncio.to_thread(lambda: Path(path).stat().st_mode)
        except FileNotFoundError:
            kind = stat.S_IFREG
        except OSError as problem:
            raise UsageError(f"cannot write {path}: {problem.strerror}") from problem
        if stat.S_ISFIFO(kind):
            return cls(await _open_fifo(path), path, regular=False, whole=whole)
        return cls.open_regular(path, whole)

    @classmethod
    def open_regular(cls, path: str, whole: Callable[[Bytes, int], int]) -> ByteSink:
        """Create or overwrite a file; a terminal is refused. Root's own files are for root alone, others by umask."""
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOCTTY, _mode())
        except OSError as problem:
            raise UsageError(f"cannot write {path}: {problem.strerror}") from problem
        if os.isatty(fd):
            os.close(fd)
            raise UsageError(f"{path} is a terminal: a capture would only confuse it")
        return cls(fd, path, regular=stat.S_ISREG(os.fstat(fd).st_mode), whole=whole)

    @classmethod
    def on_descriptor(cls, fd: int, name: str, whole: Callable[[Bytes, int], int] | None = None) -> ByteSink:
        """Write to an open descriptor (stdout), which stays its owner's."""
        if stat.S_ISREG(os.fstat(fd).st_mode):
            return cls(os.dup(fd), name, regular=whole is not None, whole=whole)
        try:
            # An opening of our own, so that not to block is not imposed on those who share the pipe.
            own = os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        except OSError:
            own = os.dup(fd)
        return cls(own, name, regular=False, whole=whole)

    @property
    def waiting_bytes(self) -> int:
        """How many bytes the reader has not taken yet."""
        return len(self._pending)

    def write(self, data: Bytes) -> None:
        """Take whole records; `ReaderLeft` if nobody reads, `QmonError` if the disk is full."""
        if self._regular:
            self._write_file(data)
        else:
            self._pending += data
            self.push()

    def push(self) -> None:
        """Hand the reader what it takes now; `ReaderLeft` if nobody reads, also while there is nothing to hand."""
        if not self._pending and self._left_by_reader():
            raise ReaderLeft
        while self._pending:
            try:
                count = self._give(bytes(self._pending[: 1 << 20]))
            except BlockingIOError:
                return
            except (BrokenPipeError, ConnectionResetError):
                self._pending.clear()
                raise ReaderLeft from None
            except OSError as problem:
                self._pending.clear()
                raise QmonError(f"cannot write {self.name}: {problem.strerror}") from problem
            self.size += count
            del self._pending[:count]

    def _give(self, data: bytes) -> int:
        # A socket has one mode for all who hold it, so not to block is asked for with each call.
        if self._socket is not None:
            return self._socket.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        return os.write(self._fd, data)

    def _left_by_reader(self) -> bool:
        # A pipe says POLLERR to its writer when the last reader has closed it (man 2 poll).
        return not self._regular and any(seen & select.POLLERR for _, seen in self._watch.poll(0))

    async def empty(self, timeout_s: float | None) -> bool:
        """Wait until the reader has taken everything; say whether it did within the time (None: without end)."""
        loop = asyncio.get_running_loop()
        deadline = None if timeout_s is None else loop.time() + timeout_s
        while True:
            self.push()
            if not self._pending:
                return True
            left_s = None if deadline is None else deadline - loop.time()
            if left_s is not None and left_s <= 0:
                return False
            await self._ready(left_s)

    async def _ready(self, timeout_s: float | None) -> None:
        """Wait until the reader takes more, or has left, or the time is over."""
        ready = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_writer(self._fd, ready.set)
        try:
            async with asyncio.timeout(timeout_s):
                await ready.wait()
        except TimeoutError:
            return
        finally:
            loop.remove_writer(self._fd)

    def close(self) -> None:
        """Close the descriptor."""
        if self._socket is not None:
            self._socket.close()
        os.close(self._fd)

    def _write_file(self, data: Bytes) -> None:
        done = 0
        try:
            while done < len(data):
                done += os.write(self._fd, memoryview(data)[done:])
        except OSError as problem:
            assert self._whole is not None
            self.size += self._whole(data, done)
            # What was in the file before (dump -w - >> FILE) stays.
            os.ftruncate(self._fd, self._start + self.size)
            os.lseek(self._fd, self._start + self.size, os.SEEK_SET)
            why = "the disk is full" if problem.errno in (errno.ENOSPC, errno.EDQUOT) else problem.strerror
            raise QmonError(
                f"cannot write {self.name}: {why}",
                hint="The file is complete up to here; the VM was not touched.",
            ) from problem
        self.size += done


class Untaken:
    """The batches of packets given to a sink that its reader has not taken yet.

    `whole` of a batch counts the packets that lie wholly in its first so many bytes.
    """

    def __init__(self, sink: ByteSink) -> None:
        self._sink = sink
        self._batches: deque[tuple[int, int, int, Callable[[int], int]]] = deque()

    def add(self, start: int, stop: int, packets: int, whole: Callable[[int], int]) -> None:
        """Note a batch that lies from `start` to `stop` in all that is given to the sink."""
        while self._batches and self._batches[0][1] <= self._sink.size:
            self._batches.popleft()
        if stop > self._sink.size:
            self._batches.append((start, stop, packets, whole))

    def settle(self) -> int:
        """Return how many packets the reader will never have, if it takes nothing more; then forget them."""
        taken = self._sink.size
        lost = sum(
            packets - (whole(taken - start) if taken > start else 0)
            for start, stop, packets, whole in self._batches
            if stop > taken
        )
        self._batches.clear()
        return lost


def _mode() -> int:
    """Return what a new file may be: packets hold passwords, and root sees those of everybody's VMs.

    Under sudo it is the user who asks, and who would not be able to read the file.
    """
    return 0o600 if os.geteuid() == 0 and os.environ.get("SUDO_UID", "0") == "0" else 0o666


def _position(fd: int) -> int:
    """Return where the next byte written to a regular file goes."""
    appending = fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_APPEND
    return os.lseek(fd, 0, os.SEEK_END if appending else os.SEEK_CUR)


async def _open_fifo(path: str) -> int:
    while True:
        try:
            return os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as problem:
            if problem.errno != errno.ENXIO:
                raise UsageError(f"cannot write {path}: {problem.strerror}") from problem
        await asyncio.sleep(_FIFO_RETRY_S)
