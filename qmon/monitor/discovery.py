"""The QEMU processes of this host, and how each one's monitor can be reached.

Owns the finding of VMs through `/proc` alone. Must never connect to a monitor: a connect that nobody asked for
blocks the next client, and starts a VM that was waiting for its first one. Must never trust what is found: any user
may give a process a QEMU's name and any command line.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from qmon.errors import CannotAttach
from qmon.monitor import aside, commandline, processes, reach, strangers
from qmon.monitor.address import Address, Name, Pid, Target, TcpAddress, UnixAddress
from qmon.monitor.reach import MonitorSocket
from qmon.text import plain

__all__ = [
    "ADD_A_MONITOR",
    "MonitorSocket",
    "Resolved",
    "Vm",
    "find",
    "find_vm",
    "list_vms",
    "listed",
    "read_vm",
    "resolve",
    "seen",
]

ADD_A_MONITOR = "-qmp unix:/tmp/{name}.qmp,server=on,wait=off"
# What `-version` prints (system/vl.c): in every emulator, and in no wrapper.
_PROGRAM_SAYS = b"QEMU emulator version"
# More than any QEMU has: of a stranger's process only so much is looked at.
_COMMAND_LINE_BYTES, _PROGRAM_BYTES, _MONITORS = 256 << 10, 256 << 20, 16
_LIST_S, _FIND_S = 5.0, 10.0
_BEST_FIRST = ("free", "shared", "waiting", "busy")
_ADVICE = {
    "busy": "A QMP socket serves one client at a time. Give the VM a second one: ",
    "none": "Start the VM with a QMP socket, or with `qmon run -- …`: ",
}


@dataclass(frozen=True, slots=True)
class Vm:
    """A running QEMU. `start_ticks` tells it from a later process of the same pid; texts are as they came.

    `networks` are the options of the networks it was started with (`commandline.CommandLine`), `unread` the
    configuration files that may name further ones, and monitors.
    """

    pid: int
    start_ticks: int
    name: str | None
    machine: str | None
    binary: str
    uid: int
    argv: tuple[str, ...]
    monitors: tuple[MonitorSocket, ...]
    networks: tuple[Mapping[str, str], ...] = field(default=(), hash=False)
    unread: tuple[str, ...] = ()

    @property
    def monitor(self) -> MonitorSocket | None:
        """The QMP monitor to attach to: the first that is free or shared, else the best of the others."""
        usable = [one for one in self.monitors if one.protocol == "qmp" and one.state in _BEST_FIRST]
        return min(usable, key=lambda one: _BEST_FIRST.index(one.state) // 2, default=None)

    @property
    def state(self) -> str:
        """The state of that monitor, or ``none``."""
        return self.monitor.state if self.monitor else "none"

    @property
    def reason(self) -> str | None:
        """Why qmon cannot attach, or None if it can."""
        if self.state in ("free", "shared", "waiting"):
            return None
        if self.monitor:
            return _held(self.monitor)
        if useless := self._useless:
            return useless.reason
        if self.unread:
            return f"its configuration ({plain(self.unread[0])}), which may name a monitor, cannot be read from here"
        return "it has only a human monitor" if self.monitors else "it was started without a monitor socket"

    @property
    def hint(self) -> str | None:
        """What would let qmon attach, where it cannot."""
        if self.reason is None:
            return None
        if self.state == "none" and (useless := self._useless) is not None and useless.hint is not None:
            return useless.hint
        if self.state == "none" and self.unread:
            return "If it has a monitor, name the monitor's socket: --vm PATH"
        name = re.sub(r"[^\w.-]", "_", self.name or "vm")
        return _ADVICE[self.state] + ADD_A_MONITOR.format(name=name)

    @property
    def _useless(self) -> MonitorSocket | None:
        """The QMP monitor to name where none is of use: one that something would help, if there is one."""
        useless = [one for one in self.monitors if one.protocol == "qmp" and one.reason is not None]
        return min(useless, key=lambda one: one.hint is None, default=None)

    def is_running(self) -> bool:
        """Tell whether this very process still runs."""
        return processes.start_ticks(self.pid) == self.start_ticks


@dataclass(frozen=True, slots=True)
class Resolved:
    """The monitor to attach to, and the process behind it where it runs on this host and can be told."""

    address: Address
    vm: Vm | None

    @property
    def waits(self) -> bool:
        """Whether the VM has not started, and will when somebody attaches to this monitor."""
        monitors = () if self.vm is None else self.vm.monitors
        return any(one.address == self.address and one.state == "waiting" for one in monitors)


def list_vms() -> list[Vm]:
    """Return the VMs that run here, by pid.

    Left out are processes that end meanwhile, those of which the kernel shows nothing within a second, and, where
    the whole look takes longer than five, what is left of other users' processes.
    """
    read, own = partial(_read_vm, owners=processes.Owners()), os.geteuid()
    pids = sorted(_pids(), key=lambda pid: (_owner(pid) != own, pid))
    found = [vm for vm in aside.in_turn(read, pids, limit_s=_LIST_S) if vm is not None]
    return sorted(found, key=lambda vm: vm.pid)


async def listed() -> list[Vm]:
    """Return what `list_vms` does, without holding up the event loop."""
    return await aside.aside(list_vms, timeout_s=None)


def read_vm(pid: int) -> Vm | None:
    """Return the VM that runs as `pid`, or None if that is not a QEMU."""
    read = partial(_read_vm, owners=processes.Owners())
    return next(aside.in_turn(read, [pid]), None)


async def seen(pid: int | None) -> Vm | None:
    """Return what `read_vm` does, without holding up the event loop; None for no pid."""
    return None if pid is None else await aside.aside(partial(read_vm, pid), timeout_s=None)


def _read_vm(pid: int, owners: processes.Owners) -> Vm | None:
    try:
        argv = _argv(pid)
        executable = _executable(pid, argv)
        if not argv or not (commandline.is_qemu(executable, argv) or _is_renamed_qemu(pid, argv)):
            return None
        ticks, uid = processes.start_ticks(pid), _owner(pid)
    except OSError:
        return None
    if ticks is None or uid is None:
        return None
    line = commandline.parse(argv, lambda path: reach.text_of(pid, path))
    monitors = tuple(reach.look(pid, monitor, owners) for monitor in line.monitors[:_MONITORS])
    binary = commandline.binary(executable, argv)
    return Vm(
        pid, ticks, line.name, line.machine, binary, uid, argv, monitors, line.networks, unread=line.unread
    )


def find_vm(address: Address) -> Vm | None:
    """Return the VM whose monitor listens at an address, or None if it is not one of this host's."""
    for vm in list_vms():
        if any(one.address is not None and _same(one.address, address) for one in vm.monitors):
            return vm
    return None


async def find(target: Target | None) -> Resolved:
    """Return what `resolve` does, without holding up the event loop."""
    try:
        return await aside.aside(partial(resolve, target), timeout_s=_FIND_S)
    except TimeoutError:
        raise CannotAttach(
            f"looking for the VM among this host's processes took more than {_FIND_S:g} s",
            hint="Name its monitor's socket: --vm PATH",
        ) from None


def resolve(target: Target | None) -> Resolved:
    """Return the monitor that a target names; raise CannotAttach with the choice where that is not one VM."""
    if isinstance(target, UnixAddress | TcpAddress):
        return Resolved(target, find_vm(target))
    vms = list_vms()
    if target is None:
        found, what = [vm for vm in vms if vm.state != "none"] or vms, "no VM is running here"
        several, choose = "several VMs are running", "Choose one with --vm or $QMON_VM:"
    elif isinstance(target, Pid):
        found, what = [vm for vm in vms if vm.pid == target.pid], f"pid {target.pid} is not a QEMU process"
        several = choose = ""
    else:
        found = [vm for vm in vms if vm.name == target.name]
        what, several = (
            f"no VM named '{plain(target.name)}' is running here",
            f"several VMs are named '{plain(target.name)}'",
        )
        choose = "Choose one with --vm pid:N:"
    if len(found) == 1:
        return _attachable(found[0])
    if found:
        raise CannotAttach(several, hint=f"{choose}\n{_listing(found)}")
    raise CannotAttach(what, hint=_instead(target, vms))


def _instead(target: Target | None, vms: list[Vm]) -> str:
    if vms:
        return f"Running here:\n{_listing(vms)}"
    if isinstance(target, Name) and Path(target.name).is_socket():
        return f"For the socket of that name in this directory: --vm ./{plain(target.name)}"
    return "Start one with " + ADD_A_MONITOR.format(name="vm") + ", or try `qmon demo`"


def _listing(vms: list[Vm]) -> str:
    lines = (f"  pid:{vm.pid}  {plain(vm.name or '-')}  {vm.reason or vm.state}" for vm in vms)
    return "\n".join(lines)


def _attachable(vm: Vm) -> Resolved:
    monitor = vm.monitor
    if monitor is None or monitor.address is None:
        raise CannotAttach(
            f"cannot attach to pid {vm.pid} ({plain(vm.name or vm.binary)}): {vm.reason}", hint=vm.hint
        )
    return Resolved(monitor.address, vm)


def _held(monitor: MonitorSocket) -> str:
    holder = (
        f"pid {monitor.holder_pid} ({monitor.holder_command})" if monitor.holder_pid else "another client"
    )
    return f"its monitor {monitor.address} is held by {holder}"


# From /proc


def _pids() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdigit())  # noqa: PTH208


def _owner(pid: int) -> int | None:
    try:
        return os.stat(f"/proc/{pid}").st_uid  # noqa: PTH116
    except OSError:
        return None


def _argv(pid: int) -> tuple[str, ...]:
    words = strangers.read_start(f"/proc/{pid}/cmdline", _COMMAND_LINE_BYTES).split(b"\0")
    return tuple(os.fsdecode(word) for word in words[:-1])


def _executable(pid: int, argv: tuple[str, ...]) -> str:
    try:
        return os.readlink(f"/proc/{pid}/exe")  # noqa: PTH115
    except PermissionError:
        return argv[0] if argv else ""


def _is_renamed_qemu(pid: int, argv: tuple[str, ...]) -> bool:
    """Tell whether this is a QEMU under a name of its owner's choice: by its words first, then by its program."""
    if not commandline.speaks_as_qemu(argv):
        return False
    try:
        return strangers.holds(f"/proc/{pid}/exe", _PROGRAM_SAYS, _PROGRAM_BYTES)
    except OSError:
        return False


def _same(one: Address, other: Address) -> bool:
    if isinstance(one, UnixAddress) and isinstance(other, UnixAddress):
        if one == other:
            return True
        try:
            return Path(one.path).samefile(other.path)
        except (OSError, ValueError):
            return False
    if isinstance(one, TcpAddress) and isinstance(other, TcpAddress):
        local = {"localhost", "127.0.0.1", "::1"}
        return one.port == other.port and (one.host == other.host or {one.host, other.host} <= local)
    return False
