"""The holder's side of a shared monitor: QMP spoken to other qmons, their commands passed on to QEMU.

The states of a relay, in this order; an error that is not one client's ends it in any of them (`holding` has another):

  serving    `serve` accepts clients, and tells those that are too many
  drained    `drain` closed the listener; commands under way are answered, what comes later is refused as not sent
  hung up    `hang_up`: the monitor can be had by the next qmon, and the clients are let go to find it

The states of one client. Its commands go one after another; what fails in its task ends this client alone:

  greeted    it has the greeting; nothing but `qmp_capabilities` is taken, and no event sent (not `_negotiated`)
  waiting    for the next line (`_idle`)
  answering  QEMU has its command, `_number` is the command's id; a reply it does not read within `STALL_S` ends it
  leaving    `leave`: its relay is drained (`_leaving`); `settled` once no command is under way
  deaf       it cannot be written to (`_deaf`), and what is meant for it is dropped
  gone       the socket is closed: it left, stalled, sent too long a line, met a fault, or the relay hung up

Owns the clients, their queues and the order of a hand-over. Must never let a client, slow, stopped or malicious,
delay the holder, QEMU or another client: each has its own task and bounded queues, and its commands are carried
out one after another.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import socket
import struct
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from qmon.errors import Interrupted, UsageError
from qmon.monitor.bounds import NESTING_LIMIT, check_arguments, nests_too_deeply
from qmon.monitor.connection import DESCRIPTOR_COMMANDS, Connection, RawMessage
from qmon.monitor.kinds import SENT_COMMAND
from qmon.text import described

# What the relay says beyond QMP: a greeting's extra member, events of its own, error classes.
GREETING_KEY = "qmon"
LOST_EVENT, DROPPED_EVENT = "QMON_MONITOR_LOST", "QMON_EVENTS_DROPPED"
# Is said to the holder's own listeners.
FAILED_EVENT = "QMON_RELAY_FAILED"
HANDOVER_CLASS, FULL_CLASS = "QmonHandover", "QmonFull"

# Is called with each command that was passed on, its arguments and its reply.
OnReply = Callable[[str, Mapping[str, object], RawMessage], None]

LINE_LIMIT_BYTES = 4 << 20
EVENTS_LIMIT_BYTES = 1 << 20
CLIENT_LIMIT = 32
STALL_S = 30.0
DRAIN_S = 0.5
# What a listener gets over: a client that left at once, or no room for a descriptor.
_PASSING = frozenset({errno.ECONNABORTED, errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_READ_BYTES = 64 << 10
_DESCRIPTOR_LIMIT = 8


def encode(message: Mapping[str, object]) -> bytes:
    """Return a message as QMP sends it."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\r\n"


def _numbered(reply: RawMessage, number: Any) -> bytes:
    rest = {name: member for name, member in reply.items() if name != "id"}
    return encode(rest if number is None else {**rest, "id": number})


def _parsed(line: bytes) -> Any:
    """Return what a client said; ValueError says what is wrong with it."""
    try:
        message = json.loads(line)
        if not nests_too_deeply(message, line):
            return message
    except RecursionError:
        pass
    except ValueError:
        raise ValueError("Invalid JSON syntax") from None
    raise ValueError(f"The command is nested deeper than {NESTING_LIMIT} levels")


def _error(qmp_class: str, reason: str) -> RawMessage:
    return {"error": {"class": qmp_class, "desc": reason}}


_NOT_SENT = _error(HANDOVER_CLASS, "the qmon that holds the monitor is ending; nothing was sent")


def refused_for_handover(reply: RawMessage) -> bool:
    """Tell whether a relay's reply says that the command was not sent, for its holder is ending."""
    error = reply.get("error")
    return isinstance(error, dict) and error.get("class") == HANDOVER_CLASS


class _RelayClient:
    """One qmon at the other end; `run` serves it until it leaves, stalls or the relay ends."""

    def __init__(
        self, sock: socket.socket, connection: Connection, greeting: bytes, on_reply: OnReply
    ) -> None:
        self._sock = sock
        self._connection = connection
        self._on_reply = on_reply
        self._loop = asyncio.get_running_loop()
        self._received = bytearray()
        self._descriptors: deque[int] = deque()
        self._out: deque[bytes] = deque([greeting])
        self._out_bytes = len(greeting)
        self._more_out = asyncio.Event()
        self._more_out.set()
        self.all_sent = asyncio.Event()
        self._dropped = 0
        self._number: Any = None
        self._negotiated = False
        self._leaving = False
        self._idle = False
        self._deaf = False
        self.settled = asyncio.Event()

    def __repr__(self) -> str:
        return f"<relay client {self._sock.fileno()} out={self._out_bytes} dropped={self._dropped}>"

    async def run(self) -> None:
        """Serve the client until it leaves or stalls; at a hand-over this is cancelled when the lock is free."""
        try:
            async with asyncio.TaskGroup() as tasks:
                writing = tasks.create_task(self._write(), name="relay: write")
                await self._attend()
                writing.cancel()
        finally:
            self.settled.set()
            if self._leaving:
                self._refuse_the_rest()
            self._sock.close()
            self._forget_descriptors()

    def _refuse_the_rest(self) -> None:
        # What came since the last look would be lost with the socket, and its sender left in doubt. From the
        # shutdown on, the sender's own send fails.
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RD)
            for data in self._out:
                self._sock.send(data)
            while data := self._sock.recv(_READ_BYTES, socket.MSG_DONTWAIT):
                self._received += data
        for line in self._received.split(b"\n")[:-1]:
            with suppress(OSError, ValueError, RecursionError, AttributeError):
                self._sock.send(encode({**_NOT_SENT, "id": json.loads(line).get("id")}))

    async def _attend(self) -> None:
        try:
            await self._serve()
            async with asyncio.timeout(DRAIN_S):
                await self.all_sent.wait()
        except Interrupted:
            self.settled.set()
            await self._loop.create_future()  # The relay ends now, with a last word to this client.
        except OSError:
            return  # The client is gone, or does not read: its own loss.
        except Exception as problem:  # noqa: BLE001 (a fault of ours: this client is told and hung up on, no other)
            reason = f"the qmon that holds the monitor failed at this command: {described(problem)}"
            self._put(_numbered(_error("GenericError", reason), self._number))
            with suppress(TimeoutError):
                async with asyncio.timeout(DRAIN_S):
                    await self.all_sent.wait()

    def leave(self) -> None:
        """Finish the command under way and refuse the following as not sent; `settled` says when."""
        self._leaving = True
        if self._idle:
            self.settled.set()

    def tell(self, event: bytes) -> None:
        """Queue an event, or drop and count it if the client does not keep up."""
        if not self._negotiated:
            return
        if self._out_bytes + len(event) > EVENTS_LIMIT_BYTES:
            self._dropped += 1
            return
        if self._dropped:
            self._put(encode({"event": DROPPED_EVENT, "data": {"count": self._dropped}}))
            self._dropped = 0
        self._put(event)

    # Reading: line after line, each answered before the next is taken

    async def _serve(self) -> None:
        while True:
            while (end := self._received.find(b"\n")) >= 0:
                line = bytes(self._received[:end])
                del self._received[: end + 1]
                if line.strip():
                    await self._answer(line)
            if len(self._received) > LINE_LIMIT_BYTES:
                return
            data = await self._read()
            if not data:
                return
            self._received += data

    async def _read(self) -> bytes:
        while True:
            try:
                data, rights, _, _ = self._sock.recvmsg(
                    _READ_BYTES, socket.CMSG_SPACE(4 * _DESCRIPTOR_LIMIT), socket.MSG_CMSG_CLOEXEC
                )
            except BlockingIOError:
                await self._readable()
                continue
            self._keep_descriptors(rights)
            return data

    async def _readable(self) -> None:
        ready = asyncio.Event()
        self._idle = True
        if self._leaving:
            self.settled.set()
        self._loop.add_reader(self._sock, ready.set)
        try:
            await ready.wait()
        finally:
            self._idle = False
            self._loop.remove_reader(self._sock)

    def _keep_descriptors(self, rights: list[tuple[int, int, bytes]]) -> None:
        for level, kind, data in rights:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                self._forget_descriptors()
                self._descriptors.extend(struct.unpack(f"={len(data) // 4}i", data[: len(data) // 4 * 4]))

    def _forget_descriptors(self) -> None:
        while self._descriptors:
            os.close(self._descriptors.popleft())

    async def _answer(self, line: bytes) -> None:
        self._number = None
        try:
            message = _parsed(line)
        except ValueError as problem:
            reply = _error("GenericError", str(problem))
        else:
            self._number = message.get("id") if isinstance(message, dict) else None
            reply = await self._reply(message)
        self._put(_numbered(reply, self._number))
        async with asyncio.timeout(STALL_S):
            await self.all_sent.wait()

    async def _reply(self, message: Any) -> RawMessage:
        command = message.get("execute") if isinstance(message, dict) else None
        arguments = message.get("arguments", {}) if isinstance(message, dict) else None
        if not isinstance(command, str) or not isinstance(arguments, dict):
            return _error("GenericError", "QMP input lacks a valid member 'execute'")
        if not self._negotiated:
            self._negotiated = command == "qmp_capabilities"
            wrong = _error("CommandNotFound", "Expecting capabilities negotiation with 'qmp_capabilities'")
            return {"return": {}} if self._negotiated else wrong
        if self._leaving:
            return dict(_NOT_SENT)
        if command == SENT_COMMAND:
            return self._announce(arguments)
        fd = self._descriptors.popleft() if command in DESCRIPTOR_COMMANDS and self._descriptors else None
        try:
            reply = await self._connection.call(command, arguments, timeout_s=None, fd=fd)
        except UsageError as problem:
            return _error("GenericError", problem.message)
        finally:
            if fd is not None:
                os.close(fd)
        self._on_reply(command, arguments, reply)
        return reply

    def _announce(self, arguments: dict[str, Any]) -> RawMessage:
        try:
            check_arguments(arguments)
        except UsageError as problem:
            return _error("GenericError", problem.message)
        self._on_reply(SENT_COMMAND, arguments, {"return": {}})
        return {"return": {}}

    # Writing

    def _put(self, data: bytes) -> None:
        if self._deaf:
            return
        self._out.append(data)
        self._out_bytes += len(data)
        self.all_sent.clear()
        self._more_out.set()

    async def _write(self) -> None:
        try:
            while True:
                while self._out:
                    data = self._out.popleft()
                    await self._loop.sock_sendall(self._sock, data)
                    self._out_bytes -= len(data)
                self.all_sent.set()
                self._more_out.clear()
                await self._more_out.wait()
        except OSError:
            # The client is gone; the end of its commands says so to `_serve`.
            self._deaf = True
            self.all_sent.set()
            with suppress(OSError):
                self._sock.shutdown(socket.SHUT_RD)


class Relay:
    """All clients of one held monitor; `serve` takes them in until it is cancelled."""

    def __init__(self, connection: Connection, listener: socket.socket, *, on_reply: OnReply) -> None:
        self._connection = connection
        self._listener = listener
        self._on_reply = on_reply
        self._accepting: asyncio.Task[None] | None = None
        self._clients: dict[_RelayClient, asyncio.Task[None]] = {}
        about = {"pid": os.getpid(), "vm_pid": connection.peer_pid, "descriptors": connection.is_unix}
        version = connection.greeting.get("QMP", {}).get("version", {})
        self._greeting = encode({"QMP": {"version": version, "capabilities": []}, GREETING_KEY: about})

    def __repr__(self) -> str:
        return f"<Relay clients={len(self._clients)}>"

    async def serve(self) -> None:
        """Accept clients of this user, at most `CLIENT_LIMIT` at once, and serve them.

        It ends when it is drained and hung up, or cancelled. What fails in one client's task ends that client only;
        an error raised here is the end of the relay, and all its clients have been hung up on.
        """
        async with asyncio.TaskGroup() as tasks:
            self._accepting = tasks.create_task(self._accept(tasks), name="relay: accept")

    async def _accept(self, tasks: asyncio.TaskGroup) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                sock, _ = await loop.sock_accept(self._listener)
            except OSError as problem:
                if problem.errno not in _PASSING:
                    raise
                await asyncio.sleep(0.1)  # Those who are in stay served.
                continue
            try:
                taken = self._takes(sock)
            except BaseException:
                sock.close()
                raise
            if not taken:
                sock.close()
                continue
            client = _RelayClient(sock, self._connection, self._greeting, self._on_reply)
            self._clients[client] = tasks.create_task(self._serve(client), name="relay: client")

    def _takes(self, sock: socket.socket) -> bool:
        """Tell whether a new client can be served; one for whom there is no room is told."""
        if not _same_user(sock):
            return False
        if len(self._clients) < CLIENT_LIMIT:
            return True
        reason = (
            f"the qmon that holds it (pid {os.getpid()}) is full: it already serves {CLIENT_LIMIT} others"
        )
        with suppress(OSError):
            sock.send(encode(_error(FULL_CLASS, reason)))
        return False

    async def _serve(self, client: _RelayClient) -> None:
        try:
            await client.run()
        except Exception:  # noqa: BLE001, S110 (a fault of ours: its socket is closed, and that tells it)
            pass
        finally:
            self._clients.pop(client, None)

    def tell(self, event: Mapping[str, object]) -> None:
        """Pass an event on to every client; never blocks."""
        if self._clients:
            data = encode(event)
            for client in tuple(self._clients):
                client.tell(data)

    def tell_lost(self, reason: str) -> None:
        """Tell every client that the monitor is gone, and not only its holder."""
        self.tell({"event": LOST_EVENT, "data": {"reason": reason}})

    async def drain(self) -> None:
        """Take no further clients or commands, and give those under way a moment to be answered."""
        if self._accepting is not None:
            self._accepting.cancel()
            await asyncio.wait([self._accepting])
        self._listener.close()
        clients = tuple(self._clients)
        for client in clients:
            client.leave()
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                for client in clients:
                    await client.settled.wait()

    def close(self) -> None:
        """Close the listening socket of a relay that no longer serves."""
        self._listener.close()

    async def hang_up(self) -> None:
        """Let the clients go, now that another qmon can take the monitor."""
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                for client in tuple(self._clients):
                    await client.all_sent.wait()
        for task in self._clients.values():
            task.cancel()


def _same_user(sock: socket.socket) -> bool:
    _, uid, _ = struct.unpack("=iII", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return bool(uid == os.geteuid())
