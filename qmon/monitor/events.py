"""QMP events as streams that cannot grow without limit.

Owns what an event is and how many wait for a slow reader. Must never block the one who delivers, and never
lose an event without counting it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Self
from weakref import WeakSet

STREAM_LIMIT = 1024
# The last second whose nanoseconds fit into 64 bits.
_LATEST_S = (1 << 63) // 1_000_000_000 - 1


@dataclass(frozen=True, slots=True)
class Event:
    """A QMP event; `time_ns` is the host's clock in UTC ns (QMP gives microseconds), 0 if unknown."""

    name: str
    data: Mapping[str, Any]
    time_ns: int

    @classmethod
    def from_message(cls, message: Mapping[str, object]) -> Self:
        """Read a QMP event message; what is missing or of a wrong type is left empty."""
        data, stamp = message.get("data"), message.get("timestamp")
        return cls(
            str(message.get("event")),
            MappingProxyType(data if isinstance(data, dict) else {}),
            _nanoseconds(stamp if isinstance(stamp, dict) else {}),
        )


def _nanoseconds(stamp: Mapping[str, object]) -> int:
    seconds, microseconds = stamp.get("seconds"), stamp.get("microseconds")
    if not isinstance(seconds, int) or not isinstance(microseconds, int):
        return 0
    if not (0 <= seconds <= _LATEST_S and 0 <= microseconds < 1_000_000):
        return 0  # QEMU says -1 where its clock failed (qapi: "timestamp").
    return seconds * 1_000_000_000 + microseconds * 1000


class EventStream(AsyncIterator[Event]):
    """Events from its making on; of more than `limit` unread ones the oldest go, counted in `dropped`.

    Iteration ends when the session ends or `close()` is called, after what was waiting has been handed out.
    """

    def __init__(self, *, limit: int = STREAM_LIMIT) -> None:
        self.dropped = 0
        self._waiting: deque[Event] = deque(maxlen=limit)
        self._arrived = asyncio.Event()
        self._ended = False

    def __repr__(self) -> str:
        state = "ended" if self._ended else "open"
        return f"<EventStream {state} waiting={len(self._waiting)} dropped={self.dropped}>"

    def put(self, event: Event) -> None:
        """Deliver an event; never blocks."""
        if self._ended:
            return
        if len(self._waiting) == self._waiting.maxlen:
            self.dropped += 1
        self._waiting.append(event)
        self._arrived.set()

    def count_dropped(self, number: int) -> None:
        """Count events that were lost on their way here."""
        self.dropped += number

    def close(self) -> None:
        """Take no more events; what waits can still be read."""
        self._ended = True
        self._arrived.set()

    async def __anext__(self) -> Event:
        while not self._waiting:
            if self._ended:
                raise StopAsyncIteration
            self._arrived.clear()
            await self._arrived.wait()
        return self._waiting.popleft()


class EventFan:
    """Hands every event to every stream that somebody still holds."""

    def __init__(self) -> None:
        self._streams: WeakSet[EventStream] = WeakSet()
        self._ended = False

    def stream(self, *, limit: int = STREAM_LIMIT) -> EventStream:
        """Return a new stream of what comes from now on."""
        stream = EventStream(limit=limit)
        if self._ended:
            stream.close()
        self._streams.add(stream)
        return stream

    def put(self, event: Event) -> None:
        """Deliver an event to every stream that is open; never blocks."""
        for stream in tuple(self._streams):
            stream.put(event)

    def count_dropped(self, number: int) -> None:
        """Have every stream count events lost before they came here."""
        for stream in tuple(self._streams):
            stream.count_dropped(number)

    def close(self) -> None:
        """End all streams, and those that are asked for later."""
        self._ended = True
        for stream in tuple(self._streams):
            stream.close()
