"""The web servers the demo's guest fetches from: on loopback and on a Unix socket, nowhere else.

Owns the pages. Must never serve a file of the machine's: everything it sends is made up here.
"""

from __future__ import annotations

import random
import socket
import socketserver
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

_WORDS = ("packet", "frame", "netdev", "nic", "hub", "filter", "monitor", "bridge", "gateway", "lease")
_LARGEST = 200_000


def prose(seed: int, length: int) -> bytes:
    """Return `length` bytes of words in lines, the same for the same seed."""
    chance = random.Random(seed)
    text = " ".join(chance.choices(_WORDS, k=length // 4 + 1))
    return "\n".join(text[at : at + 71] for at in range(0, length, 71)).encode()[:length].ljust(length, b".")


class _Pages(BaseHTTPRequestHandler):
    """Answers the guest; the connection is kept open for its next request."""

    protocol_version = "HTTP/1.1"
    server_version = "qmon-demo"
    sys_version = ""
    timeout = 3600
    _prose: ClassVar[bytes] = prose(1, _LARGEST)

    def do_GET(self) -> None:
        """Send the page that the path names."""
        name = self.path.strip("/").partition("?")[0]
        if name == "old-page":
            self._answer(HTTPStatus.FOUND, b"moved\n", Location="/index.html")
        elif name in ("", "index.html"):
            self._answer(HTTPStatus.OK, b"<!doctype html><title>qmon demo</title><h1>Hello, guest</h1>\n")
        elif name == "status.json":
            status = b'{"status": "fine", "time": %d}\n' % time.time()
            self._answer(HTTPStatus.OK, status, Connection="close")
        elif name == "image.png":
            self._answer(HTTPStatus.OK, self._prose[:24_000])
        elif name == "update.bin":
            self._answer(HTTPStatus.OK, self._prose[: random.randrange(20_000, _LARGEST)])
        else:
            self._answer(HTTPStatus.NOT_FOUND, b"there is no such page\n")

    do_HEAD = do_GET  # noqa: N815 - http.server names it; some versions of iPXE ask for the length first.

    def _answer(self, status: HTTPStatus, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", self._type())
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _type(self) -> str:
        suffix = self.path.rpartition(".")[2]
        known = {"json": "application/json", "png": "image/png", "bin": "application/octet-stream"}
        return known.get(suffix, "text/html")

    def log_message(self, *_: Any) -> None:
        """Say nothing: the terminal is the dashboard's."""


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, *_: Any) -> None:
        """A guest that hangs up in the middle of a page is no news."""


class _Server6(_Server):
    address_family = socket.AF_INET6


class _UnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept; the handler wants a host and port to name the peer."""
        connection, _ = super().get_request()
        return connection, ("guest", 0)

    def handle_error(self, *_: Any) -> None:
        """A guest that hangs up in the middle of a page is no news."""


class Servers:
    """The servers, for the length of a `with`.

    `port` is the web server's on 127.0.0.1, `port6` on ::1 (None where this machine has no IPv6 loopback);
    another listens on the Unix socket `path`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._servers: list[socketserver.BaseServer] = []
        self.port = 0
        self.port6: int | None = None

    def __enter__(self) -> Self:
        web = _Server(("127.0.0.1", 0), _Pages)
        self._serve(web)
        self.port = web.server_address[1]
        self._serve(_UnixServer(str(self._path), _Pages))
        try:
            web6 = _Server6(("::1", 0), _Pages)
        except OSError:
            return self
        self._serve(web6)
        self.port6 = web6.server_address[1]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def _serve(self, server: socketserver.BaseServer) -> None:
        self._servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True, name="demo web").start()
