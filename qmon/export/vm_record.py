"""One VM recorded from its taps to the output: what run, demo, wireshark and extcap have in common.

Owns the order: taps first, then the output, then the VM is let go if it waits for that. Must never decide where
the output goes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from qmon.capture.describe import names, tappable
from qmon.capture.joining import follow_network
from qmon.capture.life import until_over
from qmon.capture.vm import VmCapture
from qmon.errors import QmonError, Refused
from qmon.export.capture_file import FileOptions, Output
from qmon.export.record import Filter, Source, Stop, Totals, record
from qmon.network.inspect import inspect
from qmon.packets.batch import DEFAULT_SNAPLEN, Direction, FrameBatch

if TYPE_CHECKING:
    from qmon.monitor.discovery import Vm
    from qmon.monitor.session import Session
    from qmon.network.model import Network
    from qmon.packets.batch import Mask, Note

OpenOutput = Callable[[FileOptions], Awaitable[Output]]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be recorded; no `netdevs` are all that can be captured, those that come later too."""

    netdevs: tuple[str, ...] = ()
    filter: Filter | None = None
    stop: Stop = field(default_factory=Stop)
    snaplen: int = DEFAULT_SNAPLEN


@dataclass(frozen=True, slots=True)
class Directed:
    """A filter that keeps one direction of what another one (if any) keeps."""

    direction: Direction
    inner: Filter | None = None

    @property
    def expression(self) -> str:
        """What is written of it into the file."""
        return str(getattr(self.inner, "expression", ""))

    def mask(self, batch: FrameBatch, link_type: int) -> Mask:
        """Return which frames of a batch are kept."""
        kept: Mask = batch.direction == self.direction
        return kept if self.inner is None else kept & self.inner.mask(batch, link_type)


async def record_vm(
    session: Session,
    vm: Vm | None,
    wanted: Wanted,
    open_output: OpenOutput,
    *,
    let_go: Callable[[], Awaitable[None]] | None = None,
    say: Callable[[str], None],
) -> Totals:
    """Record until it is enough, the VM is over, nobody reads, or we are cancelled, which is an orderly end.

    `let_go` is awaited when taps and output are there. `say` is told what people should know meanwhile. `Refused`
    if a netdev that was named cannot be captured.
    """
    async with VmCapture(session, vm, snaplen=wanted.snaplen, events=True) as capture:
        network = await inspect(session)
        await _tap(capture, network, wanted.netdevs, say)
        output = await open_output(FileOptions(names=names(network), snaplen=wanted.snaplen))
        try:
            if let_go is not None:
                await let_go()
        except QmonError:
            await output.close((), ())
            raise
        ending = until_over(capture, session, vm.pid if vm else None)
        async with asyncio.TaskGroup() as tasks:
            joining = tasks.create_task(
                follow_network(capture, join=not wanted.netdevs), name="follow the VM's network"
            )
            totals = await record(
                [Source(capture, over=ending)],
                output,
                filter=wanted.filter,
                stop=wanted.stop,
                on_note=lambda note: _told(note, say),
            )
            joining.cancel()
    return totals


async def _tap(
    capture: VmCapture, network: Network, named: tuple[str, ...], say: Callable[[str], None]
) -> None:
    for netdev in named or tappable(network):
        try:
            await capture.tap(netdev)
        except Refused as problem:
            if named:
                raise
            say(f"{netdev} is not captured: {problem.message}")


def _told(note: Note, say: Callable[[str], None]) -> None:
    """Say aloud what concerns how complete the recording is; the rest is in the file only."""
    if note.kind in ("gap", "monitor"):
        say(note.text)
