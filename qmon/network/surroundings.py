"""What can be seen of a QEMU process on this host, for the rules of `hazards`.

Owns the looking. Must never judge, and never take what is hidden for what is not there.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from qmon.monitor.discovery import seen
from qmon.network.hazards import Surroundings

if TYPE_CHECKING:
    from qmon.monitor.discovery import Vm

_VHOST_NET = "dev/vhost-net"


async def surroundings(pid: int | None) -> Surroundings:
    """Return what is known of the QEMU at the monitor's other end, `pid`.

    Nothing is where that is no QEMU of this host: a relay such as ssh's stands for one that runs elsewhere.
    """
    vm = await seen(pid)
    if vm is None:
        return Surroundings()
    return Surroundings(_opens_vhost_net(vm), _descriptors(vm.pid))


def _opens_vhost_net(vm: Vm) -> bool | None:
    device = f"/proc/{vm.pid}/root/{_VHOST_NET}"
    try:
        if not os.access(os.path.dirname(device), os.X_OK):  # noqa: PTH120
            return None
        held = os.open(device, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        if not stat.S_ISCHR(os.fstat(held).st_mode):
            return False
        if vm.uid != os.geteuid():
            return None
        # Only opening tells: the node may be there without its module.
        os.close(os.open(f"/proc/self/fd/{held}", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError:
        return False
    finally:
        os.close(held)
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
