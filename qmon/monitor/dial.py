"""Connecting a socket to a monitor's address, with a deadline and errors that explain.

Owns the transport only. Must never connect to a monitor that has a client, for QEMU would leave the
connection hanging in front of the next one.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from qmon.errors import CannotAttach
from qmon.monitor import unix

if TYPE_CHECKING:
    from qmon.monitor.address import Address, TcpAddress, UnixAddress


async def dial(address: Address, *, timeout_s: float) -> socket.socket:
    """Return a connected non-blocking socket; `CannotAttach` if nobody listens or the deadline passes."""
    from qmon.monitor.address import UnixAddress

    if isinstance(address, UnixAddress):
        return connect_unix(address)
    try:
        async with asyncio.timeout(timeout_s):
            return await _connect_tcp(address)
    except TimeoutError:
        raise CannotAttach(f"cannot attach to {address}: no connection within {timeout_s:g} s") from None


def connect_unix(address: UnixAddress) -> socket.socket:
    """Connect to a unix socket, which is immediate or refused."""
    sock = unix.unix_socket()
    try:
        unix.connect(sock, address)
    except OSError as problem:
        sock.close()
        why = "that is not a socket" if _is_no_socket(address.path) else _why(problem)
        raise CannotAttach(f"cannot attach to {address}: {why}") from problem
    return sock


def _is_no_socket(path: str) -> bool:
    return not path.startswith("@") and Path(path).exists() and not Path(path).is_socket()


async def _connect_tcp(address: TcpAddress) -> socket.socket:
    loop = asyncio.get_running_loop()
    problem: OSError = OSError(errno.EADDRNOTAVAIL, "the name has no address")
    try:
        found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as unknown:
        raise CannotAttach(f"cannot attach to {address}: {unknown}") from unknown
    for family, kind, protocol, _, place in found:
        sock = socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, protocol)
        try:
            await loop.sock_connect(sock, place)
        except OSError as failure:
            sock.close()
            problem = failure
        except BaseException:
            sock.close()
            raise
        else:
            with suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock
    raise CannotAttach(f"cannot attach to {address}: {_why(problem)}") from problem


def _why(problem: OSError) -> str:
    if problem.errno == errno.EAGAIN:
        return "other clients are waiting for this monitor already"
    if problem.errno == errno.ECONNREFUSED:
        return "nothing listens there"
    if problem.errno == errno.ENOENT:
        return "there is no such socket"
    return problem.strerror or str(problem)
