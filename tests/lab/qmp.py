"""A QMP client of the lab's own, on plain asyncio: what qmon claims is checked by something that is not qmon."""

import asyncio
import json
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

_LINE_LIMIT = 16 << 20  # query-qmp-schema answers with some 250 kB on one line


class QmpRefused(Exception):
    """QEMU answered a command with an error; `.qmp_class` is its class."""

    def __init__(self, qmp_class: str, description: str) -> None:
        super().__init__(f"{qmp_class}: {description}")
        self.qmp_class = qmp_class


class QmpClient:
    """One connection, one command at a time; events are kept in `events` (the last 1000, oldest first)."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._replies: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self._arrived = asyncio.Condition()
        self._lock = asyncio.Lock()
        self.events: deque[dict[str, Any]] = deque(maxlen=1000)
        self.greeting: dict[str, Any] = {}
        self._task: asyncio.Task[None] | None = None

    @classmethod
    async def connect(cls, path: str) -> "QmpClient":
        """Connect to the socket at `path` and leave negotiation mode; OSError if nobody listens there."""
        reader, writer = await asyncio.open_unix_connection(path, limit=_LINE_LIMIT)
        client = cls(reader, writer)
        hello = await reader.readline()
        if not hello:
            raise ConnectionResetError(f"QEMU closed {path} instead of greeting")
        client.greeting = json.loads(hello)["QMP"]
        client._task = asyncio.create_task(client._read(), name=f"lab monitor {path}")
        await client.execute("qmp_capabilities")
        return client

    async def _read(self) -> None:
        with suppress(OSError):
            while line := await self._reader.readline():
                message = json.loads(line)
                if "event" in message:
                    async with self._arrived:
                        self.events.append(message)
                        self._arrived.notify_all()
                else:
                    self._replies.put_nowait(message)
        self._replies.put_nowait(None)

    async def execute(
        self, command: str, arguments: Mapping[str, object] | None = None, *, timeout_s: float = 30
    ) -> Any:
        """The `return` of `command`; QmpRefused for an error, ConnectionError when QEMU hung up."""
        async with self._lock, asyncio.timeout(timeout_s):
            message = {"execute": command, **({"arguments": dict(arguments)} if arguments else {})}
            self._writer.write(json.dumps(message).encode() + b"\n")
            await self._writer.drain()
            reply = await self._replies.get()
        if reply is None:
            self._replies.put_nowait(None)
            raise ConnectionError(f"QEMU hung up before it answered {command}")
        if "error" in reply:
            raise QmpRefused(reply["error"]["class"], reply["error"]["desc"])
        return reply["return"]

    async def wait_event(
        self, name: str, matches: Callable[[dict[str, Any]], bool] = lambda _: True, *, timeout_s: float = 30
    ) -> dict[str, Any]:
        """The first event called `name`, seen already or still to come, whose data `matches`."""

        def seen() -> dict[str, Any] | None:
            return next((e for e in self.events if e["event"] == name and matches(e.get("data", {}))), None)

        async with asyncio.timeout(timeout_s), self._arrived:
            await self._arrived.wait_for(seen)
        event = seen()
        assert event is not None
        return event

    async def close(self) -> None:
        """Hang up."""
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
