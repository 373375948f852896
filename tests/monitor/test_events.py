"""Events: read as they are, kept within a limit, lost ones counted."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmon.monitor.events import Event, EventFan, EventStream
from qmon.monitor.session import Session
from tests.fakes.monitor import FakeMonitor

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def event(name: str) -> Event:
    return Event(name, {}, 0)


def test_an_event_is_read() -> None:
    stamp = {"seconds": 1_700_000_000, "microseconds": 123_456}
    read = Event.from_message({"event": "STOP", "timestamp": stamp, "data": {"a": 1}})
    assert (read.name, dict(read.data), read.time_ns) == ("STOP", {"a": 1}, 1_700_000_000_123_456_000)


def test_a_clock_that_failed_is_no_time() -> None:
    assert Event.from_message({"event": "X", "timestamp": {"seconds": -1, "microseconds": -1}}).time_ns == 0
    for seconds, microseconds in ((10**30, 0), (1, 10**30), (1, -1), ((1 << 63) // 10**9, 999_999)):
        stamp = {"seconds": seconds, "microseconds": microseconds}
        assert Event.from_message({"event": "X", "timestamp": stamp}).time_ns == 0


@given(st.dictionaries(st.sampled_from(["event", "data", "timestamp"]), JSON))
def test_any_message_is_an_event(message: dict[str, Any]) -> None:
    read = Event.from_message(message)
    assert isinstance(read.name, str)
    assert read.time_ns >= 0


async def test_the_oldest_go_and_are_counted() -> None:
    stream = EventStream(limit=3)
    for number in range(10):
        stream.put(event(str(number)))
    stream.close()
    assert [found.name async for found in stream] == ["7", "8", "9"]
    assert stream.dropped == 7


async def test_a_waiting_reader_is_woken_and_ended() -> None:
    stream = EventStream()
    reading = asyncio.create_task(anext(stream))
    await asyncio.sleep(0)
    stream.put(event("A"))
    assert (await reading).name == "A"
    ending = asyncio.ensure_future(anext(stream, None))
    await asyncio.sleep(0)
    stream.close()
    assert await ending is None
    stream.put(event("late"))
    assert [found async for found in stream] == []


async def test_streams_are_independent_and_forgotten_ones_cost_nothing() -> None:
    fan = EventFan()
    first, second = fan.stream(), fan.stream(limit=1)
    fan.stream()
    fan.put(event("A"))
    fan.put(event("B"))
    fan.count_dropped(2)
    fan.close()
    assert [found.name async for found in first] == ["A", "B"]
    assert [found.name async for found in second] == ["B"]
    assert (first.dropped, second.dropped) == (2, 3)
    assert [found async for found in fan.stream()] == []
    assert len(fan._streams) == 2


@pytest.mark.parametrize("share", [True, False])
async def test_a_session_hands_events_to_each_of_its_streams(fake_monitor: FakeMonitor, share: bool) -> None:
    async with await Session.attach(fake_monitor.address, share=share) as session:
        first, second = session.events(), session.events()
        await fake_monitor.event("STOP")
        await fake_monitor.event("BALLOON_CHANGE", {"actual": 5})
        for stream in (first, second):
            assert (await anext(stream)).name == "STOP"
            assert (await anext(stream)).data == {"actual": 5}
        await fake_monitor.hang_up()
        assert [found async for found in first] == []
