"""Looks that never end, as a process of a stranger can make them."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from qmon.monitor.aside import aside, in_turn


@pytest.fixture
def never() -> Iterator[threading.Event]:
    """What a look hangs on until the test is over."""
    event = threading.Event()
    yield event
    event.set()


def test_a_look_that_hangs_is_left_out(never: threading.Event) -> None:
    def look(number: int) -> int:
        if number in (2, 3):
            never.wait()
        return number

    assert list(in_turn(look, [1, 2, 3, 4, 5], patience_s=0.01)) == [1, 4, 5]


def test_a_look_that_was_given_up_does_not_go_on_with_the_others(never: threading.Event) -> None:
    looked: list[tuple[int, int]] = []

    def look(number: int) -> int:
        looked.append((number, threading.get_ident()))
        if number == 1:
            never.wait()
        return number

    assert list(in_turn(look, [1, 2], patience_s=0.01)) == [2]
    never.set()
    for thread in threading.enumerate():
        if thread.ident == looked[0][1]:
            thread.join()
    assert [number for number, _ in looked] == [1, 2]


def test_a_whole_look_has_its_end(never: threading.Event) -> None:
    def look(_: int) -> None:
        never.wait()

    assert list(in_turn(look, range(10**9), patience_s=0.01, limit_s=0.05)) == []


def test_what_a_look_raises_is_raised() -> None:
    def look(number: int) -> float:
        return 1 / number

    found = in_turn(look, [1, 0])
    assert next(found) == 1
    with pytest.raises(ZeroDivisionError):
        next(found)


async def test_the_event_loop_goes_on_beside_a_look(never: threading.Event) -> None:
    looking = asyncio.create_task(aside(lambda: never.wait() and "found", timeout_s=None))
    await asyncio.sleep(0)
    assert not looking.done()
    never.set()
    assert await looking == "found"


async def test_a_look_aside_has_a_deadline_and_can_be_cancelled(never: threading.Event) -> None:
    with pytest.raises(TimeoutError):
        await aside(never.wait, timeout_s=0.01)
    looking = asyncio.create_task(aside(never.wait, timeout_s=None))
    await asyncio.sleep(0)
    looking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await looking
