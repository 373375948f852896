"""Waking up when QEMU writes, and only when somebody waits for it.

Owns the inotify descriptor and its place in the event loop. While nobody waits, writes cost us nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress

from qmon.capture.reading.kernel import WriteWatch


class Waking:
    """Waits for writes to memfds; `eager` is called at each write for as long as it returns True."""

    def __init__(self, eager: Callable[[], bool]) -> None:
        self._eager = eager
        self._writes = WriteWatch()
        self._listening = False
        self._stirred = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Waking {self._writes!r} listening={self._listening}>"

    def add(self, fd: int) -> None:
        """Watch a file."""
        self._writes.add(fd)
        self.listen(True)

    def remove(self, fd: int) -> None:
        """Watch it no longer."""
        self._writes.remove(fd)

    def forget(self) -> None:
        """All that was written so far has been seen."""
        self._stirred.clear()
        self._writes.clear()

    def stir(self) -> None:
        """Wake up whoever waits."""
        self._stirred.set()

    async def wait(self, timeout_s: float) -> None:
        """Wait for a write since `forget`, at most so long."""
        self.listen(True)
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._stirred.wait()

    def listen(self, wanted: bool) -> None:
        """Have writes wake the event loop, or not."""
        if wanted == self._listening:
            return
        self._listening = wanted
        loop = asyncio.get_running_loop()
        if wanted:
            loop.add_reader(self._writes.fd, self._written)
        else:
            loop.remove_reader(self._writes.fd)

    def close(self) -> None:
        """Watch nothing any more."""
        self.listen(False)
        self._writes.close()

    def _written(self) -> None:
        self._writes.clear()
        if not self._eager():
            self.listen(False)
        self._stirred.set()


async def to_the_end(work: Coroutine[None, None, None]) -> None:
    """Await something although we are cancelled meanwhile; the cancellation goes on afterwards."""
    task = asyncio.create_task(work, name="end of the capture")
    cancelled = False
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            cancelled = True
    task.result()
    if cancelled:
        raise asyncio.CancelledError
