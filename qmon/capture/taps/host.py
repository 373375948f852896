"""The host's side of a tap, for netdevs that QEMU cannot filter: vhost, several queues.

Owns libpcap's live capture on the host interface, one handle a direction, and the finding of the interface behind a
netdev, in whatever network namespace it is. Must never change the interface.
"""

from __future__ import annotations

import ctypes
import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from qmon.errors import Refused
from qmon.network.model import Network
from qmon.packets.batch import Direction, FrameBatch

if TYPE_CHECKING:
    import cypcap

_RING_BYTES = 16 << 20
_CLONE_NEWNET = 0x40000000  # linux/sched.h
_IFNAME = re.compile(r"(?:^|,)ifname=([^,]+)")
_FD = re.compile(r"(?:^|,)fd=(\d+)")
_NEEDS_ROOT = (
    "Capturing on a host interface needs root, or CAP_NET_RAW (and CAP_SYS_ADMIN for another namespace)."
)


class HostTap:
    """An open capture on a host interface; `read` never waits."""

    def __init__(self, name: str, handles: tuple[tuple[cypcap.Pcap, Direction], ...]) -> None:
        self.name = name
        self._handles = handles

    def __repr__(self) -> str:
        return f"<HostTap {self.name}>"

    def read(self, interface: int) -> FrameBatch | None:
        """Return the frames since the last reading, by their times; their interface is set to `interface`."""
        frames: list[bytes] = []
        times: list[int] = []
        lengths: list[int] = []
        directions: list[int] = []
        for handle, direction in self._handles:

            def take(header: cypcap.Pkthdr, data: bytes, direction: Direction = direction) -> None:
                frames.append(data)
                # A float holds today's times to a quarter of a microsecond; libpcap's are whole ones.
                times.append(round(header.ts * 1e6) * 1000)
                lengths.append(header.len)
                directions.append(direction)

            handle.dispatch(-1, take)
        if not frames:
            return None
        batch = FrameBatch.from_frames(
            frames, time_ns=times, length=lengths, interface=interface, direction=directions
        )
        # Of equal times, what the guest sent first: its handle is read first.
        return batch.select(np.argsort(batch.time_ns, kind="stable"))

    @property
    def dropped(self) -> int:
        """How many frames the kernel had no room for."""
        return sum(int(handle.stats().drop) for handle, _ in self._handles)

    def close(self) -> None:
        """End the capture."""
        for handle, _ in self._handles:
            handle.close()


def open_host_tap(network: Network, netdev: str, pid: int | None, snaplen: int) -> HostTap:
    """Capture on the host interface behind a netdev of the VM `pid`; `Refused` says why that cannot be done."""
    if pid is None:
        raise Refused("QEMU does not run where qmon can see its host's interfaces")
    name = interface_of(network, netdev, pid)
    with ThreadPoolExecutor(1, thread_name_prefix="enter a namespace") as thread:
        return thread.submit(_open_in_namespace, name, pid, snaplen).result()


def interface_of(network: Network, netdev: str, pid: int) -> str:
    """Return the name of a netdev's host interface: as QEMU says, or from the descriptor that QEMU was given."""
    known = network.netdev(netdev)
    info = known.info if known else ""
    if known is None or known.type not in ("tap", "bridge"):
        raise Refused(f"{netdev} has no interface on the host")
    if found := _IFNAME.search(info):
        return found[1]
    if (found := _FD.search(info)) and (name := tun_name(pid, found[1])):
        return name
    named = {match[1] for other in network.netdevs if (match := _IFNAME.search(other.info))}
    others = {name for entry in _descriptors(pid) if (name := tun_name(pid, entry))} - named
    if len(others) != 1:
        raise Refused(f"which interface of the host belongs to {netdev} cannot be seen")
    return others.pop()


def _descriptors(pid: int) -> list[str]:
    try:
        return [entry.name for entry in Path(f"/proc/{pid}/fd").iterdir()]
    except OSError:
        return []


def tun_name(pid: int, descriptor: str) -> str | None:
    """Return the interface behind a descriptor of /dev/net/tun (its fdinfo has a line "iff")."""
    try:
        text = Path(f"/proc/{pid}/fdinfo/{descriptor}").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    match = re.search(r"^iff:\s*(\S+)", text, re.MULTILINE)
    return match[1] if match else None


def _open_in_namespace(name: str, pid: int, snaplen: int) -> HostTap:
    """Open the handles from within QEMU's network namespace; runs in a thread of its own, which ends with it."""
    enter_network(pid, name)
    opened = []
    try:
        opened.append(_open(name, Direction.OUT, snaplen))
        opened.append(_open(name, Direction.IN, snaplen))
    except BaseException:
        for handle, _ in opened:
            handle.close()
        raise
    return HostTap(name, tuple(opened))


def enter_network(pid: int, name: str) -> None:
    """Move the calling thread into the network that the interface `name` of the process `pid` is in."""
    theirs = Path(f"/proc/{pid}/ns/net")
    try:
        if theirs.stat().st_ino != Path("/proc/self/ns/net").stat().st_ino:
            _enter(theirs)
    except OSError as problem:
        raise Refused(
            f"the VM's interface {name} is in another network namespace, which cannot be entered: {problem.strerror}",
            hint=_NEEDS_ROOT,
        ) from problem


def _enter(namespace: Path) -> None:
    fd = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.setns(fd, _CLONE_NEWNET) < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
    finally:
        os.close(fd)


def _open(name: str, direction: Direction, snaplen: int) -> tuple[cypcap.Pcap, Direction]:
    import cypcap

    handle = cypcap.create(name)
    try:
        handle.set_snaplen(snaplen)
        handle.set_immediate_mode(True)
        handle.set_buffer_size(_RING_BYTES)
        handle.activate()
        # The host receives what the guest sends.
        handle.setdirection(cypcap.Direction.IN if direction is Direction.OUT else cypcap.Direction.OUT)
        handle.setnonblock(True)
    except cypcap.Error as problem:
        handle.close()
        raise Refused(
            f"cannot capture on the host interface {name}: {problem}", hint=_NEEDS_ROOT
        ) from problem
    return handle, direction
