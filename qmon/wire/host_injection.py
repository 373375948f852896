"""The way of frames to a guest by the host's side of its tap, where QEMU has no filters: vhost, several queues.

What is sent out of a tap's interface is what the guest receives. Nothing of the kind exists toward the network: what
comes in from a tap comes from QEMU alone. Owns a packet socket on the interface. Must never change the interface.
"""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor

from qmon.capture.taps.host import enter_network, interface_of
from qmon.errors import Refused, UsageError
from qmon.network.model import Network
from qmon.wire.injection import LEAST_BYTES, Toward

_NEEDS_ROOT = (
    "Sending on a host interface needs root, or CAP_NET_RAW (and CAP_SYS_ADMIN for another namespace)."
)
_TURNS, _TURN_S = 100, 0.01


class HostInjection:
    """A packet socket on the interface behind a netdev of the VM `pid`; `refusal` is why QEMU itself cannot."""

    def __init__(
        self, network: Network, netdev: str, pid: int | None, toward: Toward, refusal: Refused
    ) -> None:
        self.netdev = netdev
        self._network = network
        self._pid = pid
        self._toward = toward
        self._refusal = refusal
        self._socket: socket.socket | None = None

    def __repr__(self) -> str:
        return f"<HostInjection on {self.netdev}, {'open' if self._socket else 'closed'}>"

    async def open(self) -> None:
        """Open the socket; `Refused` says why that cannot be."""
        if self._toward is Toward.NETWORK:
            raise Refused(
                f"cannot send toward the network of {self.netdev}: {self._refusal.message}, and what its interface on "
                "the host takes goes to the guest",
                hint="Ask from the host itself, which is on that network; or start the VM with vhost=off, without "
                "queues=.",
                reason=self._refusal.reason,
            )
        if self._pid is None:
            raise Refused(
                f"{self._refusal.message}, and QEMU does not run where its host's interfaces are seen"
            )
        name, pid = interface_of(self._network, self.netdev, self._pid), self._pid
        with ThreadPoolExecutor(1, thread_name_prefix="enter a namespace") as thread:
            self._socket = await asyncio.wrap_future(thread.submit(_open, name, pid))

    async def send(self, frame: bytes) -> None:
        """Send a frame to the guest."""
        if len(frame) < LEAST_BYTES:
            raise UsageError(f"a frame of {len(frame)} bytes: the least is {LEAST_BYTES}")
        if self._socket is None:
            raise Refused(f"nothing can be put on {self.netdev} any more")
        for _ in range(_TURNS):
            try:
                self._socket.send(frame)
            except (BlockingIOError, InterruptedError):
                await asyncio.sleep(_TURN_S)
            except OSError as problem:
                raise Refused(
                    f"the host's side of {self.netdev} takes no frame: {problem.strerror}"
                ) from problem
            else:
                return
        raise Refused(f"the host's side of {self.netdev} is full: the guest takes nothing")

    async def close(self) -> bool:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        return True


def _open(name: str, pid: int) -> socket.socket:
    enter_network(pid, name)
    try:
        made = socket.socket(
            socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, 0
        )
    except OSError as problem:
        raise Refused(
            f"cannot send on the host interface {name}: {problem.strerror}", hint=_NEEDS_ROOT
        ) from problem
    try:
        made.bind((name, 0))
    except OSError as problem:
        made.close()
        raise Refused(
            f"cannot send on the host interface {name}: {problem.strerror}", hint=_NEEDS_ROOT
        ) from problem
    return made
