"""Why a guest behind user networking can ping beyond the VM, or cannot: the kernel's `ping_group_range`.

The user-mode stack passes an echo on by a socket that the kernel gives only to the groups of that range, or to a
process that may open raw ones (ping(7) of socket, libslirp's ip_icmp.c). Owns the looking and the one change.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from qmon.errors import QmonError, Refused

SYSCTL = "net.ipv4.ping_group_range"
_FILE = "/proc/sys/net/ipv4/ping_group_range"
_CAP_NET_RAW = 13


@dataclass(frozen=True, slots=True)
class PingRights:
    """What lets a QEMU ping: `group` is what it runs as, `groups` the further ones, `raw` whether it needs no group.

    `low` to `high` is the range of its network namespace; nobody is in it where `low` is the greater.
    """

    pid: int
    group: int
    groups: tuple[int, ...]
    raw: bool
    low: int
    high: int

    @property
    def allowed(self) -> bool:
        """Tell whether this QEMU's guests can ping."""
        return self.raw or any(self.low <= group <= self.high for group in (self.group, *self.groups))

    @property
    def wanted(self) -> str:
        """Return the least range that has all it has now, and QEMU's group."""
        if self.low > self.high:
            return f"{self.group} {self.group}"
        return f"{min(self.low, self.group)} {max(self.high, self.group)}"


def ping_rights(pid: int) -> PingRights:
    """Look at a QEMU process; `Refused` if it cannot be looked at."""
    try:
        status = dict(
            line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line
        )
    except OSError as problem:
        raise Refused(f"pid {pid} cannot be looked at: {problem.strerror}") from None
    low, high = map(int, _in_network_of(pid, ["cat", _FILE]).split())
    return PingRights(
        pid,
        int(status["Gid"].split()[1]),
        tuple(map(int, status["Groups"].split())),
        bool(int(status["CapEff"], 16) >> _CAP_NET_RAW & 1),
        low,
        high,
    )


def set_words(rights: PingRights) -> list[str]:
    """Return the command that lets QEMU's group ping."""
    return ["sysctl", "-w", f"{SYSCTL}={rights.wanted}"]


def let_ping(rights: PingRights) -> PingRights:
    """Widen the range until QEMU's group is in it, and return how it stands then; `Refused` without root's rights."""
    if os.geteuid() != 0:
        raise Refused(
            "only root can set the range of groups that may ping",
            hint=f"As root: sysctl -w {SYSCTL}='{rights.wanted}'",
        )
    _in_network_of(rights.pid, ["sh", "-c", f"echo '{rights.wanted}' > {_FILE}"])
    return ping_rights(rights.pid)


def _in_network_of(pid: int, words: list[str]) -> str:
    """Run a command in a process's network namespace, of which `/proc/sys/net` is a part."""
    try:
        elsewhere = os.readlink(f"/proc/{pid}/ns/net") != os.readlink("/proc/self/ns/net")  # noqa: PTH115
        prefix = ["nsenter", f"--net=/proc/{pid}/ns/net", "--"] if elsewhere else []
        done = subprocess.run([*prefix, *words], capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError) as problem:
        said = str(getattr(problem, "stderr", "") or problem).strip()
        raise QmonError(f"the network namespace of pid {pid} cannot be entered: {said}") from None
    return done.stdout
