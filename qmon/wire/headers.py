"""The virtio-net header that some netdevs want before each frame put on their wire.

A tap that shares its offloads with the NIC carries a header of zeros before every frame, in both directions (7.2
to 11.1): with virtio-net it is 12 bytes long with a modern driver and 10 with none or an old one, with the other
NICs that use it 10. All other netdevs and NICs have none. Owns the finding of that length. Must never keep QEMU's tap
open: it would outlive the VM.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import struct
from collections.abc import Callable
from pathlib import Path

from qmon.capture.describe import HEADER_BACKENDS, shares_headers
from qmon.capture.taps.host import interface_of, tun_name
from qmon.errors import Refused
from qmon.network.model import Netdev, Network, Nic

# linux/if_tun.h, and the number that pidfd_getfd(2) has on every machine.
_TUNGETVNETHDRSZ, _PIDFD_GETFD = 0x800454D7, 438
_SHORT, _LONG, _LONGEST = 10, 12, 20


def header_of(network: Network, netdev: Netdev, nic: Nic | None, pid: int | None) -> Callable[[], bytes]:
    """Return what tells the header that a netdev wants now; the guest's driver may change it at any time."""
    model = (nic.model or "") if nic else ""
    if netdev.type not in HEADER_BACKENDS or netdev.hub is not None or not shares_headers(model):
        return bytes
    tap = _Tap(network, netdev.id, pid, _LONG if model.startswith("virtio") else _SHORT)
    return lambda: bytes(tap.header_bytes())


class _Tap:
    """QEMU's descriptor of a tap, asked for the length of its headers; `likely` is it where asking is forbidden."""

    def __init__(self, network: Network, netdev: str, pid: int | None, likely: int) -> None:
        self._pid = pid
        self._likely = likely
        self._descriptor = _descriptor_of(network, netdev, pid) if pid is not None else None

    def __repr__(self) -> str:
        return f"<tap descriptor {self._descriptor} of {self._pid}>"

    def header_bytes(self) -> int:
        if self._pid is None or self._descriptor is None:
            return self._likely
        try:
            size = _asked(self._pid, self._descriptor)
        except OSError:
            return self._likely
        return size if 0 <= size <= _LONGEST else self._likely


def _descriptor_of(network: Network, netdev: str, pid: int) -> int | None:
    try:
        name = interface_of(network, netdev, pid)
        numbers = [int(entry.name) for entry in Path(f"/proc/{pid}/fd").iterdir()]
    except (OSError, Refused):
        return None
    return next((one for one in numbers if tun_name(pid, str(one)) == name), None)


def _asked(pid: int, descriptor: int) -> int:
    process = os.pidfd_open(pid)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        copy = libc.syscall(_PIDFD_GETFD, process, descriptor, 0)
        if copy < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        try:
            return int(struct.unpack("=i", fcntl.ioctl(copy, _TUNGETVNETHDRSZ, bytes(4)))[0])
        finally:
            os.close(copy)
    finally:
        os.close(process)
