"""Where a VM's monitor can be reached from here, and who is at it, read from `/proc` and the kernel's socket tables.

Owns the view from this process on a socket of another one: its directory, its root, its namespaces, its user. Must
never connect, and never call a socket a VM's because of its name alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from qmon.monitor import processes, strangers, unix
from qmon.monitor.address import Address, TcpAddress, UnixAddress
from qmon.monitor.commandline import Chardev, MonitorOption
from qmon.text import plain

_CONNECTING, _CONNECTED = "02", "03"
# A path that means another file to each process: these of a VM are looked up in its own place.
_OWN = {"/dev/stdin": "fd/0", "/dev/stdout": "fd/1", "/dev/stderr": "fd/2"}
_OWN_FOLDERS = {"/dev/fd/": "fd/", "/proc/self/": "", "/proc/thread-self/": ""}
_CONFIGURATION_BYTES = 1 << 20
_ENVIRONMENT_BYTES = 1 << 20
_EVERY_HOST = {"0.0.0.0": "127.0.0.1", "::": "::1", "*": "127.0.0.1", "": "127.0.0.1"}


@dataclass(frozen=True, slots=True)
class MonitorSocket:
    """One monitor. `state` is free, busy, shared (a qmon relays it), waiting (for a first client), or none.

    With none, `reason` says why it is no use to qmon, and `hint`, where there is one, what would help.
    """

    address: Address | None
    protocol: str
    state: str
    holder_pid: int | None = None
    holder_command: str | None = None
    reason: str | None = None
    hint: str | None = None


def look(pid: int, monitor: MonitorOption, owners: processes.Owners) -> MonitorSocket:
    """Return how one of a QEMU's monitors stands; `owners` tells who holds it."""
    try:
        return _look(pid, monitor.protocol, monitor.chardev, owners)
    except _Unreachable as why:
        return MonitorSocket(None, monitor.protocol, "none", reason=why.reason, hint=why.hint)


def text_of(pid: int, path: str) -> str | None:
    """Return the text (its first MiB) of a file that a VM names on its command line.

    None if it is not a regular file, or cannot be read from here.
    """
    for candidate in _spellings(pid, path):
        try:
            return strangers.read_start(candidate, _CONFIGURATION_BYTES).decode("utf-8", "replace")
        except (OSError, ValueError):
            continue
    return None


class _Unreachable(Exception):
    def __init__(self, reason: str, hint: str | None = None) -> None:
        super().__init__(reason)
        self.reason, self.hint = reason, hint


def _look(pid: int, protocol: str, chardev: Chardev, owners: processes.Owners) -> MonitorSocket:
    if chardev.backend != "socket":
        raise _Unreachable(f"its monitor is on {plain(chardev.backend)}, not on a socket")
    if not chardev.plain:
        raise _Unreachable("its monitor speaks telnet, websocket or TLS")
    if chardev.shared:
        raise _Unreachable(
            "its monitor shares a socket with other devices (mux=on): what is sent may go to those"
        )
    if not chardev.listens and chardev.fd is None:
        raise _Unreachable("its monitor connects out instead of listening")
    address = _address(pid, chardev)
    clients = _clients(pid, address, chardev)
    if not clients.connected and not clients.pending:
        return MonitorSocket(address, protocol, "waiting" if chardev.waits and _waits(pid) else "free")
    from qmon.monitor import sharing  # Its imports cost more than the rest of this; most monitors are free.

    if protocol == "qmp" and (qmon := sharing.holder_pid(address)) is not None:
        holder, state = processes.process(qmon), "shared"
    else:
        holder, state = owners.of(clients.inodes), "busy"
    return MonitorSocket(
        address, protocol, state, holder.pid if holder else None, holder.command if holder else None
    )


# Addresses


def _address(pid: int, chardev: Chardev) -> Address:
    if chardev.fd is not None:
        return _inherited(pid, chardev.fd)
    if chardev.path is not None:
        if not chardev.abstract:
            return UnixAddress(_reachable(pid, chardev.path))
        _check_network(pid, f"the abstract socket {plain(chardev.path)}")
        return UnixAddress(f"@{chardev.path}", padded=chardev.padded)
    host, port = chardev.host or "", chardev.port or ""
    if not port.isdecimal() or len(port) > 5 or not 0 < int(port) < 65536:
        raise _Unreachable(f"its monitor's port, '{plain(port)}', is not known")
    _check_network(pid, f"port {port}")
    return TcpAddress(_EVERY_HOST.get(host, host), int(port))


def _inherited(pid: int, fd: str) -> Address:
    """Return the path of a listening socket that QEMU was handed as a descriptor, as libvirt does."""
    try:
        target = os.readlink(f"/proc/{pid}/fd/{fd}")  # noqa: PTH115
    except PermissionError:
        raise _of_another_user(pid, "can see where its monitor listens") from None
    except OSError:
        raise _Unreachable(f"descriptor {plain(fd)}, which its monitor was on, is no longer there") from None
    for row in _net_unix(pid):
        if target == f"socket:[{row.inode}]" and row.path:
            if not row.path.startswith("@"):
                return UnixAddress(_reachable(pid, row.path))
            _check_network(pid, f"the abstract socket {plain(row.path)}")
            padded = len(os.fsencode(row.path)) == unix.SUN_PATH_BYTES and row.path.endswith("@")
            return UnixAddress(row.path.rstrip("@") if padded else row.path, padded=padded)
    raise _Unreachable("its monitor is on a descriptor that is not a unix socket with a name")


def _reachable(pid: int, path: str) -> str:
    """Return how this process has to spell the path of a VM's socket."""
    spellings = list(_spellings(pid, path))
    for candidate in spellings:
        try:
            Path(candidate).lstat()
        except PermissionError:
            raise _of_another_user(pid, f"can reach its socket {plain(path)}") from None
        except OSError:
            continue
        if not os.access(candidate, os.W_OK):
            raise _of_another_user(pid, f"may use its socket {plain(path)}")
        return _shortest(candidate, spellings)
    if _is_hidden(pid):
        raise _of_another_user(pid, f"can see where its socket {plain(path)} is")
    raise _Unreachable(f"its socket {plain(spellings[0] if spellings else path)} is no longer there")


def _shortest(found: str, spellings: list[str]) -> str:
    """Return the last of the spellings of one file: without a detour through `/proc` where none is needed."""
    for candidate in reversed(spellings):
        try:
            if Path(candidate).samefile(found):
                return candidate
        except OSError:
            continue
    return found


def _spellings(pid: int, path: str) -> Iterator[str]:
    """Yield what a VM's path may be called here, the likeliest first."""
    if (own := _own(path)) is not None:
        yield f"/proc/{pid}/{own}"
        return
    absolute = [path] if path.startswith("/") else [f"{start}/{path}" for start in _directories(pid)]
    elsewhere = _has_other_files(pid)
    for one in map(os.path.normpath, absolute):
        if elsewhere:
            yield f"/proc/{pid}/root{one}"
        yield one


def _own(path: str) -> str | None:
    """Return where below a process's `/proc` entry the file is that each process has for itself, None for others."""
    if path in _OWN:
        return _OWN[path]
    for start, place in _OWN_FOLDERS.items():
        if path.startswith(start):
            return place + path.removeprefix(start)
    return None


def _directories(pid: int) -> Iterator[str]:
    """Yield where a relative path of the VM's may start: its directory, or the one it was started in."""
    try:
        yield os.readlink(f"/proc/{pid}/cwd")  # noqa: PTH115
        # With -daemonize QEMU moves to /; the shell's PWD still tells where it was started.
        environment = strangers.read_start(f"/proc/{pid}/environ", _ENVIRONMENT_BYTES).split(b"\0")
    except OSError:
        return
    yield from (os.fsdecode(entry[4:]) for entry in environment if entry.startswith(b"PWD=/"))


def _has_other_files(pid: int) -> bool:
    """Tell whether a process sees other files than this one: a container, a chroot."""
    try:
        return _namespace(pid, "mnt") != _namespace("self", "mnt") or not Path(f"/proc/{pid}/root").samefile(
            "/"
        )
    except OSError:
        return False  # Another user's process: what it sees is most often what we see.


def _check_network(pid: int, what: str) -> None:
    try:
        apart = _namespace(pid, "net") != _namespace("self", "net")
    except OSError:
        return
    if apart:
        raise _Unreachable(
            f"its monitor listens at {what} in another network namespace",
            f"Run qmon in there: nsenter --net=/proc/{pid}/ns/net qmon …",
        )


def _namespace(pid: int | str, kind: str) -> str:
    return os.readlink(f"/proc/{pid}/ns/{kind}")  # noqa: PTH115


def _of_another_user(pid: int, what: str) -> _Unreachable:
    uid = Path(f"/proc/{pid}").stat().st_uid
    name = processes.user_name(uid)
    whom = name if uid == 0 else f"{name} or root"
    return _Unreachable(f"only {whom} {what}", f"Run qmon as {whom}.")


def _is_hidden(pid: int) -> bool:
    """Tell whether the kernel keeps a process's directory and files from this user."""
    try:
        _namespace(pid, "mnt")
    except PermissionError:
        return True
    except OSError:
        return False
    return False


# Who is there


def _clients(pid: int, address: Address, chardev: Chardev) -> processes.Clients:
    """Return who is at a VM's monitor; `_Unreachable` if what listens there is not this VM."""
    own = _own_sockets(pid)
    clients = processes.clients_of(address)
    if clients is not None:
        if own is not None and clients.listener not in own:
            thief = processes.owner((clients.listener,))
            raise _Unreachable(
                f"its monitor's address, {plain(str(address))}, was taken over by {thief or 'somebody else'}",
                "Two VMs were started with the same address; give each one of its own.",
            )
        return clients
    if isinstance(address, TcpAddress) or address.path.startswith("@"):
        raise _Unreachable(f"nothing listens at {plain(str(address))} that could be seen from here")
    # The VM is in another network namespace, whose sockets the kernel's own table does not show; a path goes beyond
    # it. What a client's connect made is listed with the client, and without an inode until it is accepted.
    bound = {address.path, chardev.path}
    rows = [row for where in (pid, "self") for row in _net_unix(where) if row.path in bound]
    pending = sum(row.state == _CONNECTING for row in rows)
    connected = sum(row.state == _CONNECTED and (own is None or row.inode in own) for row in rows)
    return processes.Clients(connected, pending, (), 0)


def _own_sockets(pid: int) -> frozenset[int] | None:
    """Return the inodes of the sockets a process holds, None if that may not be seen."""
    found = []
    try:
        for fd in os.scandir(f"/proc/{pid}/fd"):
            try:
                target = os.readlink(fd.path)  # noqa: PTH115
            except FileNotFoundError:
                continue
            if target.startswith("socket:["):
                found.append(int(target[8:-1]))
    except OSError:
        return None
    return frozenset(found)


@dataclass(frozen=True, slots=True)
class _Row:
    inode: int
    state: str
    path: str


def _net_unix(pid: int | str) -> Iterator[_Row]:
    """Yield the unix sockets of a process's network namespace (net/unix/af_unix.c, unix_seq_show)."""
    try:
        table = Path(f"/proc/{pid}/net/unix").read_bytes().split(b"\n")
    except OSError:
        return
    for line in table[1:]:
        fields = line.split(maxsplit=7)
        if len(fields) >= 7:
            path = os.fsdecode(fields[7]) if len(fields) == 8 else ""
            yield _Row(int(fields[6]), fields[5].decode(), path)


def _waits(pid: int) -> bool:
    # A QEMU that waits for a monitor's first client has not made its CPUs' threads yet: there is only the main
    # thread and the one of RCU.
    try:
        return len(os.listdir(f"/proc/{pid}/task")) <= 2  # noqa: PTH208
    except OSError:
        return False
