"""What the host's interfaces saw of a VM, put between what came through QEMU.

Owns the frames that wait for each other. Must never wait itself: reading a host interface returns what is there.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from qmon.capture.taps.state import OpenTap
from qmon.merge import Merger
from qmon.packets.batch import FrameBatch


class HostFrames:
    """Joins the frames of taps on host interfaces with those of QEMU's filters; without such taps it passes on."""

    def __init__(self) -> None:
        self._merger: Merger | None = None

    def __repr__(self) -> str:
        return f"<HostFrames in use={self.in_use}>"

    @property
    def in_use(self) -> bool:
        """Whether there ever was such a tap."""
        return self._merger is not None

    def begin(self) -> None:
        """A tap on a host interface is there now."""
        self._merger = self._merger or Merger(2)

    def join(
        self, batch: FrameBatch | None, taps: Iterable[OpenTap], *, complete_until: int, last: bool = False
    ) -> list[FrameBatch]:
        """Take what came through QEMU, read the taps, return what is in order; with `last`, everything."""
        if self._merger is None:
            return [] if batch is None else [batch]
        self._merger.add(0, batch, (), complete_until=complete_until)
        for tap in taps:
            self.fetch(tap)
        self._merger.add(1, None, (), complete_until=complete_until)
        merged = self._merger.take(None if last else time.time_ns())
        return [item for item in merged if isinstance(item, FrameBatch)]

    def fetch(self, tap: OpenTap) -> None:
        """Read what a tap's interface has, and count it."""
        seen = tap.host.read(tap.interface) if tap.host else None
        if seen is not None and self._merger is not None:
            tap.packets += len(seen)
            tap.bytes += int(seen.length.sum())
            self._merger.add(1, seen, (), complete_until=0)
