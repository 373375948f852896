"""The end of a process, waited for without asking it anything.

Owns the judgement whether a pid is still the process it was. Must never signal it.
"""

from __future__ import annotations

import asyncio
import os

from qmon.monitor.processes import start_ticks


class KnownProcess:
    """A process told from all later ones with its pid; where nothing runs under that pid, it has ended already."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._start = start_ticks(pid)

    def __repr__(self) -> str:
        return f"<KnownProcess {self.pid} {'runs' if self.runs else 'has ended'}>"

    @property
    def runs(self) -> bool:
        """Whether it has not ended."""
        return self._start is not None and start_ticks(self.pid) == self._start

    async def ends_within(self, timeout_s: float) -> bool:
        """Wait for its end; say whether it came in time."""
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return True
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        try:
            if not self.runs:
                return True
            loop.add_reader(handle, ended.set)
            async with asyncio.timeout(timeout_s):
                await ended.wait()
        except TimeoutError:
            return False
        finally:
            loop.remove_reader(handle)
            os.close(handle)
        return True
