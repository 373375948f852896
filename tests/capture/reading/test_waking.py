"""Waking when a memory file is written, and only then."""

import asyncio
import os
from collections.abc import Iterator

import pytest

from qmon.capture.reading import kernel
from qmon.capture.reading.waking import Waking, to_the_end


@pytest.fixture
def memory() -> Iterator[int]:
    fd = kernel.memory_file("test")
    yield fd
    os.close(fd)


def write(memory: int) -> None:
    """Write as QEMU does, to the file opened by its path: the kernel tells nobody of writes to a memfd itself."""
    fd = os.open(f"/proc/self/fd/{memory}", os.O_WRONLY)
    os.write(fd, b"x")
    os.close(fd)


async def test_a_write_wakes_whoever_waits(memory: int) -> None:
    waking = Waking(lambda: True)
    waking.add(memory)
    waiting = asyncio.create_task(waking.wait(60))
    write(memory)
    await waiting
    waking.close()


async def test_what_was_seen_does_not_wake_again(memory: int) -> None:
    calls: list[int] = []

    def eager() -> bool:
        calls.append(len(calls))
        return True

    waking = Waking(eager)
    waking.add(memory)
    write(memory)
    waking.forget()
    await waking.wait(0.01)
    assert calls == []
    write(memory)
    await waking.wait(60)
    assert calls == [0]
    waking.close()


async def test_a_file_that_is_watched_no_longer_wakes_nobody(memory: int) -> None:
    calls: list[int] = []
    waking = Waking(lambda: not calls.append(1))
    waking.add(memory)
    waking.remove(memory)
    waking.forget()
    write(memory)
    await waking.wait(0.01)
    assert calls == []
    waking.close()


async def test_nobody_who_waits_costs_nothing(memory: int) -> None:
    calls: list[int] = []

    def once() -> bool:
        calls.append(1)
        return False

    waking = Waking(once)
    waking.add(memory)
    write(memory)
    await waking.wait(60)
    waking.forget()
    assert "listening=False" in repr(waking)
    write(memory)
    await asyncio.sleep(0)
    assert calls == [1]
    waking.close()


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
