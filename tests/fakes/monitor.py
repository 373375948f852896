"""The fake QEMU monitor; `tests/fakes/__init__.py` tells how to use it."""

import asyncio
import json
import os
import socket
import struct
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qmon.monitor.address import UnixAddress
from tests.fakes.checking import Checker, recorded_schema
from tests.fakes.conversation import Replay, load

Answer = Callable[[Mapping[str, Any]], Any]
DEFAULT_VERSION = "7.2.22"


class Refusal(Exception):
    """Raised by an answer: an error reply."""

    def __init__(self, reason: str, qmp_class: str = "GenericError") -> None:
        super().__init__(reason)
        self.reply = {"error": {"class": qmp_class, "desc": reason}}


@dataclass(frozen=True)
class Stall:
    """Send nothing more after `at` bytes; the connection stays open."""

    at: int


@dataclass(frozen=True)
class HangUp:
    """Close the connection after `at` bytes."""

    at: int


@dataclass(frozen=True)
class Split:
    """Send pieces of `size` bytes, each in a turn of the event loop of its own."""

    size: int = 1


Fault = Stall | HangUp | Split


class FakeMonitor:
    """One QMP socket; clients are served one after another, as QEMU does."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.address = UnixAddress(str(path))
        self.greeting: bytes | None = None
        self.forgiving = False
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.descriptors: list[int] = []
        self.surprises: list[str] = []
        self.connections = 0
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self._listener.bind(str(path))
        self._listener.listen(1)
        self._client: _Client | None = None
        self._answers: dict[str, Answer] = {}
        self._hmp: dict[str, str] = {}
        self._faults: list[Fault] = []
        self._replay: Replay | None = None
        self._fdsets: dict[int, dict[str, Any]] = {}
        self._arrived = asyncio.Condition()
        self.version(DEFAULT_VERSION)
        self._answer_basics()

    def __repr__(self) -> str:
        return f"<FakeMonitor {self.path} {self._version} commands={len(self.sent)}>"

    # What a test says

    def version(self, version: str) -> None:
        """Be this QEMU, of those under fixtures/."""
        self._version = version
        self._checker = Checker(version)

    def answer(self, command: str, result: Any) -> None:
        """Answer a command with this, or with what this makes of the arguments (it may raise `Refusal`)."""
        self._answers[command] = result if callable(result) else lambda _: result

    def refuse(self, command: str, reason: str, qmp_class: str = "GenericError") -> None:
        """Answer a command with an error."""

        def refused(_: Mapping[str, Any]) -> Any:
            raise Refusal(reason, qmp_class)

        self._answers[command] = refused

    def hmp(self, line: str, text: str) -> None:
        """Answer a line of the human monitor; others are unknown commands."""
        self._hmp[line] = text

    def replay(self, path: Path) -> None:
        """Be the QEMU of a recorded conversation."""
        self._replay = Replay(load(path))

    def fault(self, fault: Fault) -> None:
        """Misbehave; several faults add up."""
        self._faults.append(fault)

    async def event(self, name: str, data: Mapping[str, Any] | None = None) -> None:
        """Send an event to the client."""
        assert self._client is not None
        stamp = {"seconds": 1_700_000_000, "microseconds": 123456}
        await self._client.send({"timestamp": stamp, "event": name, **({"data": data} if data else {})})

    async def send_raw(self, data: bytes) -> None:
        """Send bytes as they are."""
        assert self._client is not None
        await self._client.send_bytes(data)

    async def hang_up(self) -> None:
        """Stop listening and close the client's connection, as QEMU does when it ends."""
        self._listener.close()
        self.path.unlink(missing_ok=True)
        await self.drop_client()

    async def drop_client(self) -> None:
        """Close the client's connection only."""
        if self._client is not None:
            self._client.shut()

    async def is_left(self) -> bool:
        """Wait until the client has hung up; false if that takes too long."""
        assert self._client is not None
        try:
            async with asyncio.timeout(5):
                await self._client.left.wait()
        except TimeoutError:
            return False
        return True

    async def wait_for(self, command: str) -> dict[str, Any]:
        """Wait until a command has come; its arguments."""

        def found() -> dict[str, Any] | None:
            return next((arguments for name, arguments in self.sent if name == command), None)

        async with asyncio.timeout(10), self._arrived:
            await self._arrived.wait_for(lambda: found() is not None)
        arguments = found()
        assert arguments is not None
        return arguments

    # Serving

    async def serve(self) -> None:
        """Take clients in, one at a time, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                sock, _ = await loop.sock_accept(self._listener)
            except OSError:
                return
            self.connections += 1
            self._client = _Client(sock, self._faults, self.descriptors)
            try:
                await self._talk(self._client)
            except OSError:
                pass
            finally:
                self._client.close()

    async def _talk(self, client: "_Client") -> None:
        if self.greeting is not None:
            await client.send_bytes(self.greeting)
        else:
            await client.send(self._replay.greeting() if self._replay else self._greeting())
        while (message := await client.receive()) is not None:
            for reply in await self._replies(message, client.take_new_descriptors()):
                await client.send(reply)
            if self._replay and self._replay.ended:
                self._listener.close()
                return

    def _greeting(self) -> dict[str, Any]:
        major, minor, micro = map(int, self._version.split("."))
        qemu = {"micro": micro, "minor": minor, "major": major}
        return {"QMP": {"version": {"qemu": qemu, "package": "fake"}, "capabilities": ["oob"]}}

    async def _replies(self, message: dict[str, Any], descriptors: int) -> list[dict[str, Any]]:
        command, arguments = message.get("execute", ""), message.get("arguments", {})
        if problem := self._checker.problem(command, arguments):
            self._surprise(f"{command} {arguments}: {problem} (QEMU {self._version})")
        try:
            if self._replay:
                replies, surprise = self._replay.next(message, descriptors)
                if surprise:
                    self._surprise(surprise)
                    raise ConnectionError(surprise)
                return replies
            return [{**self._reply(command, arguments), **({"id": message["id"]} if "id" in message else {})}]
        finally:
            async with self._arrived:
                if command != "qmp_capabilities":
                    self.sent.append((command, dict(arguments)))
                self._arrived.notify_all()

    def _reply(self, command: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        answer = self._answers.get(command)
        if answer is None:
            self._surprise(f"no answer was given for {command} {dict(arguments)}")
            return {
                "error": {"class": "CommandNotFound", "desc": f"The command {command} has not been found"}
            }
        try:
            return {"return": answer(arguments)}
        except Refusal as refusal:
            return refusal.reply

    def _surprise(self, what: str) -> None:
        if not self.forgiving:
            self.surprises.append(what)

    def finish(self) -> None:
        """Close everything; AssertionError with all surprises, if there were any."""
        self._listener.close()
        if self._client is not None:
            self._client.shut()
        for fd in self.descriptors:
            with suppress(OSError):
                os.close(fd)
        if self._replay and (left := self._replay.left()):
            self._surprise(left)
        assert not self.surprises, "\n".join(self.surprises)

    # What every QEMU knows

    def _answer_basics(self) -> None:
        names = [{"name": name} for name in self._checker.commands()]
        basics: dict[str, Any] = {
            "qmp_capabilities": {},
            "query-status": {"status": "running", "running": True},
            "query-name": {"name": "fake"},
            "query-version": lambda _: self._greeting()["QMP"]["version"],
            "query-commands": lambda _: names,
            "query-qmp-schema": lambda _: recorded_schema(self._version),
            "human-monitor-command": self._human,
            "add-fd": self._add_fd,
            "remove-fd": lambda arguments: self._fdsets.pop(arguments["fdset-id"]) and {},
            "query-fdsets": lambda _: list(self._fdsets.values()),
        }
        for command, result in basics.items():
            self.answer(command, result)

    def _human(self, arguments: Mapping[str, Any]) -> str:
        line = arguments["command-line"]
        text = self._hmp.get(line, f"unknown command: '{line.split()[0] if line.split() else ''}'\n")
        return text.replace("\n", "\r\n")

    def _add_fd(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        if not self.descriptors:
            raise Refusal("No file descriptor supplied via SCM_RIGHTS")
        number, fd = len(self._fdsets), self.descriptors[-1]
        self._fdsets[number] = {"fdset-id": number, "fds": [{"fd": fd, **arguments}]}
        return {"fdset-id": number, "fd": fd}


class _Client:
    """One connection from QEMU's side: JSON objects in whatever pieces they come, descriptors beside them."""

    def __init__(self, sock: socket.socket, faults: list[Fault], descriptors: list[int]) -> None:
        self._sock = sock
        self._faults = faults
        self._descriptors = descriptors
        self._new = 0
        self._loop = asyncio.get_running_loop()
        self._text = ""
        self._messages: deque[dict[str, Any]] = deque()
        self._out_bytes = 0
        self._ended = asyncio.Event()
        self.left = asyncio.Event()

    async def send(self, message: Mapping[str, Any]) -> None:
        await self.send_bytes(json.dumps(message).encode() + b"\r\n")

    async def send_bytes(self, data: bytes) -> None:
        size = next((fault.size for fault in self._faults if isinstance(fault, Split)), len(data)) or 1
        limits = [fault for fault in self._faults if isinstance(fault, Stall | HangUp)]
        for start in range(0, len(data), size):
            piece = data[start : start + size]
            for fault in limits:
                if self._out_bytes + len(piece) > fault.at:
                    await self._loop.sock_sendall(self._sock, piece[: fault.at - self._out_bytes])
                    await self._misbehave(fault)
            await self._loop.sock_sendall(self._sock, piece)
            self._out_bytes += len(piece)
            await asyncio.sleep(0)

    async def _misbehave(self, fault: Stall | HangUp) -> None:
        if isinstance(fault, Stall):
            await self._ended.wait()
        raise ConnectionError(f"{fault}")

    async def receive(self) -> dict[str, Any] | None:
        decoder = json.JSONDecoder()
        while not self._messages:
            self._text = self._text.lstrip()
            with suppress(json.JSONDecodeError):
                if self._text:
                    message, end = decoder.raw_decode(self._text)
                    self._text = self._text[end:]
                    self._messages.append(message)
                    continue
            data = await self._read()
            if not data:
                self.left.set()
                return None
            self._text += data.decode()
        return self._messages.popleft()

    async def _read(self) -> bytes:
        while True:
            try:
                data, rights, _, _ = self._sock.recvmsg(65536, socket.CMSG_SPACE(64), socket.MSG_CMSG_CLOEXEC)
            except BlockingIOError:
                readable = asyncio.Event()
                self._loop.add_reader(self._sock, readable.set)
                try:
                    await readable.wait()
                finally:
                    self._loop.remove_reader(self._sock)
                continue
            for _, _, passed in rights:
                fds = struct.unpack(f"={len(passed) // 4}i", passed)
                self._descriptors.extend(fds)
                self._new += len(fds)
            return data

    def take_new_descriptors(self) -> int:
        number, self._new = self._new, 0
        return number

    def close(self) -> None:
        self.shut()
        self._sock.close()

    def shut(self) -> None:
        self._ended.set()
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
