"""Unix sockets: making them, and naming those whose path is too long for an address.

Owns nothing else. Must never decide whether a socket may be connected to.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SUN_PATH_BYTES = 107


def unix_socket() -> socket.socket:
    """Return a new non-blocking stream socket that no child inherits."""
    return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)


def connect(sock: socket.socket, path: str) -> None:
    """Connect to a path, or to an abstract name that starts with ``@``; immediate, OSError if refused."""
    if path.startswith("@"):
        sock.connect(b"\0" + os.fsencode(path[1:]))
    else:
        with socket_name(Path(path)) as name:
            sock.connect(name)


@contextmanager
def socket_name(path: Path) -> Iterator[str]:
    """Yield a name that fits into an address: of a long path, by way of its directory's descriptor.

    A VM started with a short relative path may have a long absolute one.
    """
    if len(os.fsencode(path)) <= _SUN_PATH_BYTES:
        yield str(path)
        return
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)
