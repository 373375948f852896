"""A monitor's socket with a listener in between, that writes down what goes each way, descriptors counted."""

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from tests.fakes.conversation import Line

_READ_BYTES = 1 << 20


class Proxy:
    """Passes one client on to the monitor at `target`; `lines` is what was said, in order."""

    def __init__(self, path: Path, target: str) -> None:
        self.path = path
        self.lines: list[Line] = []
        self._target = target
        self._passed = 0
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self._listener.bind(str(path))
        self._listener.listen(1)

    async def serve(self) -> None:
        """Serve the one client until either end closes."""
        loop = asyncio.get_running_loop()
        client, _ = await loop.sock_accept(self._listener)
        with client, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as qemu:
            qemu.connect(self._target)
            pumps = [
                asyncio.create_task(self._pump(client, qemu, "qmon"), name="proxy: to QEMU"),
                asyncio.create_task(self._pump(qemu, client, "qemu"), name="proxy: from QEMU"),
            ]
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
                await asyncio.wait(pumps)

    async def _pump(self, source: socket.socket, sink: socket.socket, sender: str) -> None:
        loop = asyncio.get_running_loop()
        text = b""
        with suppress(OSError):
            while True:
                readable = asyncio.Event()
                loop.add_reader(source, readable.set)
                try:
                    await readable.wait()
                finally:
                    loop.remove_reader(source)
                data, rights, _, _ = source.recvmsg(
                    _READ_BYTES, socket.CMSG_SPACE(64), socket.MSG_CMSG_CLOEXEC
                )
                if not data:
                    return
                text = self._note(text + data, sender)
                for _, _, passed in rights:
                    # The byte that carries the descriptor goes with it, and before what follows.
                    fds = struct.unpack(f"={len(passed) // 4}i", passed)
                    self._passed += len(fds)
                    socket.send_fds(sink, [data[:1]], list(fds))
                    data = data[1:]
                    for fd in fds:
                        socket.close(fd)
                await loop.sock_sendall(sink, data)

    def _note(self, text: bytes, sender: str) -> bytes:
        *whole, rest = text.split(b"\n")
        for line in whole:
            if line.strip():
                passed = 0
                if sender == "qmon" and b'"add-fd"' in line:
                    passed, self._passed = self._passed, 0
                self.lines.append(Line("", sender, json.loads(line), passed))
        return rest


@asynccontextmanager
async def proxied(path: Path, target: str) -> AsyncIterator[Proxy]:
    """A proxy at `path` in front of `target`, for the length of the block."""
    proxy = Proxy(path, target)
    task = asyncio.create_task(proxy.serve(), name="proxy")
    try:
        yield proxy
    finally:
        task.cancel()
        await asyncio.wait([task])
