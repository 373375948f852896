"""Taps on a VM of another host: frames mirrored to us over TCP, for monitors that carry no descriptors.

QEMU writes to the mirror's socket and waits while it is full: a slow network or a stopped host on our side can hold
the VM up. That is why this is only done when asked for. Owns the order: listen, connect, read, then add the filter;
the reverse on the way out. Must never add a filter whose socket nobody reads.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import subprocess
import sys
from contextlib import AsyncExitStack
from pathlib import Path

from qmon.capture.reading import kernel
from qmon.capture.reading.channel import Channel
from qmon.capture.reading.follower import Follower
from qmon.capture.taps.filters import QUEUES, REMOVAL_S, TapContext, probe_netdev, remove_filter
from qmon.capture.taps.guardian_main import allowance
from qmon.errors import QmonError, Refused
from qmon.monitor import commands
from qmon.monitor.address import TcpAddress
from qmon.network.ids import Purpose, new_id

_MAIN = Path(__file__).with_name("mirror_main.py")
_CONNECT_S = 5.0
_ENDING_S = 2.0


class MirrorReader:
    """The process that reads the mirrors of one netdev."""

    def __init__(self, process: subprocess.Popen[bytes], counter: int) -> None:
        self._process = process
        self._counter = counter

    def __repr__(self) -> str:
        return f"<MirrorReader pid={self._process.pid} dropped={self.dropped}>"

    @property
    def dropped(self) -> int:
        """How many frames it had no room for."""
        return int.from_bytes(os.pread(self._counter, 8, 0), "little")

    def end(self) -> None:
        """Wait for its end, which comes when QEMU has closed the sockets."""
        try:
            self._process.wait(_ENDING_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def close(self) -> None:
        """Let go of the counter; it cannot be asked for `dropped` any more."""
        os.close(self._counter)


async def open_mirror(
    context: TapContext, netdev: str, interface: int
) -> tuple[tuple[Channel, ...], MirrorReader]:
    """Mirror both directions of a netdev to this host; `Refused` says why not."""
    await probe_netdev(context, netdev)
    address = context.session.address
    if not isinstance(address, TcpAddress):
        raise Refused("a mirror is for monitors reached over TCP")
    async with AsyncExitStack() as undo:
        sockets, channels = [], []
        readers: list[MirrorReader] = []
        # It ends when QEMU has closed the sockets, and has to be waited for after that.
        undo.push_async_callback(_close_all, readers)
        for queue, direction in QUEUES:
            name = new_id(Purpose(queue))
            undo.push_async_callback(remove_chardev, context, name)
            port = await _listen(context, name, address.host)
            sockets.append(await _connect(address.host, port))
            undo.callback(sockets[-1].close)
            follower = Follower(kernel.memory_file(f"qmon {netdev[:100]} {queue}"))
            channels.append(Channel(netdev, interface, name, direction, follower))
            undo.callback(follower.close)
        # What waits does so in our own memory, not in QEMU's.
        readers.append(_start(allowance(0, context.limit_bytes, 0), sockets, channels))
        for channel, (queue, _) in zip(channels, QUEUES, strict=True):
            undo.push_async_callback(remove_filter, context.session, channel)
            await commands.add_mirror(
                context.session, channel.filter_id, netdev=netdev, outdev=channel.filter_id, queue=queue
            )
        undo.pop_all()
    for one in sockets:
        one.close()
    return tuple(channels), readers[0]


async def _close_all(readers: list[MirrorReader]) -> None:
    for reader in readers:
        await asyncio.to_thread(reader.end)
        reader.close()


async def remove_chardev(context: TapContext, name: str) -> None:
    """Remove a mirror's socket from QEMU, after its filter."""
    try:
        await commands.chardev_remove(context.session, name, timeout_s=REMOVAL_S)
    except QmonError:
        return  # Never made, or gone with the VM.


async def _listen(context: TapContext, name: str, host: str) -> int:
    """Have QEMU listen on a port of its own choice, without waiting for anyone; return the port."""
    await commands.chardev_add_listener(context.session, name, host)
    for one in await commands.query_chardev(context.session):
        if one.label == name:
            match = re.search(r":(\d+)(?:,|$)", one.filename.split(" <->")[0])
            if match:
                return int(match[1])
    raise Refused(f"QEMU does not say where it listens for {name}")


async def _connect(host: str, port: int) -> socket.socket:
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    family, kind, protocol, _, where = found[0]
    one = socket.socket(family, kind, protocol)
    one.setblocking(False)
    try:
        async with asyncio.timeout(_CONNECT_S):
            await loop.sock_connect(one, where)
    except asyncio.CancelledError:
        one.close()
        raise
    except (OSError, TimeoutError) as problem:
        one.close()
        raise Refused(
            f"cannot connect to port {port} of {host}, where QEMU would mirror to: {problem or 'no answer'}",
            hint="A firewall between the hosts may forbid it.",
        ) from problem
    return one


def _start(limit_bytes: int, sockets: list[socket.socket], channels: list[Channel]) -> MirrorReader:
    counter = kernel.memory_file("qmon mirror counter")
    ourselves = os.pidfd_open(os.getpid())
    pairs = [(one.fileno(), channel.follower.fd) for one, channel in zip(sockets, channels, strict=True)]
    words = [sys.executable, "-I", "-S", str(_MAIN), str(ourselves), str(counter)]
    words += [str(limit_bytes // len(pairs)), *(f"{source}:{target}" for source, target in pairs)]
    try:
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[ourselves, counter, *(fd for pair in pairs for fd in pair)],
            start_new_session=True,
            cwd="/",
        )
    except OSError as problem:
        os.close(counter)
        raise QmonError(f"cannot start the process that reads the mirror: {problem.strerror}") from problem
    finally:
        os.close(ourselves)
    return MirrorReader(process, counter)
