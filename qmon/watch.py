"""One VM watched for a front end: a followed VM, the store its packets go to, and the time line of what happened.

Owns what is remembered and the frozen snapshots that views draw from. Must never draw or print: how the VM is
followed is `capture.following`'s.
"""

from __future__ import annotations

import time
from collections import deque
from types import TracebackType
from typing import Self

from qmon.capture.following import FollowedVm
from qmon.capture.tapping import NOTHING, Netdevs
from qmon.capture.vm import DEFAULTS, CaptureOptions
from qmon.errors import QmonError
from qmon.monitor.address import Target
from qmon.monitor.protocol import Monitor
from qmon.packets.batch import FrameBatch
from qmon.packets.store.packet_store import PacketStore
from qmon.snapshot import Snapshot, TimelineEntry

TIMELINE_LIMIT = 10_000


class Watch:
    """A VM watched from `async with` to its end.

    Entering attaches (raising `CannotAttach`); after that a lost monitor is tried again with growing pauses until the
    block ends, and `snapshot().monitor` says how it stands.
    """

    def __init__(
        self,
        target: Target | None,
        *,
        netdevs: tuple[str, ...] | None = None,
        capture: bool = True,
        options: CaptureOptions = DEFAULTS,
    ) -> None:
        self.store = PacketStore()
        self._vm = FollowedVm(target, options, returns=True, usernet=True)
        self._wanted = Netdevs(None if netdevs is None else frozenset(netdevs)) if capture else NOTHING
        self._timeline: deque[TimelineEntry] = deque(maxlen=TIMELINE_LIMIT)
        self._told: tuple[TimelineEntry, ...] = ()
        self._next_seq = 0
        self._not_kept = 0
        self._complaint = ""

    def __repr__(self) -> str:
        return f"<Watch of {self._vm!r}>"

    async def __aenter__(self) -> Self:
        await self._vm.__aenter__()
        self._vm.begin(self._wanted)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._vm.__aexit__(kind, error, trace)
        finally:
            self.poll()

    @property
    def session(self) -> Monitor | None:
        """The monitor, while there is one; changes to the VM go through it."""
        return self._vm.session

    def snapshot(self) -> Snapshot:
        """Return the state of things now; cheap enough for every frame drawn."""
        vm = self._vm
        if len(self._told) != len(self._timeline) or (
            self._told and self._told[-1] is not self._timeline[-1]
        ):
            self._told = tuple(self._timeline)
        taps = vm.taps
        return Snapshot(
            version=vm.version,
            name=vm.known.name,
            pid=vm.known.pid,
            address=vm.known.address,
            qemu_version=vm.known.qemu_version,
            monitor=vm.monitor,
            monitor_note=vm.monitor_note,
            run_state=vm.known.run_state,
            network=vm.known.network,
            usernet=vm.known.usernet,
            taps=taps,
            not_tapped=vm.not_tapped,
            timeline=self._told,
            packets=self.store.packets,
            bytes=self.store.bytes,
            dropped=sum(tap.dropped for tap in vm.totals) + self.store.evicted + self._not_kept,
        )

    def poll(self) -> int:
        """Move what was captured since the last call into the store; return how many frames that were."""
        polled = self._vm.poll()
        for note in polled.notes:
            self.log(note.kind, note.text, time_ns=note.time_ns)
        return sum(self._keep(batch) for batch in polled.batches)

    async def tap(self, netdev: str) -> None:
        """Start to capture on a netdev; `Refused` says why not."""
        await self._vm.tap(netdev)

    async def untap(self, netdev: str) -> None:
        """End the capture on a netdev, keeping what was captured."""
        await self._vm.untap(netdev)

    async def first_taps(self) -> None:
        """Wait until every netdev found at the start is captured, or known not to be capturable."""
        await self._vm.tapped_once()

    def refresh(self) -> None:
        """Have the network asked for now rather than at the next turn."""
        self._vm.refresh()

    def note_link(self, nic: str, up: bool) -> None:
        """Remember a link that was set: QEMU cannot be asked for it."""
        self._vm.note_link(nic, up)

    def log(self, kind: str, text: str, *, time_ns: int | None = None) -> None:
        """Add to the time line."""
        moment = time.time_ns() if time_ns is None else time_ns
        self._timeline.append(TimelineEntry(self._next_seq, moment, kind, text))
        self._next_seq += 1

    def _keep(self, batch: FrameBatch) -> int:
        """Put frames into the store; what it cannot take (no memory, say) is told once and counted as dropped."""
        try:
            for interface in self._vm.interfaces[len(self.store.interfaces) :]:
                self.store.add_interface(interface)
            self.store.append(batch)
        except QmonError as problem:
            self._not_kept += len(batch)
            if problem.message != self._complaint:
                self._complaint = problem.message
                self.log("monitor", f"store: {problem.message}")
            return 0
        return len(batch)
