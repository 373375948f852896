"""Where the qmons of one user meet over one monitor: a private directory, a lock and a socket a monitor.

Owns the names, the checks on who owns them, and the lock that says which qmon holds the monitor. Must never
wait or talk: who joins whom is `election`'s work, what is said there `relay`'s.
"""

from __future__ import annotations

import fcntl
import os
import socket
import stat
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

from qmon.errors import QmonError
from qmon.monitor.processes import user_name
from qmon.monitor.unix import socket_name, unix_socket

if TYPE_CHECKING:
    from qmon.monitor.address import Address

_BACKLOG = 64
_LOOPBACK_NAMES = frozenset({"", "localhost", "0.0.0.0", "::", "::1"})
_KINDS = {stat.S_IFREG: "file", stat.S_IFLNK: "symbolic link", stat.S_IFSOCK: "socket", stat.S_IFIFO: "pipe"}


class NotPrivate(QmonError):
    """The directory or a file in it may be somebody else's: nothing is shared through it."""


def runtime_directory() -> Path:
    """Return this user's directory for sockets, made if need be; `NotPrivate` if it cannot be trusted.

    `$XDG_RUNTIME_DIR/qmon`, else `/run/user/UID/qmon`, else `/tmp/qmon-UID`; mode 0700 and ours.
    """
    uid = os.geteuid()
    for parent in (os.environ.get("XDG_RUNTIME_DIR"), f"/run/user/{uid}"):
        if parent and os.path.isabs(parent) and _is_ours(Path(parent), uid):  # noqa: PTH117
            return _made_private(Path(parent, "qmon"), uid)
    return _made_private(Path(f"/tmp/qmon-{uid}"), uid)


def _is_ours(path: Path, uid: int) -> bool:
    try:
        found = path.stat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == uid and os.access(path, os.W_OK)


def _made_private(path: Path, uid: int) -> Path:
    try:
        with suppress(FileExistsError):
            path.mkdir(0o700)
        found = path.lstat()
    except OSError as problem:
        raise NotPrivate(f"cannot use {path} for sharing monitors: {problem.strerror}") from problem
    if why := _why_not_private(path, found, uid):
        raise why
    return path


def _why_not_private(path: Path, found: os.stat_result, uid: int) -> NotPrivate | None:
    kind = "directory" if stat.S_ISDIR(found.st_mode) else _KINDS.get(stat.S_IFMT(found.st_mode), "device")
    if found.st_uid != uid:
        whose = user_name(found.st_uid)
        return NotPrivate(
            f"{path} is a {kind} of {whose}, who could read along",
            hint=f"Have it removed by {whose} or root, or set XDG_RUNTIME_DIR to a directory of your own (mode 700).",
        )
    if kind != "directory":
        return NotPrivate(f"{path} is a {kind}, not a directory", hint=f"Remove it: rm {path}")
    if found.st_mode & 0o077:
        mode = f"{stat.S_IMODE(found.st_mode):o}"
        return NotPrivate(f"{path} is open to other users (mode {mode})", hint=f"Close it: chmod 700 {path}")
    return None


def relay_path(address: Address) -> Path:
    """Return where the qmon that holds the monitor at `address` listens for others; nothing need be there."""
    return runtime_directory() / f"{_key(address)}.sock"


def holder_pid(address: Address) -> int | None:
    """Return the pid of the qmon that holds the monitor at `address` for others, None if none does."""
    try:
        place = MeetingPlace.of(address)
        with open(place.lock_path, "rb", opener=_open_ours) as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return _pid_in(lock.read(32))
    except (NotPrivate, OSError):
        return None
    return None


def _key(address: Address) -> str:
    from qmon.monitor.address import TcpAddress

    if isinstance(address, TcpAddress):
        host = "127.0.0.1" if address.host in _LOOPBACK_NAMES else address.host
        # The same port in another network namespace is another monitor.
        name = f"tcp:{Path('/proc/self/ns/net').stat().st_ino}:{host}:{address.port}"
    elif address.path.startswith("@"):
        name = f"abstract:{Path('/proc/self/ns/net').stat().st_ino}:{str(address).removeprefix('unix:')}"
    else:
        name = _unix_key(address.path)
    return "monitor-" + blake2b(os.fsencode(name), digest_size=8).hexdigest()


def _unix_key(path: str) -> str:
    # The file itself, for one path can name two in different mount namespaces.
    try:
        found = Path(path).stat()
    except OSError:
        return f"unix:{os.path.realpath(path)}"
    return f"unix:{found.st_dev}:{found.st_ino}"


def _open_ours(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC)


def _pid_in(written: bytes) -> int | None:
    return int(written) if written.strip().isdigit() else None


@dataclass(frozen=True, slots=True)
class MeetingPlace:
    """The meeting place of one monitor: a lock file and a socket."""

    lock_path: Path
    socket_path: Path

    @classmethod
    def of(cls, address: Address) -> MeetingPlace:
        """Return the place for `address`; `NotPrivate` if there can be none."""
        path = relay_path(address)
        return cls(path.with_suffix(".lock"), path)

    def try_lock(self) -> Lock | None:
        """Return the lock if no qmon holds the monitor, else None; never waits."""
        try:
            fd = os.open(self.lock_path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as problem:
            raise NotPrivate(f"cannot use {self.lock_path}: {problem.strerror}") from problem
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Its last holder may have removed the file between our open and our lock.
            same = os.fstat(fd).st_ino == self.lock_path.stat().st_ino
        except OSError:
            same = False
        if not same:
            os.close(fd)
            return None
        os.ftruncate(fd, 0)
        os.pwrite(fd, b"%d\n" % os.getpid(), 0)
        return Lock(self, fd)

    def locked_by(self) -> int | None:
        """Return the pid that the lock's holder wrote, None if it has not yet."""
        try:
            with open(self.lock_path, "rb", opener=_open_ours) as lock:
                return _pid_in(lock.read(32))
        except OSError:
            return None

    def connect(self) -> socket.socket | None:
        """Return a socket connected to the holder's relay, None if it does not listen (yet, or any more)."""
        try:
            found = self.socket_path.lstat()
        except OSError:
            return None
        if not stat.S_ISSOCK(found.st_mode) or found.st_uid != os.geteuid():
            raise NotPrivate(f"{self.socket_path} is not a socket of this user", hint="Remove it.")
        sock = unix_socket()
        try:
            with socket_name(self.socket_path) as name:
                sock.connect(name)
        except OSError:
            sock.close()
            return None
        return sock


class Lock:
    """The right to hold a monitor and to relay it; the kernel takes it back when this process ends."""

    def __init__(self, place: MeetingPlace, fd: int) -> None:
        self.place = place
        self._fd: int | None = fd

    def __repr__(self) -> str:
        return f"<Lock {self.place.lock_path.name} {'held' if self._fd is not None else 'released'}>"

    def listen(self) -> socket.socket:
        """Return the relay's listening socket, in place of what a holder before us left."""
        listener = unix_socket()
        try:
            with suppress(FileNotFoundError):
                self.place.socket_path.unlink()
            with socket_name(self.place.socket_path) as name:
                listener.bind(name)
            listener.listen(_BACKLOG)
        except OSError:
            listener.close()
            raise
        return listener

    def release(self) -> None:
        """Let another qmon hold the monitor; both files go, and are made again by the next."""
        if self._fd is None:
            return
        for path in (self.place.socket_path, self.place.lock_path):
            with suppress(OSError):
                path.unlink()
        os.close(self._fd)
        self._fd = None
