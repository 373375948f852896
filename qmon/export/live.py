"""VMs attached to and tapped for a recording, by what a person asked for.

Owns the finding of the VMs, the choice of netdevs in each, and the names under which they appear in one file.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from qmon.capture import describe
from qmon.capture.joining import follow_network
from qmon.capture.life import End, until_over
from qmon.capture.vm import LIMIT_BYTES, VmCapture
from qmon.errors import Refused, UsageError
from qmon.export.record import Source
from qmon.monitor.address import Target
from qmon.monitor.commands import query_name
from qmon.monitor.discovery import Resolved, find, seen
from qmon.monitor.session import Session
from qmon.network.inspect import inspect
from qmon.network.model import Network
from qmon.packets.batch import DEFAULT_SNAPLEN


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to capture. `netdevs` are ids, or `VM/ID` where several VMs are; with `all` every netdev, also later ones.

    Neither means: the only netdev there is.
    """

    targets: Sequence[Target]
    netdevs: Sequence[str] = ()
    all: bool = False
    snaplen: int = DEFAULT_SNAPLEN
    limit_bytes: int = LIMIT_BYTES
    raw_time: bool = False
    events: bool = True
    sweep_foreign: bool = False
    remote_mirror: bool = False
    sink_folder: Path | None = None


@dataclass(slots=True)
class _Attached:
    given: str
    resolved: Resolved
    session: Session
    name: str | None
    network: Network
    netdevs: list[str] = field(default_factory=list)

    @property
    def pid(self) -> int | None:
        return self.resolved.vm.pid if self.resolved.vm else self.session.peer_pid


@dataclass(frozen=True, slots=True)
class Live:
    """Open captures, ready for `record`; `names` are what addresses stand for, `comment` says what was captured."""

    sources: tuple[Source, ...]
    names: dict[str, str]
    comment: str
    tapped: tuple[str, ...]


@asynccontextmanager
async def open_live(wanted: Wanted, talk: Callable[[str], None]) -> AsyncIterator[Live]:
    """Attach, tap and hand out; at the end every tap is removed. `talk` hears what cannot be tapped with `all`."""
    async with AsyncExitStack() as stack:
        vms = [await _attach(stack, target) for target in wanted.targets or (None,)]
        _choose(vms, wanted)
        labels = _labels(vms)
        sources, tapped = [], []
        for vm, label in zip(vms, labels, strict=True):
            capture = VmCapture(
                vm.session,
                vm.resolved.vm,
                snaplen=wanted.snaplen,
                limit_bytes=wanted.limit_bytes,
                raw_time=wanted.raw_time,
                events=wanted.events,
                sweep_foreign=wanted.sweep_foreign,
                remote_mirror=wanted.remote_mirror,
                sink_folder=wanted.sink_folder,
            )
            await stack.enter_async_context(capture)
            tapped += [label + netdev for netdev in await _tap(capture, vm, wanted, talk)]
            sources.append(Source(capture, label, _over(capture, vm, join=wanted.all)))
        try:
            yield Live(tuple(sources), await _names(vms), _comment(vms), tuple(tapped))
        finally:
            for source in sources:
                if source.over is not None:
                    source.over.close()


async def _names(vms: Sequence[_Attached]) -> dict[str, str]:
    stacks = []
    for vm in vms:
        process = vm.resolved.vm or await seen(vm.pid)
        networks = process.networks if process else ()
        stacks += [(netdev, networks) for netdev in vm.network.netdevs if netdev.id in vm.netdevs]
    return describe.names(stacks)


async def _attach(stack: AsyncExitStack, target: Target | None) -> _Attached:
    resolved = await find(target)
    session = await stack.enter_async_context(await Session.attach(resolved.address))
    name = resolved.vm.name if resolved.vm else await query_name(session)
    return _Attached(str(target or resolved.address), resolved, session, name, await inspect(session))


def _choose(vms: Sequence[_Attached], wanted: Wanted) -> None:
    """Fill in which netdevs of which VM are meant."""
    for vm in vms:
        present = describe.tappable(vm.network)
        if wanted.all:
            vm.netdevs += present
        elif not wanted.netdevs:
            if len(present) != 1:
                raise UsageError(
                    f"which netdev? This VM has {len(present)}: {', '.join(present) or 'none'}",
                    hint="Name it with --netdev ID (as often as you like), or take them --all.",
                )
            vm.netdevs += present
    for spec in wanted.netdevs:
        _assign(spec, vms)
    idle = [vm for vm in vms if not vm.netdevs and not wanted.all]
    if idle:
        raise UsageError(f"no netdev is named for the VM {idle[0].name or idle[0].given}")


def _assign(spec: str, vms: Sequence[_Attached]) -> None:
    for vm in vms:
        for name in (vm.name, vm.given, f"pid:{vm.pid}"):
            if name and spec.startswith(f"{name}/"):
                _add(vm, spec[len(name) + 1 :])
                return
    for vm in vms:
        _add(vm, spec)


def _add(vm: _Attached, netdev: str) -> None:
    if netdev not in vm.netdevs:
        vm.netdevs.append(netdev)


def _labels(vms: Sequence[_Attached]) -> list[str]:
    """Return what stands before each VM's netdevs: nothing for a lone VM, else its name, or its pid if in doubt."""
    if len(vms) == 1:
        return [""]
    names = Counter(vm.name for vm in vms)
    return [f"{vm.name if vm.name and names[vm.name] == 1 else f'pid:{vm.pid}'}/" for vm in vms]


async def _tap(capture: VmCapture, vm: _Attached, wanted: Wanted, talk: Callable[[str], None]) -> list[str]:
    tapped = []
    for netdev in vm.netdevs:
        try:
            await capture.tap(netdev)
        except Refused as problem:
            if not wanted.all:
                raise
            talk(str(problem))
        else:
            tapped.append(netdev)
    if not tapped and vm.netdevs:
        raise Refused("none of the VM's netdevs can be tapped")
    return tapped


async def _over(capture: VmCapture, vm: _Attached, *, join: bool) -> End:
    """Wait for the VM's end, following its network meanwhile."""
    async with asyncio.TaskGroup() as tasks:
        follow = tasks.create_task(follow_network(capture, join=join), name="follow the network")
        try:
            return await until_over(capture, vm.session, vm.pid)
        finally:
            follow.cancel()


def _comment(vms: Sequence[_Attached]) -> str:
    said = [f"{vm.name or f'pid {vm.pid}'} (QEMU {vm.session.version}, {vm.session.address})" for vm in vms]
    return "Captured by qmon from " + ", ".join(said)
