"""Whatever listens at a monitor's address: attaching, asking and closing end in time, with the right error."""

import asyncio
import gc
import json
import socket
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qmon.errors import CannotAttach, Interrupted, QmonError, Refused, TimedOut, UsageError
from qmon.monitor.address import UnixAddress
from qmon.monitor.bounds import check_arguments
from qmon.monitor.connection import Connection
from qmon.monitor.session import Session
from qmon.text import plain
from tests.fakes.fixtures import serving
from tests.fakes.monitor import FakeMonitor, HangUp, Split, Stall
from tests.monitor.conftest import stranger

FAST_S = 0.3


async def error_of(awaitable: Awaitable[object]) -> QmonError:
    with pytest.raises(QmonError) as caught:
        await awaitable
    return caught.value


@pytest.mark.parametrize(
    ("greeting", "says"),
    [
        (b"QEMU 7.2.22 monitor - type 'help' for more information\r\n(qemu) ", "human monitor (HMP)"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "it says 'HTTP/1.1 400 Bad Request\\r\\n\\r\\n'"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "not a QMP monitor"),
        (b"\x00\x01\x02\xff\xfe" * 20, "not a QMP monitor"),
        (b"\x1b[31mred\x1b]0;title\x07\n", "\\x1b[31mred"),
        (b'{"QMP": 1}\n', "not a QMP monitor"),
        (b'{"QMP": {"version": {}}}\n', "not a QMP monitor"),
        (b"[1, 2]\n", "not a QMP monitor"),
        (b"{" + b"[" * 3000 + b"\n", "not a QMP monitor"),
        (b'{"a":' * 3000 + b"\n", "not a QMP monitor"),
        (b'{"number": ' + b"9" * 5000 + b"}\n", "not a QMP monitor"),
        (b'{"\xff": 1}\n', "not a QMP monitor"),
        (b'{"unlike": "QMP"}\n', 'it said \'{"unlike": "QMP"}\''),
        (b'{"QMP": {"version"', "only part of a QMP greeting"),
        (b"", "no QMP greeting came within"),
    ],
)
async def test_what_is_no_monitor_is_said(fake_monitor: FakeMonitor, greeting: bytes, says: str) -> None:
    fake_monitor.greeting = greeting
    error = await error_of(Session.attach(fake_monitor.address, timeout_s=FAST_S))
    assert isinstance(error, CannotAttach)
    assert says in error.message
    assert str(fake_monitor.address) in error.message
    assert error.message == plain(error.message)


VERSION = {"major": 7, "minor": 2, "micro": 22}


def greeting(version: object) -> bytes:
    return json.dumps({"QMP": {"version": version, "capabilities": []}}).encode() + b"\r\n"


@pytest.mark.parametrize(
    "version",
    [
        *(
            {"qemu": {**VERSION, "major": wrong}, "package": ""}
            for wrong in ("7", None, True, -1, 7.0, [], {})
        ),
        *({"qemu": {**VERSION, "micro": wrong}, "package": ""} for wrong in (float("nan"), 10**30, 10000)),
        {"qemu": VERSION, "package": 5},
        {"qemu": {"major": 7, "minor": 2}},
        {"qemu": "7.2.22"},
        {},
    ],
)
async def test_a_greeting_with_an_impossible_version(fake_monitor: FakeMonitor, version: object) -> None:
    fake_monitor.greeting = greeting(version)
    error = await error_of(Session.attach(fake_monitor.address, timeout_s=FAST_S))
    assert isinstance(error, CannotAttach)
    assert "this is not a QMP monitor: " in error.message
    assert await fake_monitor.is_left()


async def test_a_greeting_with_an_endless_version(fake_monitor: FakeMonitor) -> None:
    fake_monitor.greeting = greeting({"qemu": VERSION}).replace(b"7", b"1e400")
    error = await error_of(Session.attach(fake_monitor.address, timeout_s=FAST_S))
    assert (
        "this is not a QMP monitor: the version in its greeting is not three whole numbers" in error.message
    )
    assert await fake_monitor.is_left()


LATE = (
    b'{"return": {}}\r\n',
    b'{"return": {}, "id": "x"}\r\n{"error": {"class": "GenericError", "desc": "no"}, "id": 7}\r\n',
    b'{"event": "STOP", "timestamp": {"seconds": 1, "microseconds": 2}}\r\n',
    b'{\r\n    "return": {\r\n    }\r\n}\r\n',
    b'{"return": "' + b"x" * 1_000_000 + b'"}\r\n',
)


@pytest.mark.parametrize("late", LATE)
async def test_a_late_reply_to_a_client_that_left_comes_before_the_greeting(
    fake_monitor: FakeMonitor, late: bytes
) -> None:
    fake_monitor.greeting = late * 2 + greeting({"qemu": VERSION, "package": ""})
    async with await Session.attach(fake_monitor.address) as session:
        assert str(session.version) == "7.2.22"
        assert await session.execute("query-name") == {"name": "fake"}


@pytest.mark.parametrize("late", LATE[1:3])
async def test_a_late_reply_comes_after_the_greeting(fake_monitor: FakeMonitor, late: bytes) -> None:
    fake_monitor.greeting = greeting({"qemu": VERSION, "package": ""}) + late
    async with await Session.attach(fake_monitor.address) as session:
        assert await session.execute("query-name") == {"name": "fake"}


@pytest.mark.parametrize("endless", [b'{"return": {}}\r\n', b"{" + b" " * 1000])
async def test_replies_without_a_greeting_are_not_read_without_end(
    socket_path: Path, monkeypatch: pytest.MonkeyPatch, endless: bytes
) -> None:
    monkeypatch.setattr("qmon.monitor.connection.GREETING_LIMIT_BYTES", 300_000)

    async def behave(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(endless)
            await writer.drain()

    async with stranger(socket_path, behave) as address:
        error = await error_of(Session.attach(address))
    assert "this is not a QMP monitor: no greeting in 300000 bytes" in error.message


async def test_an_error_in_place_of_a_greeting_is_told(socket_path: Path) -> None:
    async def behave(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'{"error": {"class": "X", "desc": "come back later"}}\n')

    async with stranger(socket_path, behave) as address:
        assert "come back later" in (await error_of(Session.attach(address))).message


async def test_a_peer_that_hangs_up_at_once(socket_path: Path) -> None:
    async def behave(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with stranger(socket_path, behave) as address:
        error = await error_of(Session.attach(address, timeout_s=FAST_S))
    assert "closed before a QMP greeting came" in error.message


async def test_a_peer_that_greets_and_then_is_silent(socket_path: Path) -> None:
    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting({"qemu": VERSION}))
        await reader.read()

    async with stranger(socket_path, behave) as address:
        error = await error_of(Session.attach(address, timeout_s=FAST_S))
    assert "greeted, but did not answer" in error.message


async def test_nobody_and_nothing(runtime_directory: Path, fake_monitor: FakeMonitor) -> None:
    from qmon.monitor.address import TcpAddress, UnixAddress

    nothing = UnixAddress(str(runtime_directory / "nothing"))
    assert "no such socket" in (await error_of(Session.attach(nothing))).message
    await fake_monitor.hang_up()
    fake_monitor.path.touch()
    assert "cannot attach" in (await error_of(Session.attach(fake_monitor.address))).message
    assert "nothing listens" in (await error_of(Session.attach(TcpAddress("127.0.0.1", 1)))).message
    assert "cannot attach" in (await error_of(Session.attach(TcpAddress("no.invalid", 1)))).message
    assert "cannot attach" in (await error_of(Session.attach(TcpAddress("a" * 70 + ".b", 1)))).message


async def test_a_socket_whose_path_is_too_long_for_an_address(runtime_directory: Path) -> None:
    from qmon.monitor.address import UnixAddress

    directory = runtime_directory / ("long" * 30)
    directory.mkdir()
    async with serving(FakeMonitor(runtime_directory / "m.sock")) as monitor:
        (directory / "m.sock").hardlink_to(monitor.path)
        async with await Session.attach(UnixAddress(str(directory / "m.sock"))) as session:
            assert await session.execute("query-name") == {"name": "fake"}


async def test_refused_carries_class_and_reason_as_plain_text(fake_monitor: FakeMonitor) -> None:
    fake_monitor.refuse("netdev_del", "Device '\x1b[31m' not found", "DeviceNotFound")
    async with await Session.attach(fake_monitor.address) as session:
        error = await error_of(session.execute("netdev_del", {"id": "x"}))
    assert isinstance(error, Refused)
    assert (error.qmp_class, error.reason) == ("DeviceNotFound", "Device '\x1b[31m' not found")
    assert error.message == "QEMU refused netdev_del: Device '\\x1b[31m' not found"


@pytest.mark.parametrize(
    "reply",
    [
        {"neither": 1},
        {"error": "no"},
        {"error": {"class": "X"}},
        {"error": {"class": "X", "desc": ["a"]}},
    ],
)
async def test_a_reply_that_is_none(fake_monitor: FakeMonitor, reply: dict[str, Any]) -> None:
    async with await Session.attach(fake_monitor.address) as session:
        fake_monitor.forgiving = True
        fake_monitor._reply = lambda command, arguments: reply  # type: ignore[method-assign]
        assert isinstance(await error_of(session.execute("query-name")), Interrupted)


@pytest.mark.parametrize(
    "noise",
    [
        b'{"return": {}, "id": "unknown"}\r\n',
        b'{"return": {}, "id": ["unhashable"]}\r\n',
        b'{"return": {}, "id": {"a": 1}}\r\n',
        b'{"return": {}}\r\n',
        b'{"event": ["x"], "data": 5, "timestamp": 7}\r\n',
        b'{"event": "X", "timestamp": {"seconds": "a", "microseconds": null}}\r\n',
        b"\r\n\r\n",
    ],
)
async def test_noise_between_replies_changes_nothing(fake_monitor: FakeMonitor, noise: bytes) -> None:
    async with await Session.attach(fake_monitor.address) as session:
        await fake_monitor.send_raw(noise * 3)
        assert await session.execute("query-name") == {"name": "fake"}


@pytest.mark.parametrize("garbage", [b"no json\n", b"[]\n", b"\xff\xfe\n", b"[" * 5000 + b"\n", b'"text"\n'])
async def test_garbage_after_the_greeting_ends_the_session(fake_monitor: FakeMonitor, garbage: bytes) -> None:
    async with await Session.attach(fake_monitor.address) as session:
        await fake_monitor.send_raw(garbage)
        assert "broke the protocol" in await session.wait_lost()
        error = await error_of(session.execute("query-name"))
    assert isinstance(error, Interrupted)
    assert "broke the protocol" in error.message


@pytest.mark.parametrize("size", [1, 3, 1000])
async def test_messages_over_several_lines(
    fake_monitor: FakeMonitor, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """As a monitor with pretty=on sends them."""

    async def send_pretty(client: Any, message: Any) -> None:
        await client.send_bytes(json.dumps(message, indent=4).replace("\n", "\r\n").encode() + b"\r\n")

    monkeypatch.setattr("tests.fakes.monitor._Client.send", send_pretty)
    fake_monitor.fault(Split(size))
    fake_monitor.answer("qom-get", {"a": [{}, {"b": "}\n}"}], "c": []})
    async with await Session.attach(fake_monitor.address) as session:
        events = session.events()
        for _ in range(3):
            await fake_monitor.event("STOP", {"a": {"b": 1}})
            assert await session.execute("qom-get", {"path": "/", "property": "x"}) == {
                "a": [{}, {"b": "}\n}"}],
                "c": [],
            }
            assert (await anext(events)).data == {"a": {"b": 1}}


async def test_an_endless_line_is_not_kept(
    fake_monitor: FakeMonitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qmon.monitor.connection.MESSAGE_LIMIT_BYTES", 1 << 20)
    async with await Session.attach(fake_monitor.address) as session:
        with pytest.raises(OSError):  # noqa: PT011 (broken pipe or reset)
            while True:
                await fake_monitor.send_raw(b"[" * 65536)
        assert "more than 1048576 bytes" in await session.wait_lost()


async def test_a_parse_error_without_an_id_is_the_only_commands_answer(fake_monitor: FakeMonitor) -> None:
    error = {"error": {"class": "GenericError", "desc": "JSON parse error"}}
    async with await Session.attach(fake_monitor.address) as session:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(fake_monitor, "_replies", lambda *_: asyncio.sleep(0, [error]))
            assert "JSON parse error" in (await error_of(session.execute("query-name"))).message
        assert await session.execute("query-name") == {"name": "fake"}


async def test_a_command_has_a_deadline_and_a_late_answer_is_ignored(fake_monitor: FakeMonitor) -> None:
    release = asyncio.Event()
    async with await Session.attach(fake_monitor.address) as session:
        replies = fake_monitor._replies

        async def late(message: dict[str, Any], descriptors: int) -> list[dict[str, Any]]:
            if message["execute"] == "query-status":
                await release.wait()
            return await replies(message, descriptors)

        fake_monitor._replies = late  # type: ignore[method-assign]
        error = await error_of(session.execute("query-status", timeout_s=0.05))
        assert isinstance(error, TimedOut)
        assert "no answer within 0.05 s" in error.message
        release.set()
        assert await session.execute("query-name") == {"name": "fake"}


@pytest.mark.parametrize("kind", [Stall, HangUp])
async def test_the_peer_stops_at_any_byte(runtime_directory: Path, kind: type[Stall | HangUp]) -> None:
    """At each byte of greeting and replies: in time, one of the three errors, and nothing left behind."""
    whole = 1
    at = 0
    while at < whole:
        monitor = FakeMonitor(runtime_directory / f"{at}.sock")
        monitor.fault(kind(at))
        async with serving(monitor):
            with pytest.raises((CannotAttach, Interrupted, TimedOut)):
                async with await Session.attach(monitor.address, timeout_s=0.02, share=False) as session:
                    await session.execute("query-name", timeout_s=0.02)
        greeting = len(json.dumps(monitor._greeting())) + 2
        whole = (
            greeting
            + len('{"return": {}}\r\n')
            + len('{"return": {"name": "fake"}, "id": "__qmp#00000"}\r\n')
        )
        at += 1 if at > greeting else 10


async def test_closing_does_not_wait_for_a_peer_that_does_not_read(fake_monitor: FakeMonitor) -> None:
    session = await Session.attach(fake_monitor.address, share=False)

    async def deaf(*_: object) -> list[dict[str, Any]]:
        await asyncio.get_running_loop().create_future()
        return []

    fake_monitor.forgiving = True
    fake_monitor._replies = deaf  # type: ignore[method-assign]
    async with asyncio.TaskGroup() as tasks:
        for _ in range(50):
            tasks.create_task(error_of(session.execute("query-name", {"x": "y" * 100_000}, timeout_s=0.2)))
    async with asyncio.timeout(30):
        await session.close()


async def test_a_cancelled_command_leaves_the_session_usable(fake_monitor: FakeMonitor) -> None:
    async with await Session.attach(fake_monitor.address) as session:
        asking = asyncio.create_task(session.execute("query-status"))
        await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert await session.execute("query-name") == {"name": "fake"}


async def test_many_commands_at_once_get_their_own_answers(fake_monitor: FakeMonitor) -> None:
    fake_monitor.answer("qom-get", lambda arguments: arguments["property"])
    async with await Session.attach(fake_monitor.address) as session:
        asked = [session.execute("qom-get", {"path": "/", "property": str(n)}) for n in range(100)]
        assert await asyncio.gather(*asked) == [str(n) for n in range(100)]


@pytest.mark.parametrize(
    "arguments", [{"id": "\ud800"}, {"id": "a\0b"}, {"x": float("nan")}, {"\udfff": 1}, {"x": [float("inf")]}]
)
async def test_what_qmp_cannot_carry_is_not_sent(
    fake_monitor: FakeMonitor, arguments: dict[str, Any]
) -> None:
    async with await Session.attach(fake_monitor.address) as session:
        assert isinstance(await error_of(session.execute("netdev_del", arguments)), UsageError)
    assert fake_monitor.sent == []


def test_arguments_nested_too_deeply_are_refused() -> None:
    value: list[Any] = []
    for _ in range(5000):
        value = [value]
    with pytest.raises(UsageError, match="nested"):
        check_arguments(value)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300))
async def test_any_bytes_as_a_greeting(runtime_directory: Path, greeting: bytes) -> None:
    monitor = FakeMonitor(runtime_directory / "any.sock")
    monitor.greeting = greeting
    try:
        async with serving(monitor):
            error = await error_of(Session.attach(monitor.address, timeout_s=0.05, share=False))
            assert isinstance(error, CannotAttach)
            assert error.message == plain(error.message)
    finally:
        monitor.path.unlink()


async def test_what_is_no_socket_is_told_so(tmp_path: Path) -> None:
    plain_file = tmp_path / "file"
    plain_file.touch()
    with pytest.raises(CannotAttach, match="that is not a socket"):
        await Session.attach(UnixAddress(str(plain_file)))


# A loop that ends so leaves its sockets to the end of the process.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("ending", ["closed", "cancelled", "hung up"])
@pytest.mark.parametrize("turns", range(12))
def test_a_loop_that_ends_amid_the_closing_says_nothing(ending: str, turns: int) -> None:
    """A signal ends the loop at any moment: no complaint about a future nobody read goes to stderr."""
    complaints: list[str] = []

    async def scene() -> None:
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: complaints.append(context["message"])
        )
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        reader, writer = await asyncio.open_connection(sock=theirs)

        async def greet() -> None:
            writer.write(greeting({"qemu": VERSION}))
            await reader.readline()
            writer.write(b'{"return": {}}\n')

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(greet())
            opening = tasks.create_task(Connection.open(ours, timeout_s=5, on_event=lambda _: None))
        connection = opening.result()
        if ending == "hung up":
            writer.close()
            closing = asyncio.ensure_future(connection.wait_closed())
        else:
            closing = asyncio.ensure_future(connection.close())
        for _ in range(turns):
            await asyncio.sleep(0)
        if ending == "cancelled":
            closing.cancel()
            await asyncio.wait([closing])

    asyncio.run(scene())
    gc.collect()
    assert complaints == []
