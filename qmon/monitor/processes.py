"""Who is at a monitor's socket, as the kernel tells: nothing is connected to, nothing is changed.

Owns the reading of unix sock_diag (linux/unix_diag.h) and `/proc/net/tcp`. Must never guess: what the kernel
does not show from here is None.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

from qmon.monitor.strangers import read_start
from qmon.monitor.unix import abstract_name
from qmon.text import cut, plain, plain_bytes

if TYPE_CHECKING:
    from qmon.monitor.address import Address, TcpAddress, UnixAddress

_SOCK_DIAG_BY_FAMILY, _DUMP_REQUEST, _NLMSG_ERROR, _NLMSG_DONE = 20, 0x301, 2, 3
_NETLINK_SOCK_DIAG = 4
_NAME, _VFS, _PEER, _PENDING = 0, 1, 2, 3
_SHOW = 1 << _NAME | 1 << _VFS | 1 << _PEER | 1 << _PENDING
_ESTABLISHED, _LISTENING = 1, 10
_EVERY_STATE = 0xFFFFFFFF
_STOPPED = (b"T", b"t")
# Enough for a message; a process can make the kernel show gigabytes.
_COMMAND_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Clients:
    """Who is connected to a listening socket: how many, how many more wait to be, and their sockets' inodes.

    `listener` is the listening socket's inode. An inode of 0 is a client that has closed its end already.
    """

    connected: int
    pending: int
    inodes: tuple[int, ...]
    listener: int


@dataclass(frozen=True, slots=True)
class Process:
    """A process as `/proc` shows it; `command` is its command line, plain and cut for a message."""

    pid: int
    command: str
    stopped: bool

    def __str__(self) -> str:
        return f"pid {self.pid} ({self.command})" + (", which is stopped" if self.stopped else "")


def clients_of(address: Address) -> Clients | None:
    """Return who is connected to the socket that listens at `address`, None if no such socket is visible."""
    from qmon.monitor.address import TcpAddress

    try:
        return _tcp_clients(address) if isinstance(address, TcpAddress) else _unix_clients(address)
    except OSError:
        return None


def process(pid: int) -> Process | None:
    """Return what runs as `pid`, None if nothing does."""
    try:
        words = read_start(f"/proc/{pid}/cmdline", _COMMAND_BYTES)
        command = words.rstrip(b"\0").replace(b"\0", b" ")
    except OSError:
        return None
    stat = _stat(pid)
    if stat is None:
        return None
    return Process(pid, cut(plain_bytes(command or stat.name), 80), stat.state in _STOPPED)


def is_stopped(pid: int) -> bool:
    """Tell whether a process is stopped (by Ctrl-Z, SIGSTOP or a debugger)."""
    stat = _stat(pid)
    return stat is not None and stat.state in _STOPPED


def user_name(uid: int) -> str:
    """Return a user's name, or its number in words where it has none here."""
    import pwd

    try:
        return plain(pwd.getpwuid(uid).pw_name)
    except KeyError:
        return f"uid {uid}"


def start_ticks(pid: int) -> int | None:
    """Return when a process was started, in clock ticks after boot; None if it does not live."""
    stat = _stat(pid)
    return None if stat is None or stat.state in (b"Z", b"X") else stat.start_ticks


@dataclass(frozen=True, slots=True)
class _Stat:
    name: bytes
    state: bytes
    start_ticks: int


def _stat(pid: int) -> _Stat | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    # The name in brackets may hold anything; field 22 (proc(5)) is the 20th after it.
    head, _, rest = stat.rpartition(b")")
    fields = rest.split()
    return _Stat(head.partition(b"(")[2], fields[0], int(fields[19]))


def owner(inodes: tuple[int, ...]) -> Process | None:
    """Return a process that holds one of these sockets, None if none is visible to this user."""
    return Owners().of(inodes)


class Owners:
    """Who holds which socket, looked up in all of `/proc` once, when it is first asked for."""

    def __init__(self) -> None:
        self._pids: dict[str, int] | None = None

    def of(self, inodes: tuple[int, ...]) -> Process | None:
        """Return a process that holds one of these sockets, None if none is visible to this user."""
        wanted = [f"socket:[{inode}]" for inode in inodes if inode]
        if wanted and self._pids is None:
            self._pids = dict(_open_sockets())
        pid = next((self._pids[name] for name in wanted if self._pids and name in self._pids), None)
        return None if pid is None else process(pid)


def _open_sockets() -> Iterator[tuple[str, int]]:
    # Thousands of links are read: paths as objects would cost more than the reading.
    for pid in filter(str.isdigit, os.listdir("/proc")):  # noqa: PTH208
        place = f"/proc/{pid}/fd"
        try:
            links = os.listdir(place)  # noqa: PTH208
        except OSError:
            continue
        for link in links:
            with suppress(OSError):
                target = os.readlink(f"{place}/{link}")  # noqa: PTH115
                if target.startswith("socket:"):
                    yield target, int(pid)


# Unix sockets: a netlink dump, in which a bound socket is told by the inode of its file, not by a spelling.


@dataclass(frozen=True, slots=True)
class _UnixSocket:
    state: int
    inode: int
    name: bytes
    file: tuple[int, int] | None
    peer: int
    pending: tuple[int, ...]


def _unix_clients(address: UnixAddress) -> Clients | None:
    path, abstract = address.path, abstract_name(address)
    if abstract is not None:
        names, file = {abstract}, None
    else:
        # A path through /proc/PID/root is one in another mount namespace: resolved, it would name one in ours.
        away = path.startswith("/proc/")
        names = {os.fsencode(path)} if away else {os.fsencode(path), os.fsencode(os.path.realpath(path))}
        found = Path(path).stat()
        # The kernel's own form of a device number has 20 bits of minor.
        file = (found.st_ino & 0xFFFFFFFF, os.major(found.st_dev) << 20 | os.minor(found.st_dev))
    sockets = list(_unix_sockets())
    # Of two sockets that were bound to one path the file tells which is there now; overlayfs shows other numbers
    # than the kernel's own, and leaves only the name.
    same = [sock for sock in sockets if file and sock.file == file]
    same = same or [sock for sock in sockets if sock.name in names]
    listeners = [sock for sock in same if sock.state == _LISTENING]
    if not listeners:
        return None
    connected = [sock for sock in same if sock.state == _ESTABLISHED and sock.inode]
    pending = [inode for sock in listeners for inode in sock.pending]
    inodes = (*(sock.peer for sock in connected), *pending)
    return Clients(len(connected), len(pending), inodes, listeners[-1].inode)


def _unix_sockets() -> Iterator[_UnixSocket]:
    with socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG
    ) as kernel:
        kernel.settimeout(1.0)
        request = struct.pack("=BBHIIIII", socket.AF_UNIX, 0, 0, _EVERY_STATE, 0, _SHOW, 0, 0)
        header = struct.pack("=IHHII", 16 + len(request), _SOCK_DIAG_BY_FAMILY, _DUMP_REQUEST, 1, 0)
        kernel.send(header + request)
        while True:
            answer = kernel.recv(1 << 18)
            at = 0
            while at + 16 <= len(answer):
                length, kind = struct.unpack_from("=IH", answer, at)
                if kind in (_NLMSG_DONE, _NLMSG_ERROR) or length < 16:
                    return
                yield _unix_socket(answer[at + 16 : at + length])
                at += (length + 3) & ~3


def _unix_socket(message: bytes) -> _UnixSocket:
    state, inode = message[2], struct.unpack_from("=I", message, 4)[0]
    attributes: dict[int, bytes] = {}
    at = 16
    while at + 4 <= len(message):
        length, kind = struct.unpack_from("=HH", message, at)
        if length < 4:
            break
        attributes[kind] = message[at + 4 : at + length]
        at += (length + 3) & ~3
    name, vfs = attributes.get(_NAME, b""), attributes.get(_VFS)
    pending = attributes.get(_PENDING, b"")
    return _UnixSocket(
        state,
        inode,
        name if name.startswith(b"\0") else name.rstrip(b"\0"),
        struct.unpack("=II", vfs) if vfs and len(vfs) == 8 else None,
        struct.unpack("=I", attributes[_PEER])[0] if len(attributes.get(_PEER, b"")) == 4 else 0,
        struct.unpack(f"={len(pending) // 4}I", pending[: len(pending) // 4 * 4]),
    )


# TCP: only what listens on this host's own addresses can be seen.


@dataclass(frozen=True, slots=True)
class InetRow:
    """A socket of `/proc/net/tcp` or `udp`: its two ends, the kernel's number of its state, its inode."""

    local: tuple[str, int]
    remote: tuple[str, int]
    state: int
    inode: int


def _tcp_clients(address: TcpAddress) -> Clients | None:
    host = "127.0.0.1" if address.host == "localhost" else address.host
    rows = [*inet_rows("/proc/net/tcp"), *inet_rows("/proc/net/tcp6")]
    listeners = [row for row in rows if row.state == _LISTENING and row.local[1] == address.port]
    loopback = _is_loopback(host)
    listeners = [row for row in listeners if row.local[0] == host or (loopback and _is_any(row.local[0]))]
    if not listeners:
        return None
    served = [row for row in rows if row.state == _ESTABLISHED and row.local[1] == address.port]
    ends = {(row.local, row.remote): row.inode for row in rows}
    accepted = [row for row in served if row.inode]
    inodes = tuple(ends.get((row.remote, row.local), 0) for row in served)
    return Clients(len(accepted), len(served) - len(accepted), inodes, listeners[0].inode)


def inet_rows(path: str) -> Iterator[InetRow]:
    """Yield the sockets that a file such as `/proc/net/tcp` lists; OSError if it cannot be read."""
    for line in Path(path).read_text().splitlines()[1:]:
        words = line.split()
        yield InetRow(_tcp_end(words[1]), _tcp_end(words[2]), int(words[3], 16), int(words[9]))


def _tcp_end(text: str) -> tuple[str, int]:
    digits, _, port = text.partition(":")
    packed = struct.pack(
        f"={len(digits) // 8}I", *(int(digits[i : i + 8], 16) for i in range(0, len(digits), 8))
    )
    address = ip_address(packed)
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address), int(port, 16)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _is_any(host: str) -> bool:
    return ip_address(host).is_unspecified
