"""The way of frames into a VM: a redirector on a netdev, and the socket from which QEMU takes what it puts on the wire.

A `filter-redirector` with only an `indev` takes nothing away: each frame it reads goes on from its place among the
netdev's filters (net/filter-mirror.c). That place is the one from which every other filter sees the frame: the head
toward the guest, the tail toward the network.

Owns the order: probe, chardev, filter; the reverse on the way out. Must never leave anything in the VM, and never wait
for QEMU without a deadline. When qmon is killed its end of the socket closes: QEMU then holds a redirector that reads
nothing, until the next sweep.
"""

from __future__ import annotations

import asyncio
import fcntl
import secrets
import socket
import struct
import termios
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress
from enum import StrEnum

from qmon.errors import Interrupted, Refused, TimedOut, UsageError
from qmon.monitor import commands
from qmon.monitor.protocol import Monitor
from qmon.monitor.sharing import runtime_directory
from qmon.monitor.unix import socket_name, unix_socket
from qmon.network.ids import Purpose, new_id
from qmon.network.model import Filter
from qmon.network.probe import why_unfilterable
from qmon.packets.batch import Direction

# An Ethernet header; and what QEMU's buffer holds (net/net.h: NET_BUFSIZE), a longer one ends the redirector.
LEAST_BYTES, MOST_BYTES = 14, 4096 + 65536
REMOVAL_S = 3.0
_TAKING_S, _CONNECT_S = 5.0, 5.0
_FLUSH_TURNS, _FLUSH_S = 100, 0.005


class Toward(StrEnum):
    """Which way a frame is put on the wire."""

    GUEST = "guest"
    NETWORK = "network"

    @property
    def direction(self) -> Direction:
        """The direction that a capture of the VM shows for it."""
        return Direction.IN if self is Toward.GUEST else Direction.OUT


# QEMU's queue, and the place from which every other filter sees what is put there.
_PLACES = {Toward.GUEST: ("tx", "head"), Toward.NETWORK: ("rx", "tail")}


class Injection:
    """A redirector on `netdev`; made by `open`, used by `send`, gone after `close`.

    `session` gives the monitor while there is one.
    """

    def __init__(self, session: Callable[[], Monitor | None], netdev: str, toward: Toward) -> None:
        self.netdev = netdev
        self.toward = toward
        self._session = session
        self._name = new_id(Purpose.WIRE)
        self._socket: socket.socket | None = None
        self._sending = asyncio.Lock()
        self._cut = False

    def __repr__(self) -> str:
        state = "open" if self._socket else "closed"
        return f"<Injection {self._name} on {self.netdev} toward the {self.toward}, {state}>"

    async def open(self) -> None:
        """Put the redirector into the VM; `Refused` says why that cannot be. Not to be cancelled half-way."""
        session = self._attached()
        problem = await why_unfilterable(session, self.netdev)
        if problem is not None:
            raise problem
        async with AsyncExitStack() as undo:
            undo.push_async_callback(self._remove, session)
            self._socket = await self._connected(session)
            await self._add(session)
            undo.pop_all()

    async def _add(self, session: Monitor) -> None:
        queue, position = _PLACES[self.toward]
        await commands.add_redirector(
            session, self._name, netdev=self.netdev, indev=self._name, queue=queue, position=position
        )

    def is_behind(self, filters: Sequence[Filter]) -> bool:
        """Say whether one of the netdev's filters would not see what is sent: one that came later."""
        names = [one.id for one in filters]
        if self._name not in names:
            return False
        place = names.index(self._name)
        unseeing = filters[:place] if self.toward is Toward.GUEST else filters[place + 1 :]
        # Another qmon's way onto the wire needs to see nothing.
        return any(one.type != "filter-redirector" for one in unseeing)

    async def move(self) -> None:
        """Take the place again from which every filter sees what is sent. Not to be cancelled half-way."""
        session = self._attached()
        async with self._sending:
            await self.flush()
            await commands.object_del(session, self._name, timeout_s=REMOVAL_S)
            await self._add(session)

    async def send(self, frame: bytes) -> None:
        """Have QEMU put a frame on the wire; `Refused` if it takes none.

        `frame` includes what the netdev wants before it (a virtio-net header).
        """
        if not LEAST_BYTES <= len(frame) <= MOST_BYTES:
            raise UsageError(f"a frame of {len(frame)} bytes: QEMU takes {LEAST_BYTES} to {MOST_BYTES}")
        async with self._sending:
            if self._socket is None or self._cut:
                raise Refused(f"nothing can be put on {self.netdev} any more")
            # Should this end half-way, what follows would be read as the rest of this frame.
            self._cut = True
            await self._hand_over(self._socket, struct.pack("!I", len(frame)) + frame)
            self._cut = False

    async def flush(self) -> None:
        """Wait, for a moment, until QEMU has taken all that was sent."""
        for _ in range(_FLUSH_TURNS):
            if self._socket is None or not _unread(self._socket):
                return
            await asyncio.sleep(_FLUSH_S)

    async def close(self) -> bool:
        """Take the redirector out of the VM; say whether that could be done. Not to be cancelled half-way."""
        await self.flush()
        session = self._session()
        removed = session is not None and await self._remove(session)
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        return removed

    def _attached(self) -> Monitor:
        session = self._session()
        if session is None:
            raise Refused(f"nothing can be put on {self.netdev}: the monitor is disconnected")
        return session

    async def _hand_over(self, sock: socket.socket, data: bytes) -> None:
        try:
            async with asyncio.timeout(_TAKING_S):
                await asyncio.get_running_loop().sock_sendall(sock, data)
        except TimeoutError:
            raise TimedOut(
                f"QEMU has taken no frame for {self.netdev} within {_TAKING_S:g} s",
                hint="Its netdev may have been removed, or QEMU is stopped.",
            ) from None
        except OSError as problem:
            raise Refused(
                f"QEMU takes no frames for {self.netdev} any more: {problem.strerror}",
                hint="The VM has ended, or somebody removed qmon's filter from it.",
            ) from problem

    # The socket, by descriptor or by path

    async def _connected(self, session: Monitor) -> socket.socket:
        """Return our end of a socket whose other end is QEMU's chardev."""
        if not session.can_pass_descriptors:
            return await self._connected_by_path(session)
        ours, theirs = socket.socketpair()
        name = new_id(Purpose.FD)
        try:
            ours.setblocking(False)
            await commands.getfd(name).send(session, fd=theirs.fileno())
            try:
                await commands.chardev_add_descriptor(session, self._name, name)
            except Refused:
                await commands.closefd(session, name)
                raise
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        return ours

    async def _connected_by_path(self, session: Monitor) -> socket.socket:
        path = runtime_directory() / f"wire-{secrets.token_hex(8)}"
        with unix_socket() as listener:
            with socket_name(path) as name:
                listener.bind(name)
            try:
                listener.listen(1)
                await commands.chardev_add_unix(session, self._name, str(path))
                async with asyncio.timeout(_CONNECT_S):
                    ours, _ = await asyncio.get_running_loop().sock_accept(listener)
            except Refused as problem:
                raise Refused(
                    f"QEMU cannot connect to {path}: {problem.reason}",
                    hint=f"{session.address} cannot carry descriptors, so QEMU has to reach qmon's socket by its path: "
                    "it must run on this host, and be allowed to. A monitor on a unix socket needs no path.",
                ) from problem
            except TimeoutError:
                raise Refused(f"QEMU did not connect to {path}") from None
            finally:
                path.unlink(missing_ok=True)
        ours.setblocking(False)
        return ours

    async def _remove(self, session: Monitor) -> bool:
        """Remove filter and chardev, as far as they are there; False if the monitor did not answer."""
        try:
            with suppress(Refused):  # Its netdev was deleted, and the filter with it; or it was never made.
                await commands.object_del(session, self._name, timeout_s=REMOVAL_S)
            with suppress(Refused):
                await commands.chardev_remove(session, self._name, timeout_s=REMOVAL_S)
        except (Interrupted, TimedOut):
            return False
        return True


def _unread(sock: socket.socket) -> int:
    """Return how much of what was written the peer has not read."""
    try:
        return int(struct.unpack("=i", fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)))[0])
    except OSError:
        return 0
