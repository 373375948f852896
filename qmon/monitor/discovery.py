"""The QEMU processes of this host, and how each one's monitor can be reached.

Owns the finding of VMs through `/proc` alone. Must never connect to a monitor: a connect that nobody asked for
blocks the next client, and lets a VM go that was waiting for its first one.
"""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from qmon.errors import CannotAttach
from qmon.monitor import commandline, processes, reach
from qmon.monitor.address import Address, Name, Pid, Target, TcpAddress, UnixAddress
from qmon.monitor.reach import MonitorSocket
from qmon.text import plain

__all__ = ["ADD_A_MONITOR", "MonitorSocket", "Resolved", "Vm", "find_vm", "list_vms", "read_vm", "resolve"]

ADD_A_MONITOR = "-qmp unix:/tmp/{name}.qmp,server=on,wait=off"
# What `-version` prints (system/vl.c): in every emulator, and in no wrapper.
_PROGRAM_SAYS = b"QEMU emulator version"
_BEST_FIRST = ("free", "shared", "waiting", "busy")
_ADVICE = {
    "busy": "a QMP socket serves one client at a time; give the VM a second one: ",
    "none": "start the VM with a QMP socket, or by `qmon run -- …`: ",
}


@dataclass(frozen=True, slots=True)
class Vm:
    """A running QEMU. `start_ticks` tells it from a later process of the same pid; texts are as they came."""

    pid: int
    start_ticks: int
    name: str | None
    machine: str | None
    binary: str
    uid: int
    argv: tuple[str, ...]
    monitors: tuple[MonitorSocket, ...]

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
        return "it has only a human monitor" if self.monitors else "it was started without a monitor socket"

    @property
    def hint(self) -> str | None:
        """What would let qmon attach, where it cannot."""
        if self.reason is None:
            return None
        if self.state == "none" and (useless := self._useless) is not None and useless.hint is not None:
            return useless.hint
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


def list_vms() -> list[Vm]:
    """Return the VMs that run here, by pid; processes that end meanwhile are left out."""
    owners = processes.Owners()
    return [vm for pid in sorted(_pids()) if (vm := _read_vm(pid, owners)) is not None]


def read_vm(pid: int) -> Vm | None:
    """Return the VM that runs as `pid`, or None if that is no QEMU."""
    return _read_vm(pid, processes.Owners())


def _read_vm(pid: int, owners: processes.Owners) -> Vm | None:
    try:
        argv = _argv(pid)
        executable = _executable(pid, argv)
        if not argv or not (commandline.is_qemu(executable, argv) or _is_renamed_qemu(pid, argv)):
            return None
        ticks, uid = processes.start_ticks(pid), Path(f"/proc/{pid}").stat().st_uid
    except OSError:
        return None
    if ticks is None:
        return None
    line = commandline.parse(argv, lambda path: reach.text_of(pid, path))
    monitors = tuple(reach.look(pid, monitor, owners) for monitor in line.monitors)
    return Vm(pid, ticks, line.name, line.machine, commandline.binary(executable, argv), uid, argv, monitors)


def find_vm(address: Address) -> Vm | None:
    """Return the VM whose monitor listens at an address, or None if it is not one of this host's."""
    for vm in list_vms():
        if any(one.address is not None and _same(one.address, address) for one in vm.monitors):
            return vm
    return None


def resolve(target: Target | None) -> Resolved:
    """Return the monitor that a target names; raise CannotAttach with the choice where that is not one VM."""
    if isinstance(target, UnixAddress | TcpAddress):
        return Resolved(target, find_vm(target))
    vms = list_vms()
    if target is None:
        found, what = [vm for vm in vms if vm.state != "none"] or vms, "no VM is running here"
        choose = "say which with --vm or $QMON_VM:"
    elif isinstance(target, Pid):
        found, what, choose = (
            [vm for vm in vms if vm.pid == target.pid],
            f"pid {target.pid} is no QEMU process",
            "",
        )
    else:
        found, what = (
            [vm for vm in vms if vm.name == target.name],
            f"no VM named '{plain(target.name)}' runs here",
        )
        choose = f"several VMs are named '{plain(target.name)}'; say --vm pid:N:"
    if len(found) == 1:
        return _attachable(found[0])
    if found:
        raise CannotAttach(f"{len(found)} VMs could be meant", hint=f"{choose}\n{_listing(found)}")
    raise CannotAttach(what, hint=_instead(target, vms))


def _instead(target: Target | None, vms: list[Vm]) -> str:
    if vms:
        return f"running here:\n{_listing(vms)}"
    if isinstance(target, Name) and Path(target.name).is_socket():
        return f"for the socket of that name in this directory say --vm ./{plain(target.name)}"
    return "start one with " + ADD_A_MONITOR.format(name="vm") + ", or try `qmon demo`"


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


def _argv(pid: int) -> tuple[str, ...]:
    with open(f"/proc/{pid}/cmdline", "rb") as words_of:
        words = words_of.read().split(b"\0")
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
        with open(f"/proc/{pid}/exe", "rb") as program:
            content = mmap.mmap(program.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError):
        return False
    with content:
        return content.find(_PROGRAM_SAYS) >= 0


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
