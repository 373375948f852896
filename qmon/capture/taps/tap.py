"""One tap on one netdev, from its opening to its end.

Its states, and what sets them:

  open       `open` found a way to the frames: `way` is set, `reason` is None
  renewing   the VM's capture makes it again (`renew`) or has it go on in new files (`change_files`)
  broken     `renew` found no way: `reason` says why, `lost_since` when the frames ended; it is tried again when the
             monitor is back
  closed     `close` was called: nothing is held, the counts stay

Owns the counts of the ways it had, and the words for what is missing. Must never be worked on by two at once: the
VM's capture has one lock for that.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from qmon.capture.reading.channel import Full
from qmon.capture.reading.headers import HeaderFinder
from qmon.capture.reading.reader import Reader
from qmon.capture.taps import filters
from qmon.capture.taps.filters import TapContext
from qmon.capture.taps.ways import Way, open_way
from qmon.errors import QmonError, Refused
from qmon.network.model import Network
from qmon.text import clock


@dataclass(frozen=True, slots=True)
class TapState:
    """One tap as it stands; `interface` indexes `VmCapture.interfaces`, `reason` says why it is broken (None: live).

    `dropped` counts frames known to be lost, `gaps` stretches of which nobody knows how many were.
    """

    netdev: str
    interface: int
    packets: int = 0
    bytes: int = 0
    dropped: int = 0
    gaps: int = 0
    reason: str | None = None


class Loss(StrEnum):
    """Why QEMU writes a tap's frames no longer."""

    FULL = "more packets were waiting than the limit allows (--limit): qmon was stopped or too slow"
    MEMORY = "too little memory was free for the packets that waited: qmon was stopped or too slow"
    LENGTH = "QEMU may write no longer files (ulimit -f), and could not be given new ones in time"
    SEALED = "somebody else sealed the memory that QEMU writes them to"
    STUCK = "QEMU could not write its packets"
    TAKEN = "its filters were removed by another client of the monitor, or its netdev was replaced"
    BROKEN = "it could not be captured"


_FULL = {Full.LIMIT: Loss.FULL, Full.MEMORY: Loss.MEMORY, Full.LENGTH: Loss.LENGTH}


class Tap:
    """A tap; `interface` is its number among the VM's, `mirrored` has it go through a mirror over TCP."""

    def __init__(self, netdev: str, interface: int, reader: Reader, *, mirrored: bool = False) -> None:
        self.netdev = netdev
        self.interface = interface
        self.way = Way()
        self.reason: str | None = None
        self.renewing = False
        self.keeps_files = False
        self._reader = reader
        self._mirrored = mirrored
        self._lost_since: int | None = None
        self._ending: list[Way] = []
        self._packets = self._bytes = self._dropped = self._gaps = 0

    def __repr__(self) -> str:
        return f"<Tap {self.netdev} {'broken' if self.reason else 'renewing' if self.renewing else 'open'}>"

    def state(self) -> TapState:
        """Return how it stands."""
        ways = (self.way, *self._ending)
        return TapState(
            self.netdev,
            self.interface,
            self._packets + sum(way.packets for way in ways),
            self._bytes + sum(way.bytes for way in ways),
            self._dropped + sum(way.dropped for way in ways),
            self._gaps,
            self.reason,
        )

    @property
    def loss(self) -> Loss | None:
        """Why QEMU writes no longer, as far as its files tell; None while it does."""
        channels = self.way.channels
        if any(channel.follower.stuck for channel in channels):
            return Loss.STUCK
        if not any(channel.follower.sealed for channel in channels):
            return None
        if any(channel.guard is None or not channel.follower.is_memory for channel in channels):
            return Loss.FULL
        reasons = [channel.guard.full for channel in channels if channel.guard is not None]
        return next((_FULL[reason] for reason in reasons if reason is not None), Loss.SEALED)

    async def open(self, context: TapContext, network: Network | None, headers: HeaderFinder | None) -> None:
        """Begin to capture; `Refused` says why not. `headers` finds virtio-net headers where there may be some."""
        way = await open_way(context, self.netdev, self.interface, network, mirrored=self._mirrored)
        for channel in way.channels:
            channel.headers = headers
        try:
            self._reader.add(way.channels)
        except OSError as problem:
            await way.remove(context)
            way.close()
            raise Refused(
                f"cannot watch the memory that QEMU writes {self.netdev} to: {problem.strerror}",
                hint="The kernel has a limit on what a user may watch: sysctl fs.inotify.max_user_watches.",
            ) from problem
        self.way = way
        if way.host_channel is not None:
            self._reader.add_host(way.host_channel)

    async def renew(
        self,
        context: TapContext,
        network: Network | None,
        headers: HeaderFinder | None,
        loss: Loss,
        on_open: Callable[[], None],
    ) -> str:
        """Capture again after QEMU stopped writing; return what is to be said of the frames that are missing.

        The new way is open, or known not to be had, before what the old one still holds is read: that may be much.
        `on_open` is called in between.
        """
        old, began = self.way, time.time_ns()
        self._ending.append(old)
        self.way, self.reason, self.keeps_files = Way(), None, False
        for channel in old.channels:
            # What it holds must not count against the limit of the new one.
            channel.unguard()
        until: int | None = None
        try:
            await self.open(context, network, headers)
            until = time.time_ns()
        except QmonError as problem:
            self.reason = problem.message
        on_open()
        _, last = await self._end(context, old)
        since = self._lost_since or last or began
        self._lost_since = None if until else since
        self._gaps += 1
        missing = clock(max(since, until)) if until else "the end"
        return f"{self.netdev}: packets are missing from {clock(since)} to {missing}: {loss}"

    async def change_files(self, context: TapContext) -> None:
        """Have QEMU go on in new files without losing a packet: new filters first, then the old ones are removed.

        What both wrote is found by comparing and counts once. Where there can be no new filters the old ones stay.
        """
        old = self.way
        self._reader.begin_change(old.channels)
        try:
            new = await filters.add_filters(context, self.netdev, self.interface)
        except BaseException:
            self._reader.cancel_change()
            raise
        for before, channel in zip(old.channels, new, strict=True):
            channel.headers = before.headers
        for channel in old.channels:
            await filters.remove_filter(context.session, channel)
        self._reader.end_change(list(zip(old.channels, new, strict=True)))
        self.way = Way(new)
        self._keep_counts(old)

    async def close(self, context: TapContext) -> bool:
        """End the capture; say whether QEMU's filters could be removed. It writes no more in either case."""
        way, self.way = self.way, Way()
        self._ending.append(way)
        removed, _ = await self._end(context, way)
        return removed

    async def _end(self, context: TapContext, way: Way) -> tuple[bool, int | None]:
        """Remove a way, which is among `_ending`, and read it to its end; return also when its last frame was."""
        removed = await way.remove(context)
        last = await self._reader.retire(way.channels)
        if way.host_channel is not None:
            self._reader.remove_host(way.host_channel)
        self._ending.remove(way)
        self._keep_counts(way)
        return removed, last

    def _keep_counts(self, way: Way) -> None:
        self._packets += way.packets
        self._bytes += way.bytes
        self._dropped += way.dropped
        way.close()
