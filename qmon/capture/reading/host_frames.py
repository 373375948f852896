"""What the host's interfaces saw of a VM, put between what came through QEMU.

Owns the frames that wait for each other. Must never wait itself: reading a host interface returns what is there.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from qmon.merge import Merger
from qmon.packets.batch import FrameBatch


class HostInterface(Protocol):
    """An interface of the host that is captured on."""

    def read(self, interface: int) -> FrameBatch | None:
        """Return the frames since the last reading, numbered `interface`; never waits."""


@dataclass(slots=True)
class HostChannel:
    """A host interface that is read, and what came from it."""

    source: HostInterface
    interface: int
    packets: int = 0
    bytes: int = 0


class HostFrames:
    """Joins the frames of host interfaces with those of QEMU's filters; without such interfaces it passes on."""

    def __init__(self) -> None:
        self._merger: Merger | None = None
        self._channels: list[HostChannel] = []

    def __repr__(self) -> str:
        return f"<HostFrames in use={self.in_use}>"

    @property
    def in_use(self) -> bool:
        """Whether there ever was such an interface."""
        return self._merger is not None

    def add(self, channel: HostChannel) -> None:
        """Read this interface from now on."""
        self._merger = self._merger or Merger(2)
        self._channels.append(channel)

    def remove(self, channel: HostChannel) -> None:
        """Read what an interface still has, then forget it."""
        self._fetch(channel)
        self._channels.remove(channel)

    def join(
        self, batches: Sequence[FrameBatch], *, complete_until: int, last: bool = False
    ) -> list[FrameBatch]:
        """Take what came through QEMU, read the interfaces, return what is in order; with `last`, everything."""
        if self._merger is None:
            return list(batches)
        for batch in batches:
            self._merger.add(0, batch, (), complete_until=complete_until)
        self._merger.add(0, None, (), complete_until=complete_until)
        for channel in self._channels:
            self._fetch(channel)
        self._merger.add(1, None, (), complete_until=complete_until)
        merged = self._merger.take(None if last else time.time_ns())
        return [item for item in merged if isinstance(item, FrameBatch)]

    def _fetch(self, channel: HostChannel) -> None:
        seen = channel.source.read(channel.interface)
        if seen is not None and self._merger is not None:
            channel.packets += len(seen)
            channel.bytes += int(seen.length.sum())
            self._merger.add(1, seen, (), complete_until=0)
