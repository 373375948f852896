"""Steps of the host's wall clock: it was set, or the host was suspended.

Owns the comparison of the two clocks of the host. Must never wait.
"""

from __future__ import annotations

import time

_STEP_NS = 2_000_000


def difference_ns() -> int:
    """Return wall clock - monotonic clock; it changes only if the host is set or was suspended."""
    before = time.monotonic_ns()
    wall = time.time_ns()
    return wall - (before + time.monotonic_ns()) // 2


class HostClock:
    """Remembers how the host's clocks stood."""

    def __init__(self) -> None:
        self._difference = difference_ns()

    def __repr__(self) -> str:
        return f"<HostClock {self._difference}>"

    def step_ns(self) -> int:
        """Return by how much the wall clock was moved since the last call; 0 where it was not."""
        # Looked at again: this process may have been put aside between the two readings.
        for _ in range(2):
            now = difference_ns()
            step = now - self._difference
            if abs(step) < _STEP_NS:
                return 0
        self._difference = now
        return step
