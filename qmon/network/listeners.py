"""Who has a port of the host that a forward was to have.

Owns the looking into `/proc`. Must never connect to anything, and never guess: a holder that is not visible from here
is said to be just that.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from qmon.monitor.aside import aside
from qmon.monitor.processes import InetRow, Owners, inet_rows

_LISTENING = 10
_EVERY = frozenset({"0.0.0.0", "::"})
_LOOK_S = 5.0


async def holder(protocol: str, host: str, port: int, *, vm_pid: int | None) -> str | None:
    """Say what has `port` in the VM's network namespace, None if nothing is seen to; `host` without brackets.

    `protocol` is ``tcp`` or ``udp``. Without the VM's pid, the place looked at is this process's own namespace.
    """
    try:
        return await aside(partial(_holder, protocol, host, port, vm_pid), timeout_s=_LOOK_S)
    except TimeoutError:
        return None


def _holder(protocol: str, host: str, port: int, vm_pid: int | None) -> str | None:
    rows = [row for row in _rows(protocol, vm_pid) if row.local[1] == port]
    in_the_way = [row for row in rows if host in _EVERY or row.local[0] in _EVERY | {host}]
    if protocol == "tcp":
        in_the_way = [row for row in in_the_way if row.state == _LISTENING]
    if not in_the_way:
        return None
    owner = Owners().of(tuple(row.inode for row in in_the_way))
    if owner is None:
        return "a process that is not visible to this user"
    return f"the VM itself, {owner}" if owner.pid == vm_pid else str(owner)


def _rows(protocol: str, vm_pid: int | None) -> Iterator[InetRow]:
    for family in ("", "6"):
        try:
            yield from inet_rows(f"/proc/{vm_pid or 'self'}/net/{protocol}{family}")
        except OSError:
            continue
