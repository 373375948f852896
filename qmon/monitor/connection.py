"""One QMP connection, to QEMU itself or to another qmon's relay; the only importer of `qemu.qmp`.

Owns the deadlines, limits and error kinds that `qemu.qmp` leaves open. Must never decide whom to connect to
or what to do when the peer is gone: it says so and stays closed.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import struct
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from qemu.qmp import ConnectError, ExecInterruptedError, Message, QMPClient, QMPError, Runstate, StateError
from qemu.qmp.error import ProtocolError
from qemu.qmp.qmp_client import GreetingError, NegotiationError

from qmon.errors import CannotAttach, Interrupted, Refused, TimedOut
from qmon.monitor.bounds import check_arguments, nests_too_deeply
from qmon.monitor.shapes import is_as_expected
from qmon.monitor.version import Version
from qmon.text import cut, described, plain, plain_bytes

# With what comes before it: late replies to a client that has left.
GREETING_LIMIT_BYTES = 16 << 20
MESSAGE_LIMIT_BYTES = 64 << 20  # QEMU's own limit for one token (qobject/json-lexer.c).
CLOSING_S = 1.0
_READ_BYTES = 256 << 10
# A pretty message ends with a brace at the beginning of a line; what is inside is indented.
_PRETTY_ENDS = (b"\n}\r\n", b"\n}\n")
_LONGEST_END_BYTES = 4

DESCRIPTOR_COMMANDS = frozenset({"add-fd", "getfd"})

RawMessage = dict[str, Any]

# What goes wrong is told by errors; the library's own log would tell it a second time.
_LOG_NAME = "qmon"
logging.getLogger("qemu.qmp.protocol").getChild(_LOG_NAME).disabled = True


class NotQmp(ProtocolError):
    """What was said is nothing a QMP peer would say."""


class Declined(CannotAttach):
    """The peer hung up with an error in place of a greeting; `qmp_class` is the error's."""

    def __init__(self, message: str, *, qmp_class: str) -> None:
        super().__init__(message)
        self.qmp_class = qmp_class


class NotSent(Interrupted):
    """The peer went away before the command was sent to it: it was not carried out."""


class _Unsent(ExecInterruptedError):
    pass


def _end_of_message(buffer: bytearray, searched: int) -> int:
    """Return the length of the first whole message, 0 if there is none; before `searched` no line ends."""
    if buffer.startswith((b"{\r\n", b"{\n")):
        at = max(searched, 1)
        ends = [found + len(end) for end in _PRETTY_ENDS if (found := buffer.find(end, at)) >= 0]
        return min(ends, default=0)
    return buffer.find(b"\n", searched) + 1


def _may_be_greeting(start: bytes | bytearray) -> bool:
    text = start.lstrip()
    return not text or text.startswith(b"{")


class _QmpClient(QMPClient):
    """`QMPClient` with bounded lines, no event history, and no way for a reply to stall or end the reader.

    Before the greeting, and before the answer to what negotiates, late replies to a client that has left may come:
    QEMU sends them to whoever connects next. They are skipped; `skipped` is the last one.
    """

    def __init__(self, on_event: Callable[[RawMessage], None]) -> None:
        super().__init__(_LOG_NAME, readbuflen=_READ_BYTES)
        self.greeted: RawMessage = {}
        self.unparsed = bytearray()
        self.skipped: RawMessage = {}
        self._negotiated = False
        self._greeting_left_bytes = GREETING_LIMIT_BYTES
        self._on_event = on_event

    async def _readline(self) -> bytes:
        """Return the next message: a line, or several from a brace alone to a brace alone (`-qmp-pretty`)."""
        assert self._reader is not None
        limit = MESSAGE_LIMIT_BYTES if self.greeted else self._greeting_left_bytes
        buffer, searched = self.unparsed, 0
        while not (end := _end_of_message(buffer, searched)):
            searched = max(len(buffer) - _LONGEST_END_BYTES, 0)
            if not self.greeted and not _may_be_greeting(buffer):
                raise ProtocolError("not a QMP greeting")
            if len(buffer) > limit:
                raise NotQmp(self._too_long())
            chunk = await self._reader.read(_READ_BYTES)
            if not chunk:
                raise EOFError
            buffer += chunk
        message = bytes(buffer[:end])
        if not self.greeted and not _may_be_greeting(message):
            raise ProtocolError("not a QMP greeting")
        del buffer[:end]
        if not self.greeted:
            self._greeting_left_bytes -= end
        return message

    def _too_long(self) -> str:
        if self.greeted:
            return f"a message of more than {MESSAGE_LIMIT_BYTES} bytes"
        return f"no greeting in {GREETING_LIMIT_BYTES} bytes"

    async def _do_recv(self) -> Message:
        while not self._is_awaited(message := await self._next()):
            self.skipped = dict(message)
        return message

    def _is_awaited(self, message: Message) -> bool:
        if self._negotiated:
            return True
        if self.greeted:
            self._negotiated = "id" not in message and "event" not in message
            return self._negotiated
        if "QMP" in message:
            try:
                Version.from_greeting(message)
            except ValueError as problem:
                raise NotQmp(str(problem)) from problem
        return "QMP" in message

    async def _next(self) -> Message:
        text = await self._readline()
        while not text.strip():
            text = await self._readline()
        try:
            message = Message(text)
            too_deep = nests_too_deeply(dict(message), text)
        except (ValueError, RecursionError) as problem:
            raise ProtocolError(f"not a JSON message: {problem}") from problem
        if too_deep:
            raise ProtocolError("a message nested too deeply")
        return message

    def _do_send(self, msg: Message) -> None:
        # QEMU would do without the line end; the relay reads lines.
        assert self._writer is not None
        self._writer.write(bytes(msg) + b"\n")
        waiting = self._pending.get(str(msg.get("id")))
        if waiting is not None and self._writer.transport.is_closing():
            waiting.put_nowait(_Unsent("Disconnected"))

    def _cb_inbound(self, msg: Message) -> Message:
        # Not to the log: it would format every message, however large.
        if not self.greeted:
            self.greeted = dict(msg)
        return msg

    def _cb_outbound(self, msg: Message) -> Message:
        return msg

    async def _on_message(self, msg: Message) -> None:
        if "event" in msg:
            self._on_event(dict(msg))
            return
        number = msg.get("id")
        if number is None and "error" in msg and len(self._pending) == 1:
            # QEMU could not parse the command; with one under way there is no doubt whose answer it is.
            number = next(iter(self._pending))
            msg["id"] = number
        waiting = self._pending.get(number) if isinstance(number, str) else None
        if waiting is not None and not waiting.full():
            waiting.put_nowait(msg)

    async def _establish_session(self) -> None:
        await super()._establish_session()
        if self._bh_tasks is not None:
            self._bh_tasks.add_done_callback(_read_outcome)

    async def _wait_disconnect(self) -> None:
        # As the library's own, whose gathered future nobody reads where this is cancelled, as everything is when
        # the event loop ends: asyncio would complain on stderr.
        assert self._dc_task is not None
        ended = [task for task in (self._bh_tasks, self._dc_task) if task is not None]
        for task in ended:
            task.add_done_callback(_read_outcome)
        await asyncio.wait([self._dc_task])
        try:
            for task in ended:
                await task
        finally:
            self._cleanup()
            self._set_state(Runstate.IDLE)

    async def round_trip(self, command: str, arguments: Mapping[str, object] | None) -> RawMessage:
        """Send one command and return the whole reply."""
        return dict(await self._raw(self.make_execute_msg(command, arguments)))

    async def send_descriptor(self, fd: int) -> None:
        """Send a descriptor between two messages, never inside one."""
        assert self._writer is not None
        transport = self._writer.transport
        peer: socket.socket = transport.get_extra_info("socket")._sock
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("@i", fd))]
        while self._writer is not None and not transport.is_closing():
            if self._outgoing.empty() and not transport.get_write_buffer_size():
                with suppress(BlockingIOError):
                    peer.sendmsg([b" "], rights)
                    return
            await asyncio.sleep(0.001)
        raise ExecInterruptedError("Disconnected")

    def abort(self) -> None:
        """Drop the connection without waiting for what was not sent yet."""
        if self._writer is not None:
            self._writer.transport.abort()


def _read_outcome(task: asyncio.Future[Any]) -> None:
    if not task.cancelled():
        task.exception()


class Connection:
    """An open QMP connection that has been greeted; made by `open`, ended by its peer or by `close`."""

    def __init__(self, client: _QmpClient, sock: socket.socket) -> None:
        self.greeting: RawMessage = client.greeted
        self.version = Version.from_greeting(client.greeted)
        self.is_unix = sock.family == socket.AF_UNIX
        self.peer_pid, self.peer_uid = _peer(sock) if self.is_unix else (None, None)
        self._client = client
        self._passing = asyncio.Lock()
        self._ending: asyncio.Task[str] | None = None

    def __repr__(self) -> str:
        return f"<Connection peer={self.peer_pid} {'open' if self._ending is None else 'closed'}>"

    @classmethod
    async def open(
        cls, sock: socket.socket, *, timeout_s: float, on_event: Callable[[RawMessage], None]
    ) -> Connection:
        """Greet over a connected socket, which this owns from now on; `CannotAttach` if it is no QMP peer."""
        client = _QmpClient(on_event)
        try:
            async with asyncio.timeout(timeout_s):
                await client.connect(sock)
        except TimeoutError:
            raise CannotAttach(_silence(client, timeout_s)) from None
        except ConnectError as problem:
            raise _no_greeting(client, problem.exc) from problem
        finally:
            if not client.greeted:
                sock.close()
        return cls(client, sock)

    async def call(
        self,
        command: str,
        arguments: Mapping[str, object] | None = None,
        *,
        timeout_s: float | None,
        fd: int | None = None,
    ) -> RawMessage:
        """Send a command and return its reply, `{"return": …}` or `{"error": {"class", "desc"}}`, with an id.

        A descriptor is sent immediately before its command, one at a time, for QEMU keeps only the last.
        Raises `Interrupted` (`NotSent` where that is sure) or `TimedOut`; without a `timeout_s` it waits for
        as long as the connection lasts.
        """
        check_arguments(command)
        check_arguments(arguments or {})
        try:
            async with asyncio.timeout(timeout_s):
                if command not in DESCRIPTOR_COMMANDS:
                    return await self._client.round_trip(command, arguments)
                async with self._passing:
                    if fd is not None:
                        await self._client.send_descriptor(fd)
                    return await self._client.round_trip(command, arguments)
        except TimeoutError:
            raise TimedOut(
                f"{plain(command)}: no answer within {timeout_s:g} s",
                hint="The VM may still carry it out.",
            ) from None
        except (_Unsent, StateError) as problem:
            raise NotSent(f"{plain(command)}: the monitor disconnected before this was sent") from problem
        except (ExecInterruptedError, OSError) as problem:
            raise Interrupted(
                f"{plain(command)}: the monitor disconnected before the answer came",
                hint="Whether it was carried out cannot be known: look before repeating it.",
            ) from problem

    async def wait_closed(self) -> str:
        """Wait until the peer is gone (or `close` was called), tidy up, and return why."""
        while self._client.runstate.name == "RUNNING":
            await self._client.runstate_changed()
        return await self._end()

    async def close(self) -> None:
        """Hang up; what was sent is given a second to leave."""
        await self._end()

    async def _end(self) -> str:
        if self._ending is None:
            self._ending = asyncio.create_task(self._disconnect(), name="disconnect a monitor")
        # Never cancelled: what `qemu.qmp` gathers would be left with nobody to look at it.
        done, _ = await asyncio.wait([self._ending], timeout=CLOSING_S)
        if not done:
            self._client.abort()
            await asyncio.wait([self._ending])
        return self._ending.result()

    async def _disconnect(self) -> str:
        try:
            await self._client.disconnect()
        except (EOFError, ConnectionResetError, BrokenPipeError):
            return "the connection was closed by the other side"
        except OSError as problem:
            return problem.strerror or str(problem)
        except (QMPError, ValueError) as problem:
            return f"the other side broke the protocol: {cut(plain(str(problem)), 200)}"
        except Exception as problem:  # noqa: BLE001 (a fault of ours that ended the reader: it is told, once)
            return f"qmon failed: {described(problem)}"
        return "closed"


def result(command: str, reply: RawMessage) -> Any:
    """Return what a reply holds; `Refused` if it is an error, `Interrupted` if it is nothing QEMU would say."""
    if "return" in reply:
        if not is_as_expected(command, reply["return"]):
            raise Interrupted(
                f"{plain(command)}: the answer is not what QEMU would say",
                hint="Is it QEMU that listens there? Whether the command was carried out cannot be known.",
            )
        return reply["return"]
    error = reply.get("error")
    if not isinstance(error, dict) or not isinstance(error.get("desc"), str):
        raise Interrupted(f"{plain(command)}: the answer is neither a result nor an error")
    reason = error["desc"]
    raise Refused(
        f"QEMU refused {plain(command)}: {plain(reason)}", qmp_class=str(error.get("class")), reason=reason
    )


def _peer(sock: socket.socket) -> tuple[int | None, int | None]:
    pid, uid, _ = struct.unpack("=iII", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return (pid or None), uid  # 0: the process is in a pid namespace that is not visible here.


def _silence(client: _QmpClient, timeout_s: float) -> str:
    if client.unparsed:
        seen = cut(plain_bytes(client.unparsed[:200]), 80)
        return f"only part of a QMP greeting came within {timeout_s:.2g} s: '{seen}'"
    if client.greeted:
        return f"it greeted, but did not answer within {timeout_s:.2g} s"
    return f"no QMP greeting came within {timeout_s:.2g} s{_said(client)}"


def _said(client: _QmpClient) -> str:
    """Return what came in place of a greeting, as the end of a sentence."""
    if not client.skipped:
        return ""
    return f"; it said '{cut(plain(json.dumps(client.skipped)), 80)}'"


def _no_greeting(client: _QmpClient, problem: Exception) -> CannotAttach:
    seen = cut(plain_bytes(bytes(client.unparsed[:200])), 80)
    if b" monitor - type 'help'" in client.unparsed:
        return CannotAttach("this is a human monitor (HMP), not QMP")
    if isinstance(problem, GreetingError | NegotiationError):
        problem = problem.exc
    if isinstance(problem, EOFError):
        error = client.skipped.get("error")
        if not client.greeted and isinstance(error, dict):
            return Declined(plain(str(error.get("desc"))), qmp_class=str(error.get("class")))
        return CannotAttach(f"the connection was closed before a QMP greeting came{_said(client)}")
    if isinstance(problem, OSError):
        return CannotAttach(f"the connection failed: {problem.strerror or problem}")
    if isinstance(problem, NotQmp):
        return CannotAttach(f"this is not a QMP monitor: {problem}")
    says = f": it says '{seen}'" if seen else ""
    return CannotAttach(f"this is not a QMP monitor{says}")
