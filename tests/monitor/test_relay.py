"""What is said over a relay: the same as to QEMU; and what a bad client of it cannot do."""

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from qmon.errors import CannotAttach, Interrupted, Refused
from qmon.monitor import commands, holding, relay, sharing
from qmon.monitor.session import Session
from tests.fakes.monitor import FakeMonitor


@asynccontextmanager
async def pair(monitor: FakeMonitor) -> AsyncIterator[tuple[Session, Session]]:
    """A holder, and another session that goes through it."""
    async with (
        await Session.attach(monitor.address) as holder,
        await Session.attach(monitor.address) as other,
    ):
        assert (holder.shared, other.shared) == (False, True)
        yield holder, other


@asynccontextmanager
async def raw_client(
    monitor: FakeMonitor,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A client of the relay that says whatever it likes; the greeting has been read."""
    reader, writer = await asyncio.open_unix_connection(sharing.relay_path(monitor.address))
    assert "qmon" in json.loads(await reader.readline())
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def reply_to(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, data: bytes) -> dict[str, Any]:
    writer.write(data)
    async with asyncio.timeout(5):
        answer: dict[str, Any] = json.loads(await reader.readline())
    return answer


async def test_the_monitor_has_one_client_only(fake_monitor: FakeMonitor) -> None:
    async with pair(fake_monitor) as (holder, other):
        assert fake_monitor.connections == 1
        assert other.peer_pid == holder.peer_pid
        assert other.version == holder.version
        assert other.can_pass_descriptors


async def test_results_refusals_and_events_come_through(fake_monitor: FakeMonitor) -> None:
    fake_monitor.refuse("netdev_del", "no such thing", "DeviceNotFound")
    async with pair(fake_monitor) as (holder, other):
        heard = [session.events() for session in (holder, other)]
        assert await other.execute("query-name") == {"name": "fake"}
        assert await other.hmp("bogus") == "unknown command: 'bogus'\n"
        assert (await other.schema()).netdev_types()
        with pytest.raises(Refused) as refused:
            await other.execute("netdev_del", {"id": "x"})
        assert refused.value.qmp_class == "DeviceNotFound"
        await fake_monitor.event("STOP", {"a": 1})
        for stream in heard:
            assert (await anext(stream)).data == {"a": 1}


async def test_descriptors_come_through_one_at_a_time(fake_monitor: FakeMonitor) -> None:
    pairs = [socket.socketpair() for _ in range(6)]
    try:
        async with pair(fake_monitor) as sessions:
            passed = await asyncio.gather(
                *(
                    commands.add_fd(sessions[n % 2], theirs.fileno(), opaque=str(n))
                    for n, (_, theirs) in enumerate(pairs)
                )
            )
            for number, added in enumerate(passed):
                with socket.fromfd(added.fd, socket.AF_UNIX, socket.SOCK_STREAM) as arrived:
                    arrived.send(b"%d" % number)
            assert [ours.recv(10) for ours, _ in pairs] == [b"%d" % number for number in range(6)]
    finally:
        for ours, theirs in pairs:
            ours.close()
            theirs.close()


async def test_when_the_holder_leaves_the_other_takes_over(fake_monitor: FakeMonitor) -> None:
    holder = await Session.attach(fake_monitor.address)
    async with await Session.attach(fake_monitor.address) as other:
        moved = asyncio.Event()
        other.on_handover(moved.set)
        events = other.events()
        await holder.close()
        assert await other.execute("query-name") == {"name": "fake"}
        await moved.wait()
        assert (other.shared, other.handovers, other.holder_pid) == (False, 1, None)
        await fake_monitor.event("RESUME")
        assert (await anext(events)).name == "RESUME"
        assert fake_monitor.connections == 2


async def test_when_the_vm_ends_all_are_told(fake_monitor: FakeMonitor) -> None:
    async with pair(fake_monitor) as (holder, other):
        await fake_monitor.hang_up()
        assert (
            await holder.wait_lost()
            == await other.wait_lost()
            == "the connection was closed by the other side"
        )
        with pytest.raises(Interrupted):
            await other.execute("query-name")
        with pytest.raises(CannotAttach):
            await Session.attach(fake_monitor.address, timeout_s=1)
    assert list(sharing.runtime_directory().iterdir()) == []


async def test_commands_of_one_client_stay_in_order_and_of_two_do_not_wait(fake_monitor: FakeMonitor) -> None:
    fake_monitor.answer("qom-get", lambda arguments: arguments["property"])
    async with pair(fake_monitor) as sessions:
        asked = [s.execute("qom-get", {"path": "/", "property": f"{n}"}) for n in range(50) for s in sessions]
        assert await asyncio.gather(*asked) == [f"{n}" for n in range(50) for _ in sessions]


@pytest.mark.parametrize(
    ("line", "qmp_class"),
    [
        (b"garbage\n", "GenericError"),
        (b"[1]\n", "GenericError"),
        (b'{"execute": 5}\n', "GenericError"),
        (b'{"execute": "query-name", "arguments": []}\n', "GenericError"),
        (b'{"exec-oob": "query-name"}\n', "GenericError"),
        (b'{"execute": "query-name"}\n', "CommandNotFound"),
        (b"[" * 3000 + b"\n", "GenericError"),
        (b'{"a":' * 3000 + b"\n", "GenericError"),
        (b"\xff\xfe\n", "GenericError"),
    ],
)
async def test_nonsense_is_answered_with_an_error(
    fake_monitor: FakeMonitor, line: bytes, qmp_class: str
) -> None:
    async with pair(fake_monitor) as (holder, _), raw_client(fake_monitor) as (reader, writer):
        assert (await reply_to(reader, writer, line))["error"]["class"] == qmp_class
        assert await reply_to(reader, writer, b'{"execute": "qmp_capabilities", "id": 7}\n') == {
            "return": {},
            "id": 7,
        }
        assert await holder.execute("query-name") == {"name": "fake"}


@pytest.mark.parametrize("value", ['"\\ud800"', "NaN", '"\\u0000"', "[" * 200 + "]" * 200])
async def test_what_would_confuse_qemu_is_not_sent_on(fake_monitor: FakeMonitor, value: str) -> None:
    async with pair(fake_monitor), raw_client(fake_monitor) as (reader, writer):
        await reply_to(reader, writer, b'{"execute": "qmp_capabilities"}\n')
        line = f'{{"execute": "netdev_del", "arguments": {{"id": {value}}}}}\n'
        assert (await reply_to(reader, writer, line.encode()))["error"]["class"] == "GenericError"
    assert fake_monitor.sent == []


@pytest.mark.parametrize("depth", [127, 129, 500, 900, *range(940, 1000, 5), 5000])
@pytest.mark.parametrize("command", ["query-name", "query-status"])
async def test_no_id_however_deep_harms_anybody(fake_monitor: FakeMonitor, depth: int, command: str) -> None:
    """Parsed at a shallow stack, it cannot be written again at a deeper one."""
    async with pair(fake_monitor) as (holder, other), raw_client(fake_monitor) as (reader, writer):
        await reply_to(reader, writer, b'{"execute": "qmp_capabilities"}\n')
        line = f'{{"execute": "{command}", "id": {"[" * depth}{"]" * depth}}}\n'
        answer = await reply_to(reader, writer, line.encode())
        assert ("return" in answer) == (depth < 128)
        for session in (holder, other):
            assert await session.execute("query-name") == {"name": "fake"}
        assert "id" in await reply_to(reader, writer, b'{"execute": "query-name", "id": 1}\n')


async def test_what_fails_in_one_clients_task_ends_that_client_only(
    fake_monitor: FakeMonitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_: object) -> None:
        raise RuntimeError("no such luck")

    async with pair(fake_monitor) as (holder, other), raw_client(fake_monitor) as (reader, writer):
        await reply_to(reader, writer, b'{"execute": "qmp_capabilities"}\n')
        with monkeypatch.context() as patch:
            patch.setattr(relay._RelayClient, "_reply", fails)
            answer = await reply_to(reader, writer, b'{"execute": "query-name", "id": 5}\n')
        assert answer["id"] == 5
        assert "RuntimeError: no such luck" in answer["error"]["desc"]
        assert await reader.read() == b""
        for session in (holder, other):
            assert await session.execute("query-name") == {"name": "fake"}


async def test_a_client_that_cannot_be_written_to_ends_alone(
    fake_monitor: FakeMonitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with pair(fake_monitor) as (_, other):

        async def fails(*_: object) -> None:
            raise RuntimeError("no such luck")

        with monkeypatch.context() as patch:
            patch.setattr(relay._RelayClient, "_write", fails)
            reader, writer = await asyncio.open_unix_connection(sharing.relay_path(fake_monitor.address))
            assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()
        assert await other.execute("query-name") == {"name": "fake"}


async def test_a_relay_that_fails_is_told_and_replaced(
    fake_monitor: FakeMonitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holding, "PAUSE_S", 0)
    async with await Session.attach(fake_monitor.address) as holder:
        events = holder.events()
        with monkeypatch.context() as patch:
            patch.setattr(relay, "_same_user", lambda _: 1 / 0)
            _, writer = await asyncio.open_unix_connection(sharing.relay_path(fake_monitor.address))
            failed = await anext(events)
            writer.close()
        assert failed.name == relay.FAILED_EVENT
        assert "ZeroDivisionError" in failed.data["reason"]
        async with await Session.attach(fake_monitor.address) as other:
            assert other.shared
            assert await other.execute("query-name") == {"name": "fake"}
        assert await holder.execute("query-name") == {"name": "fake"}
        assert fake_monitor.connections == 1


async def test_clients_of_a_failed_relay_go_on_through_the_next(
    fake_monitor: FakeMonitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holding, "PAUSE_S", 0)
    async with pair(fake_monitor) as (holder, other):
        moved = asyncio.Event()
        other.on_handover(moved.set)
        with monkeypatch.context() as patch:
            patch.setattr(relay, "_same_user", lambda _: 1 / 0)
            _, writer = await asyncio.open_unix_connection(sharing.relay_path(fake_monitor.address))
            assert (await anext(holder.events())).name == relay.FAILED_EVENT
            writer.close()
        await moved.wait()
        assert await other.execute("query-name") == {"name": "fake"}
        assert (other.shared, other.handovers, holder.handovers) == (True, 1, 0)


async def test_a_session_whose_own_task_fails_is_lost_and_lets_the_monitor_go(
    fake_monitor: FakeMonitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_: object) -> str:
        raise RuntimeError("no such luck")

    with monkeypatch.context() as patch:
        patch.setattr(Session, "_hold", fails)
        first = await Session.attach(fake_monitor.address)
        assert "RuntimeError: no such luck" in await first.wait_lost()
    async with await Session.attach(fake_monitor.address) as again:
        assert not again.shared
        assert await again.execute("query-name") == {"name": "fake"}
    with pytest.raises(Interrupted, match="no such luck"):
        await first.execute("query-name")
    await first.close()


async def test_a_fault_in_hearing_costs_a_client_its_way_and_the_holder_its_session(
    fake_monitor: FakeMonitor,
) -> None:
    def fails(_: object) -> None:
        raise KeyError("no such luck")

    fake_monitor.answer("netdev_del", {})
    async with pair(fake_monitor) as (holder, other):
        joined_again = asyncio.Event()
        other.on_handover(joined_again.set)
        other.on_change(fails)
        await holder.execute("netdev_del", {"id": "x"})
        await joined_again.wait()
        assert await other.execute("query-name") == {"name": "fake"}
        await other.close()
        holder._fan.put = fails  # type: ignore[method-assign]
        await fake_monitor.event("STOP")
        assert await holder.wait_lost() == "qmon failed: KeyError: 'no such luck'"
        async with await Session.attach(fake_monitor.address) as again:
            assert not again.shared
            assert await again.execute("query-name") == {"name": "fake"}


async def test_an_endless_line_ends_its_client_only(
    fake_monitor: FakeMonitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "LINE_LIMIT_BYTES", 100_000)
    async with pair(fake_monitor) as (_, other), raw_client(fake_monitor) as (_, writer):
        with pytest.raises(OSError):  # noqa: PT011 (broken pipe or reset)
            while True:
                writer.write(b"x" * 10_000)
                await writer.drain()
        assert await other.execute("query-name") == {"name": "fake"}


async def test_a_client_that_does_not_read_delays_nobody(
    fake_monitor: FakeMonitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its events are dropped and counted, its own commands wait; the others go on."""
    monkeypatch.setattr(relay, "EVENTS_LIMIT_BYTES", 10_000)
    async with pair(fake_monitor) as (holder, other), raw_client(fake_monitor) as (reader, writer):
        await reply_to(reader, writer, b'{"execute": "qmp_capabilities"}\n')
        heard = other.events()
        for number in range(3000):
            await fake_monitor.event("BALLOON_CHANGE", {"actual": number, "padding": "x" * 500})
            await anext(heard)
        assert await holder.execute("query-name") == {"name": "fake"}
        assert await other.execute("query-name") == {"name": "fake"}
        seen = dropped = 0
        while seen + dropped < 3000:
            message = json.loads(await reader.readline())
            if message["event"] == relay.DROPPED_EVENT:
                dropped += message["data"]["count"]
            else:
                seen += 1
            if seen + dropped < 3000 and reader.at_eof():
                break
            if not dropped:
                await fake_monitor.event("BALLOON_CHANGE", {"actual": -1})
                await anext(heard)
                seen -= 1
        assert dropped > 0


async def test_a_stalled_client_is_let_go(fake_monitor: FakeMonitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "STALL_S", 0.1)
    async with pair(fake_monitor), raw_client(fake_monitor) as (reader, writer):
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.sleep(0)
        with pytest.raises(OSError):  # noqa: PT011 (broken pipe or reset)
            while True:
                writer.write(b'{"execute": "qmp_capabilities"}\n{"execute": "query-qmp-schema"}\n')
                await writer.drain()
                await asyncio.sleep(0.001)
        del reader


async def test_too_many_clients_are_not_taken(
    fake_monitor: FakeMonitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "CLIENT_LIMIT", 1)
    async with pair(fake_monitor) as (_, other):
        reader, writer = await asyncio.open_unix_connection(sharing.relay_path(fake_monitor.address))
        assert json.loads(await reader.read())["error"]["class"] == relay.FULL_CLASS
        writer.close()
        await writer.wait_closed()
        full = rf"the qmon that holds it \(pid {os.getpid()}\) is full: it already serves 1 others"
        with pytest.raises(CannotAttach, match=full):
            await Session.attach(fake_monitor.address)
        assert await other.execute("query-name") == {"name": "fake"}


async def test_who_finds_it_full_for_a_moment_waits(
    fake_monitor: FakeMonitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "CLIENT_LIMIT", 1)
    told = asyncio.Event()
    takes = relay.Relay._takes

    def noted(self: relay.Relay, sock: socket.socket) -> bool:
        taken = takes(self, sock)
        if not taken:
            told.set()
        return taken

    monkeypatch.setattr(relay.Relay, "_takes", noted)
    async with await Session.attach(fake_monitor.address):
        other = await Session.attach(fake_monitor.address)
        third = asyncio.create_task(Session.attach(fake_monitor.address))
        await told.wait()
        await other.close()
        async with await third as session:
            assert session.shared


async def test_another_user_is_not_served(fake_monitor: FakeMonitor, monkeypatch: pytest.MonkeyPatch) -> None:
    async with await Session.attach(fake_monitor.address):
        monkeypatch.setattr(relay, "_same_user", lambda _: False)
        reader, writer = await asyncio.open_unix_connection(sharing.relay_path(fake_monitor.address))
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()


async def test_a_change_is_told_to_every_qmon_whoever_makes_it(fake_monitor: FakeMonitor) -> None:
    fake_monitor.answer("netdev_del", {})
    async with pair(fake_monitor) as sessions, await Session.attach(fake_monitor.address) as third:
        heard: dict[Session, asyncio.Queue[object]] = {}
        for session in (*sessions, third):
            heard[session] = asyncio.Queue()
            session.on_change(lambda event, queue=heard[session]: queue.put_nowait(event.data["arguments"]))
        events = third.events()
        for number, session in enumerate(heard):
            await session.execute("netdev_del", {"id": f"u{number}"})
            for queue in heard.values():
                async with asyncio.timeout(5):
                    assert await queue.get() == {"id": f"u{number}"}
        await fake_monitor.event("STOP", {})
        assert (await anext(events)).name == "STOP"  # None of it is an event of QEMU's.


async def test_what_was_refused_is_no_change_and_hearing_can_end(fake_monitor: FakeMonitor) -> None:
    fake_monitor.answer("device_del", {})
    async with pair(fake_monitor) as (holder, other):
        heard: list[object] = []
        end = holder.on_change(heard.append)
        fake_monitor.refuse("netdev_del", "no such thing", "DeviceNotFound")
        with pytest.raises(Refused):
            await other.execute("netdev_del", {"id": "x"})
        assert not heard
        await other.execute("device_del", {"id": "x"})
        assert len(heard) == 1
        end()
        await other.execute("device_del", {"id": "y"})
        assert len(heard) == 1
