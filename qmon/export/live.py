"""VMs attached to and tapped for a recording, by what a person asked for.

Owns the finding of the VMs, the choice of netdevs in each, and the names under which they appear in one file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from qmon.capture import describe
from qmon.capture.following import FollowedVm
from qmon.capture.tapping import Netdevs
from qmon.capture.vm import DEFAULTS, CaptureOptions
from qmon.errors import Refused, UsageError
from qmon.export.record import Source
from qmon.monitor.address import Target
from qmon.monitor.discovery import seen
from qmon.network.inspect import inspect
from qmon.network.model import Network


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to capture. `netdevs` are ids, or `VM/ID` where several VMs are; with `all` every netdev, also later ones.

    Neither means: the only netdev there is.
    """

    targets: Sequence[Target]
    netdevs: Sequence[str] = ()
    all: bool = False
    options: CaptureOptions = DEFAULTS


@dataclass(slots=True)
class _Attached:
    given: str
    vm: FollowedVm
    network: Network
    netdevs: list[str] = field(default_factory=list)

    @property
    def name(self) -> str | None:
        return self.vm.known.name

    @property
    def pid(self) -> int | None:
        return self.vm.known.pid


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
        vms = [await _attach(stack, target, wanted.options) for target in wanted.targets or (None,)]
        _choose(vms, wanted)
        sources, tapped = [], []
        for one, label in zip(vms, _labels(vms), strict=True):
            tapped += [label + netdev for netdev in await _tap(one, wanted, talk)]
            one.vm.begin(Netdevs(None if wanted.all else frozenset(one.netdevs)))
            sources.append(Source(one.vm, label))
        yield Live(tuple(sources), await _names(vms), _comment(vms), tuple(tapped))


async def _names(vms: Sequence[_Attached]) -> dict[str, str]:
    stacks = []
    for one in vms:
        process = one.vm.known.vm or await seen(one.pid)
        networks = process.networks if process else ()
        stacks += [(netdev, networks) for netdev in one.network.netdevs if netdev.id in one.netdevs]
    return describe.names(stacks)


async def _attach(stack: AsyncExitStack, target: Target | None, options: CaptureOptions) -> _Attached:
    vm = await stack.enter_async_context(FollowedVm(target, options))
    session = vm.session
    if session is None:
        raise Refused(f"the monitor disconnected right after attaching: {vm.monitor_note}")
    return _Attached(str(target or session.address), vm, await inspect(session))


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


async def _tap(one: _Attached, wanted: Wanted, talk: Callable[[str], None]) -> list[str]:
    tapped = []
    for netdev in one.netdevs:
        try:
            await one.vm.tap(netdev)
        except Refused as problem:
            if not wanted.all:
                raise
            talk(str(problem))
        else:
            tapped.append(netdev)
    if not tapped and one.netdevs:
        raise Refused("none of the VM's netdevs can be tapped")
    return tapped


def _comment(vms: Sequence[_Attached]) -> str:
    said = [
        f"{one.name or f'pid {one.pid}'} (QEMU {one.vm.known.qemu_version}, {one.vm.known.address})"
        for one in vms
    ]
    return "Captured by qmon from " + ", ".join(said)
