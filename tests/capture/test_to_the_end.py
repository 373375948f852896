"""What was begun in a VM goes to its end."""

import asyncio

import pytest

from qmon.capture.vm import to_the_end


async def test_an_end_is_reached_although_it_is_cancelled() -> None:
    begun, may_end = asyncio.Event(), asyncio.Event()
    ended: list[bool] = []

    async def work() -> None:
        begun.set()
        await may_end.wait()
        ended.append(True)

    task = asyncio.create_task(to_the_end(work()))
    await begun.wait()
    task.cancel()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == [True]
