"""scapy on a VM's wire: a socket of scapy's kind, whose frames go to the guest or to its network.

The wire lives on an event loop in a thread of its own; scapy's side is plain and blocking. Between them is a pair of
sockets, so that scapy can wait on it as on any other. Must never let scapy's slowness reach the VM: what it does not
take is dropped and counted.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import ipaddress
import socket
import struct
import threading
import time
from contextlib import AsyncExitStack
from importlib import import_module
from typing import Any

from qmon.errors import UsageError
from qmon.monitor.address import Target, parse_target
from qmon.wire.finding import resolve
from qmon.wire.injection import Toward
from qmon.wire.neighbour import Neighbour
from qmon.wire.opening import Place, open_place, speaking
from qmon.wire.wire import PPS, Ear

_STAMP = struct.Struct("=q")
_BUFFER_BYTES = 8 << 20
_LONGEST = 1 << 17
_SENDING_S = 30.0


class WirePortal:
    """A wire on a thread of its own; `open` starts it, `close` takes everything out of the VM again."""

    def __init__(
        self, target: Target | None, netdev: str | None, toward: Toward, *, pps: float | None, yes: bool
    ) -> None:
        self.toward = toward
        self.dropped = 0
        self.inside, self.outside = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.inside.setblocking(False)
        for one in (self.inside, self.outside):
            one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
        self._asked = target, netdev, pps, yes
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ready: concurrent.futures.Future[Place] = concurrent.futures.Future()
        self._end: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._run, name="a wire for scapy", daemon=True)
        self.mac = ""
        self.address: str | None = None
        self.peer_mac: str | None = None

    def __repr__(self) -> str:
        return f"<WirePortal toward the {self.toward}, {self.dropped} frames dropped>"

    def open(self) -> Place:
        """Attach and return what is on the wire; raises what attaching raises."""
        self._thread.start()
        return self._ready.result()

    def send(self, frame: bytes) -> None:
        """Put a frame on the wire, and wait until QEMU has it."""
        assert self._loop is not None
        place = self._ready.result()
        sending = asyncio.run_coroutine_threadsafe(place.wire.send(self.toward, frame), self._loop)
        sending.result(_SENDING_S)

    def close(self) -> None:
        """Leave the VM as it was."""
        if self._loop is not None and self._end is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._end.set)
        if self._thread.is_alive():
            self._thread.join()
        self.inside.close()
        self.outside.close()

    def _run(self) -> None:
        try:
            asyncio.run(self._live())
        except BaseException as problem:  # noqa: BLE001 (told to whoever opens it)
            if not self._ready.done():
                self._ready.set_exception(problem)

    async def _live(self) -> None:
        target, netdev, pps, yes = self._asked
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()

        async def may_send(_: str) -> bool:
            return yes

        async with AsyncExitStack() as stack:
            place = await stack.enter_async_context(open_place(target, netdev, pps=pps, may_send=may_send))
            if self.toward is Toward.NETWORK:
                await place.allow_network("")
            if place.alone and place.subnet is not None:
                us = await stack.enter_async_context(speaking(place, None))
                self.mac, self.address = us.mac, us.address
                self.peer_mac = await self._peer(place, us)
            ear = stack.enter_context(place.wire.hear(everything=True))
            await place.wire.open(self.toward)
            self._ready.set_result(place)
            hearing = asyncio.create_task(self._pass_on(ear), name="pass frames on to scapy")
            await self._end.wait()
            hearing.cancel()
            await asyncio.wait([hearing])

    async def _peer(self, place: Place, us: Neighbour) -> str | None:
        """Return who packets are handed to: the guest's NIC, or the router."""
        if self.toward is Toward.GUEST:
            return place.nic.mac if place.nic else None
        router = place.subnet.router if place.subnet else None
        found = await resolve(place.wire, us, router, toward=Toward.NETWORK) if router else None
        return found.mac if found else None

    async def _pass_on(self, ear: Ear) -> None:
        while True:
            heard = await ear.next()
            assert heard is not None
            if heard.direction is self.toward.direction:
                continue  # What goes the way we send: others' frames, and our own.
            try:
                self.inside.send(_STAMP.pack(heard.time_ns) + heard.frame)
            except OSError:
                self.dropped += 1


def open_socket(
    vm: str | None = None,
    netdev: str | None = None,
    *,
    toward: str = "guest",
    pps: float | None = PPS,
    yes: bool = False,
) -> Any:
    """Return a `scapy.supersocket.SuperSocket` on a VM's wire; see `qmon.scapy_socket`."""
    if toward not in list(Toward):
        raise UsageError(f"toward='{toward}': it is guest or network")
    base = import_module("scapy.all").SuperSocket
    portal = WirePortal(parse_target(vm) if vm else None, netdev, Toward(toward), pps=pps, yes=yes)
    try:
        place = portal.open()
    except BaseException:
        portal.close()
        raise
    return _class_of(base)(portal, place)


def _is_to_many(packet: Any) -> bool:
    try:
        address = ipaddress.ip_address(str(packet.dst))
    except ValueError:
        return False  # A network of scapy's, or a host's name.
    return address.is_multicast or str(address) == "255.255.255.255"


def _class_of(base: Any) -> Any:
    library = import_module("scapy.all")

    class WireSocket(base):  # type: ignore[misc]
        """scapy's socket on a VM's wire.

        `mac` and `address` are a neighbour's that nobody else uses (empty where none is known), `peer_mac` is who a
        packet without a link layer goes to.
        """

        desc = "a VM's wire, by qmon"

        def __init__(self, portal: WirePortal, place: Place) -> None:
            self.closed = False
            self.portal = portal
            self.ins = self.outs = portal.outside
            self.promisc, self.iface = True, place.netdev.id
            self.mac, self.address = portal.mac, portal.address
            self.peer_mac = portal.peer_mac

        def linked(self, packet: Any) -> Any:
            """Return a packet with a link layer, and from the neighbour's address, where it has none of its own."""
            if isinstance(packet, library.IP) and self.address and "src" not in packet.fields:
                packet = packet.copy()
                packet.src = self.address
            if isinstance(packet, library.IP | library.IPv6) and self.mac and self.peer_mac:
                return library.Ether(src=self.mac, dst=self.peer_mac) / packet
            if isinstance(packet, library.Ether) and self.mac and self.peer_mac:
                packet = self._filled(packet)
            return packet

        def _filled(self, packet: Any) -> Any:
            # Left to scapy, a missing address would be the host's own, or be asked for on the host's network.
            given = packet.fields
            to_one = isinstance(packet.payload, library.IP | library.IPv6) and not _is_to_many(packet.payload)
            if "src" in given and ("dst" in given or not to_one):
                return packet
            packet = packet.copy()
            if "src" not in given:
                packet.src = self.mac
            if "dst" not in given and to_one:
                packet.dst = self.peer_mac
            return packet

        def send(self, x: Any) -> int:
            """Put a packet on the wire, and wait until QEMU has it."""
            frame = bytes(self.linked(x))
            if isinstance(x, library.Packet):
                x.sent_time = time.time()
            self.portal.send(frame)
            return len(frame)

        def recv_raw(self, x: int = _LONGEST) -> tuple[Any, bytes | None, float | None]:
            """Return scapy's class, the bytes and the time of the next frame."""
            data = self.ins.recv(max(x, _LONGEST))
            return library.Ether, data[_STAMP.size :], _STAMP.unpack(data[: _STAMP.size])[0] / 1e9

        def sr(self, x: Any, *arguments: Any, **named: Any) -> Any:
            """Send packets and return (answered, unanswered), as scapy's `sr`."""
            return super().sr(self._all_linked(x), *arguments, **named)

        def sr1(self, x: Any, *arguments: Any, **named: Any) -> Any:
            """Send a packet and return the first answer, as scapy's `sr1`; with its link layer."""
            return super().sr1(self._all_linked(x), *arguments, **named)

        def _all_linked(self, x: Any) -> Any:
            if isinstance(x, library.Packet):
                return self.linked(x)
            return [self.linked(one) for one in x]

        def close(self) -> None:
            """Leave the VM as it was."""
            if not self.closed:
                self.closed = True
                self.portal.close()

    return WireSocket
