"""Where QEMU writes a capture to: a memfd of ours or a plain file, and the name under which QEMU can open it.

Owns the ways a descriptor reaches QEMU and the limits QEMU's process has. Must never let QEMU open a FIFO, a pipe,
a terminal or a socket: their readers can stall it.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from qmon.capture.reading.follower import FileFollower, Follower
from qmon.errors import Refused
from qmon.monitor import commands
from qmon.monitor.protocol import Monitor
from qmon.text import plain

_UNLIMITED = 1 << 62
_LOOKS, _LOOK_S = 20, 0.05
# What QEMU says where it may open no more files: a descriptor that is sent then arrives as none (unix(7), MSG_CTRUNC).
_NO_ROOM = ("no file descriptor supplied", "too many open files")


@asynccontextmanager
async def as_path(
    session: Monitor, follower: Follower, *, opaque: str, qemu_pid: int | None
) -> AsyncIterator[str]:
    """Give the path by which QEMU opens the file behind our descriptor, for the length of the block.

    Over a unix socket the descriptor is passed, with `opaque` to know it by should we die meanwhile, and taken back at
    the end: a file that QEMU opened stays open. Over TCP, QEMU reaches it through our own /proc entry, if it runs on
    this host in our pid namespace.
    """
    if isinstance(follower, FileFollower):
        yield str(follower.path)
        return
    if session.can_pass_descriptors:
        try:
            added = await commands.add_fd(session, follower.fd, opaque=opaque)
        except Refused as problem:
            raise explained("QEMU cannot take a descriptor", problem) from problem
        try:
            yield f"/proc/self/fd/{added.fd}"
        finally:
            await commands.remove_fd(session, added.fdset_id)
        return
    if qemu_pid is None or not _same_pid_namespace(qemu_pid):
        raise Refused(
            f"{session.address} cannot carry descriptors, and QEMU does not run here: no way to get at its packets",
            hint="Give the VM a monitor on a unix socket (-qmp unix:PATH,server=on,wait=off) and run qmon beside it; "
            "or name a folder that both can reach with --sink-dir; or ask for --remote-mirror. Both have a risk, "
            "which their --help tells.",
        )
    yield f"/proc/{os.getpid()}/fd/{follower.fd}"


def explained(what: str, problem: Refused) -> Refused:
    """Return what to say where QEMU could not open a file or take a descriptor."""
    if any(sign in problem.reason.lower() for sign in _NO_ROOM):
        why, hint = (
            "it has too many files open",
            "Its limit is ulimit -n: prlimit --pid PID --nofile=NUMBER raises it.",
        )
    else:
        why, hint = (
            problem.reason,
            "A confined QEMU (AppArmor, SELinux, chroot) may forbid it; see the capture guide.",
        )
    return Refused(f"{what}: {why}", hint=hint, qmp_class=problem.qmp_class, reason=problem.reason)


def plain_file(folder: Path, name: str, qemu_pid: int | None, limit_bytes: int) -> FileFollower:
    """Make a new file in `folder` for QEMU to write to; `Refused` says why that cannot be.

    It may take `limit_bytes`, or a quarter of what is free there. It is ours and QEMU's alone where we may give it
    away; else others may write to it too, but not read it.
    """
    path = folder.absolute() / f"{name}.{secrets.token_hex(4)}.pcap"
    try:
        mode = folder.stat().st_mode
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            raise Refused(
                f"{plain(str(folder))} is not safe for QEMU's files: anybody may replace them there"
            )
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as problem:
        raise Refused(
            f"cannot make a file in {plain(str(folder))} for QEMU: {problem.strerror}",
            hint="--sink-dir wants a folder in which qmon and QEMU may write.",
        ) from problem
    free = os.fstatvfs(fd)
    follower = FileFollower(fd, path, min(limit_bytes, free.f_bavail * free.f_frsize // 4))
    _let_write(fd, qemu_pid)
    return follower


def _let_write(fd: int, qemu_pid: int | None) -> None:
    try:
        owner = Path(f"/proc/{qemu_pid}").stat().st_uid if qemu_pid else None
    except OSError:
        owner = None
    if owner == os.geteuid():
        return
    if owner is not None and os.geteuid() == 0:
        os.fchown(fd, owner, -1)
    else:
        os.fchmod(fd, 0o622)


async def wait_for_header(follower: FileFollower) -> None:
    """Wait until what QEMU writes at once is seen here; `Refused` if it writes to another file of that name."""
    for _ in range(_LOOKS):
        if os.fstat(follower.fd).st_size:
            return
        await asyncio.sleep(_LOOK_S)
    raise Refused(
        f"QEMU opened {plain(str(follower.path))}, but what it writes is not seen here",
        hint="For QEMU this is another folder (another host, or a container's). What it wrote may lie there under "
        "this name. --sink-dir wants a folder that is the same for both.",
    )


def _same_pid_namespace(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/ns/pid").stat().st_ino == Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        return False


def largest_file(pid: int | None) -> int:
    """Return how long a file the process `pid` may write; beyond it the kernel would kill QEMU (SIGXFSZ).

    A memfd counts as a file with all that was ever written to it, whether punched or not.
    """
    try:
        limits = Path(f"/proc/{pid}/limits").read_text(encoding="ascii") if pid else ""
    except OSError:
        return _UNLIMITED
    for line in limits.splitlines():
        if line.startswith("Max file size"):
            soft = line.split()[3]
            return _UNLIMITED if soft == "unlimited" else int(soft)
    return _UNLIMITED
