"""The QEMU processes of this host, and how each one's monitor can be reached.

Owns the finding of VMs through `/proc` alone. Must never connect to a monitor: a connect that nobody asked for
blocks the next client, and lets a VM go that was waiting for its first one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from qmon.errors import CannotAttach
from qmon.monitor import commandline, processes, sharing
from qmon.monitor.address import Address, Name, Pid, Target, TcpAddress, UnixAddress
from qmon.text import plain

ADD_A_MONITOR = "-qmp unix:/tmp/{name}.qmp,server=on,wait=off"
_BEST_FIRST = ("free", "shared", "waiting", "busy")
_ADVICE = {
    "busy": "a QMP socket serves one client at a time; give the VM a second one: ",
    "none": "start the VM with a QMP socket, or by `qmon run -- …`: ",
}


@dataclass(frozen=True, slots=True)
class MonitorSocket:
    """One monitor that listens. `state` is free, busy, shared (a qmon relays it) or waiting (for a first client).

    `reason` says why it is no use to qmon, where that is so; then `state` is none.
    """

    address: Address | None
    protocol: str
    state: str
    holder_pid: int | None = None
    holder_command: str | None = None
    reason: str | None = None


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
        return next((one.reason for one in self.monitors if one.reason and one.protocol == "qmp"), None) or (
            "it has only a human monitor" if self.monitors else "it was started without a monitor socket"
        )

    @property
    def hint(self) -> str | None:
        """What would let qmon attach, where it cannot."""
        if self.reason is None:
            return None
        name = re.sub(r"[^\w.-]", "_", self.name or "vm")
        return _ADVICE[self.state] + ADD_A_MONITOR.format(name=name)

    def is_running(self) -> bool:
        """Tell whether this very process still runs."""
        return _start_ticks(self.pid) == self.start_ticks


@dataclass(frozen=True, slots=True)
class Resolved:
    """The monitor to attach to, and the process behind it where it runs on this host and can be told."""

    address: Address
    vm: Vm | None


def list_vms() -> list[Vm]:
    """Return the VMs that run here, by pid; processes that end meanwhile are left out."""
    return [vm for pid in sorted(_pids()) if (vm := read_vm(pid)) is not None]


def read_vm(pid: int) -> Vm | None:
    """Return the VM that runs as `pid`, or None if that is no QEMU."""
    try:
        argv = _argv(pid)
        executable = _executable(pid, argv)
        if not argv or not commandline.is_qemu(executable, argv):
            return None
        ticks, uid = _start_ticks(pid), Path(f"/proc/{pid}").stat().st_uid
    except OSError:
        return None
    if ticks is None:
        return None
    line = commandline.parse(argv, lambda path: _read_config(pid, path))
    monitors = tuple(_monitor(pid, monitor) for monitor in line.monitors)
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
    words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return tuple(os.fsdecode(word) for word in words[:-1])


def _executable(pid: int, argv: tuple[str, ...]) -> str:
    try:
        return os.readlink(f"/proc/{pid}/exe")  # noqa: PTH115
    except PermissionError:
        return argv[0] if argv else ""


def _start_ticks(pid: int) -> int | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    # The name in brackets may hold anything; field 22 (proc(5)) is the 20th after it.
    fields = stat.rpartition(b")")[2].split()
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def _read_config(pid: int, path: str) -> str | None:
    try:
        return Path(_seen_from_here(pid, path)).read_text(encoding="utf-8", errors="replace")[:1_000_000]
    except OSError:
        return None


def _directories(pid: int) -> Iterator[str]:
    """Yield where a relative path of the VM's may start: its directory, or the one it was started in."""
    try:
        yield os.readlink(f"/proc/{pid}/cwd")  # noqa: PTH115
        # With -daemonize QEMU moves to /; the shell's PWD still tells where it was started.
        environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return
    yield from (os.fsdecode(entry[4:]) for entry in environment if entry.startswith(b"PWD=/"))


def _seen_from_here(pid: int, path: str) -> str:
    """Return the path of a VM's file as this process has to spell it."""
    absolute = [path] if path.startswith("/") else [f"{start}/{path}" for start in _directories(pid)]
    candidates = [os.path.normpath(one) for one in absolute]
    root = f"/proc/{pid}/root"
    try:
        if not Path(root).samefile("/"):
            candidates = [root + one for one in candidates] + candidates
    except OSError:
        pass  # Another user's process: its root may not be looked at, and is most often ours.
    return next((one for one in candidates if Path(one).exists()), candidates[0] if candidates else path)


def _monitor(pid: int, monitor: commandline.Monitor) -> MonitorSocket:
    chardev, protocol = monitor.chardev, monitor.protocol
    if chardev.backend != "socket":
        return MonitorSocket(
            None, protocol, "none", reason=f"its monitor is on {chardev.backend}, not on a socket"
        )
    if not chardev.plain:
        return MonitorSocket(None, protocol, "none", reason="its monitor speaks telnet, websocket or TLS")
    if not chardev.listens and chardev.fd is None:
        return MonitorSocket(
            None, protocol, "none", reason="its monitor connects to somebody instead of listening"
        )
    address = _address(pid, chardev)
    if address is None:
        return MonitorSocket(
            None, protocol, "none", reason="where its monitor listens cannot be seen from here"
        )
    return _with_state(pid, MonitorSocket(address, protocol, "free"), waits=chardev.waits)


def _address(pid: int, chardev: commandline.Chardev) -> Address | None:
    if chardev.path is not None:
        path = chardev.path
        return UnixAddress(f"@{path}" if chardev.abstract else _seen_from_here(pid, path))
    if chardev.port is not None:
        host = chardev.host or "127.0.0.1"
        host = {"0.0.0.0": "127.0.0.1", "::": "::1", "*": "127.0.0.1"}.get(host, host)
        return (
            TcpAddress(host, int(chardev.port)) if chardev.port.isdecimal() and chardev.port != "0" else None
        )
    return _inherited(pid, chardev.fd) if chardev.fd else None


def _inherited(pid: int, fd: str) -> Address | None:
    """Return the path of a listening socket that QEMU was handed as a descriptor, as libvirt does."""
    try:
        target = os.readlink(f"/proc/{pid}/fd/{fd}")  # noqa: PTH115
        lines = (
            Path(f"/proc/{pid}/net/unix").read_text(encoding="utf-8", errors="surrogateescape").split("\n")
        )
    except OSError:
        return None
    for line in lines:
        fields = line.split(maxsplit=7)
        if len(fields) == 8 and target == f"socket:[{fields[6]}]":
            path = fields[7]
            return UnixAddress(path if path.startswith("@") else _seen_from_here(pid, path))
    return None


def _with_state(pid: int, monitor: MonitorSocket, *, waits: bool) -> MonitorSocket:
    address, protocol = monitor.address, monitor.protocol
    assert address is not None
    if (
        isinstance(address, UnixAddress)
        and not address.path.startswith("@")
        and not Path(address.path).exists()
    ):
        return MonitorSocket(
            None, protocol, "none", reason=f"its socket {plain(address.path)} is not there any more"
        )
    clients = processes.clients_of(address)
    if clients is None or not (clients.connected or clients.pending):
        return MonitorSocket(address, protocol, "waiting" if waits and _waits(pid) else "free")
    if protocol == "qmp" and (qmon := sharing.holder_pid(address)) is not None:
        return MonitorSocket(address, protocol, "shared", qmon, _command(qmon))
    holder = processes.owner(clients.inodes)
    return MonitorSocket(
        address, protocol, "busy", holder.pid if holder else None, holder.command if holder else None
    )


def _command(pid: int) -> str | None:
    process = processes.process(pid)
    return process.command if process else None


def _waits(pid: int) -> bool:
    # A QEMU that waits for a monitor's first client has not made its CPUs' threads yet: there is only the main
    # thread and the one of RCU.
    try:
        return len(os.listdir(f"/proc/{pid}/task")) <= 2  # noqa: PTH208
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
