"""One command of a change: what will be sent, shown before and sent after.

Owns the way a command is spelt for people, and the doing of several that belong together. Must never decide what is
sent.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from qmon.text import plain

if TYPE_CHECKING:
    from qmon.monitor.session import Session

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Step:
    """A QMP command with its arguments; as text, a line for people."""

    command: str
    arguments: Mapping[str, object]

    def __str__(self) -> str:
        if self.command == "human-monitor-command":
            return f"hmp: {plain(str(self.arguments['command-line']))}"
        return f"{self.command} {plain(json.dumps(self.arguments, ensure_ascii=False))}"

    def as_qmp(self) -> dict[str, object]:
        """Return the message that QMP carries."""
        return {"execute": self.command, "arguments": dict(self.arguments)}

    async def send(self, session: Session) -> Any:
        """Send it; the session's errors pass through."""
        return await session.execute(self.command, self.arguments)


def spelt(steps: Iterable[Step]) -> tuple[str, ...]:
    """Return the lines that tell what will be sent."""
    return tuple(str(step) for step in steps)


async def to_the_end(work: Coroutine[object, object, T]) -> T:
    """Await a few quick commands that belong together; a cancellation waits until they are through."""
    task = asyncio.create_task(work, name="change")
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        if not task.done():
            await asyncio.wait([task])
        if not task.cancelled():
            task.exception()
        raise
