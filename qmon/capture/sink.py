"""Where QEMU writes a capture to: a memfd of ours, and the name under which QEMU can open it.

Owns the ways a descriptor reaches QEMU and the limits QEMU's process has. Must never let QEMU open a FIFO, a pipe,
a terminal or a socket: their readers can stall it.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from qmon.errors import Refused
from qmon.monitor.session import Session

_UNLIMITED = 1 << 62


@asynccontextmanager
async def as_path(session: Session, fd: int, *, qemu_pid: int | None) -> AsyncIterator[str]:
    """Give the path by which QEMU opens our descriptor, for the length of the block.

    Over a unix socket the descriptor is passed and taken back at the end: a file that QEMU opened meanwhile stays
    open. Over TCP, QEMU reaches it through our own /proc entry, if it runs on this host in our pid namespace.
    """
    if session.can_pass_descriptors:
        added = await session.pass_descriptor(fd, opaque="qmon capture")
        try:
            yield f"/proc/self/fd/{added.fd}"
        finally:
            await session.execute("remove-fd", {"fdset-id": added.fdset_id})
        return
    if qemu_pid is None or not _same_pid_namespace(qemu_pid):
        raise Refused(
            f"{session.address} cannot carry descriptors, and QEMU does not run here: no way to get at its packets",
            hint="Give the VM a monitor on a unix socket (-qmp unix:PATH,server=on,wait=off) and run qmon beside it, "
            "or ask for --remote-mirror after reading about its risk.",
        )
    yield f"/proc/{os.getpid()}/fd/{fd}"


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
