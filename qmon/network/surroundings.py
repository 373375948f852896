"""What can be seen of a QEMU process on this host, for the rules of `hazards`.

Owns the looking. Must never judge, and never take what is hidden for what is not there.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from qmon.monitor.discovery import read_vm
from qmon.network.hazards import Surroundings

_VHOST_NET = "dev/vhost-net"


def surroundings(pid: int | None) -> Surroundings:
    """Return what is known of the QEMU at the monitor's other end, `pid`.

    Nothing is where that is no QEMU of this host: a relay such as ssh's stands for one that runs elsewhere.
    """
    if pid is None or read_vm(pid) is None:
        return Surroundings()
    return Surroundings(_opens_vhost_net(pid), _descriptors(pid))


def _opens_vhost_net(pid: int) -> bool | None:
    device = Path(f"/proc/{pid}/root", _VHOST_NET)
    try:
        if not os.access(device.parent, os.X_OK):
            return None
        if device.exists() and Path(f"/proc/{pid}").stat().st_uid != os.geteuid():
            return None
        # Only opening tells: the node may be there without its module.
        os.close(os.open(device, os.O_RDWR | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def _descriptors(pid: int) -> dict[str, str] | None:
    found: dict[str, str] = {}
    try:
        for link in os.scandir(f"/proc/{pid}/fd"):
            with suppress(FileNotFoundError):
                found[link.name] = os.readlink(link.path)  # noqa: PTH115
    except OSError:
        return None
    return found
