"""Unix sockets: making them, and naming those whose path is too long for an address.

Owns nothing else. Must never decide whether a socket may be connected to.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qmon.monitor.address import UnixAddress

# The kernel's sun_path (linux/un.h); a path ends with a NUL, an abstract name begins with one.
SUN_PATH_BYTES = 108


def unix_socket() -> socket.socket:
    """Return a new non-blocking stream socket that no child inherits."""
    return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)


def abstract_name(address: UnixAddress) -> bytes | None:
    """Return the kernel's name of an abstract socket, None for one that has a path."""
    if not address.path.startswith("@"):
        return None
    name = b"\0" + os.fsencode(address.path[1:])
    return name.ljust(SUN_PATH_BYTES, b"\0") if address.padded else name


def connect(sock: socket.socket, address: UnixAddress) -> None:
    """Connect to a unix socket; immediate, OSError if refused."""
    abstract = abstract_name(address)
    if abstract is not None:
        sock.connect(abstract)
    else:
        with socket_name(Path(address.path)) as name:
            sock.connect(name)


@contextmanager
def socket_name(path: Path) -> Iterator[str]:
    """Yield a name that fits into an address: of a long path, by way of its directory's descriptor.

    A VM started with a short relative path may have a long absolute one.
    """
    if len(os.fsencode(path)) < SUN_PATH_BYTES:
        yield str(path)
        return
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)
