"""The commands of a change: shown before they are sent, and sent to the end.

Must never decide what is sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import TypeVar

from qmon.monitor.commands import Command

T = TypeVar("T")


def spelt(steps: Iterable[Command]) -> tuple[str, ...]:
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
