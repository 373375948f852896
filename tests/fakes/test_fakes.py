"""The fake monitor notices what it should, and says where."""

import json
import socket
from pathlib import Path

import pytest

from qmon.errors import Interrupted, Refused
from qmon.monitor import commands
from qmon.monitor.session import Session
from tests.fakes.checking import Checker
from tests.fakes.fixtures import serving
from tests.fakes.monitor import FakeMonitor
from tests.lab.conversations import STORIES

TALK = [
    {
        "from": "qemu",
        "message": {"QMP": {"version": {"qemu": {"major": 7, "minor": 2, "micro": 22}}, "capabilities": []}},
    },
    {"from": "qmon", "message": {"execute": "qmp_capabilities", "arguments": {}}},
    {"from": "qemu", "message": {"return": {}}},
    {"from": "qmon", "message": {"execute": "query-name", "id": "1"}},
    {"from": "qemu", "message": {"return": {}, "id": "1"}},
    {"from": "qmon", "message": {"execute": "stop", "id": "2"}},
    {"from": "qemu", "message": {"return": {}, "id": "2"}},
]


def talk(path: Path) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in TALK))
    return path


async def test_a_surprise_names_file_and_line(runtime_directory: Path) -> None:
    path = talk(runtime_directory / "talk.jsonl")
    monitor = FakeMonitor(runtime_directory / "m.sock")
    monitor.replay(path)
    with pytest.raises(AssertionError) as surprise:
        async with serving(monitor), await Session.attach(monitor.address, share=False) as session:
            await session.execute("query-name")
            with pytest.raises(Interrupted):
                await session.execute("cont")
    assert f"{path}:6: expected {{'execute': 'stop'}}, but {{'execute': 'cont'}} came" in str(surprise.value)


async def test_a_conversation_cut_short_is_a_surprise(runtime_directory: Path) -> None:
    path = talk(runtime_directory / "talk.jsonl")
    monitor = FakeMonitor(runtime_directory / "m.sock")
    monitor.replay(path)
    with pytest.raises(AssertionError, match=r"talk\.jsonl:6: expected .* but the test ended"):
        async with serving(monitor), await Session.attach(monitor.address, share=False) as session:
            await session.execute("query-name")


@pytest.mark.parametrize(
    ("command", "arguments", "problem"),
    [
        ("no-such-command", {}, "there is no command"),
        ("netdev_del", {}, "is missing"),
        ("netdev_del", {"id": 5}, "is no string"),
        ("netdev_del", {"id": "x", "force": True}, "no such member"),
        ("set_link", {"name": "x", "up": 1}, "is no boolean"),
        ("announce-self", {"initial": True, "max": 1, "rounds": 1, "step": 1}, "is no int"),
        ("netdev_add", {"type": "user", "id": "u", "hostfwd": ["tcp::1-:2"]}, "is no object"),
        ("netdev_add", {"type": "user", "id": "u", "ifname": "x"}, "no such member"),
        ("netdev_add", {"type": "magic", "id": "u"}, "is not one of"),
        ("netdev_add", {"type": "user", "id": "u", "hostfwd": [{"str": "tcp::1-:2"}]}, None),
        ("object-add", {"qom-type": "filter-dump", "id": "d", "netdev": "u", "file": "f", "maxlen": 5}, None),
        ("device_add", {"driver": "e1000", "anything": 5}, None),
        ("device_add", {}, "'driver' is missing"),
    ],
)
def test_commands_are_checked_against_the_schema(
    command: str, arguments: dict[str, object], problem: str | None
) -> None:
    found = Checker("7.2.22").problem(command, arguments)
    assert (found is None) == (problem is None)
    assert problem is None or problem in str(found)


async def test_an_unexpected_command_fails_the_test(runtime_directory: Path) -> None:
    monitor = FakeMonitor(runtime_directory / "m.sock")
    with pytest.raises(AssertionError, match="no answer was given for system_reset"):
        async with serving(monitor), await Session.attach(monitor.address) as session:
            with pytest.raises(Refused):
                await session.execute("system_reset")


async def test_descriptors_arrive(fake_monitor: FakeMonitor) -> None:
    ours, theirs = socket.socketpair()
    async with await Session.attach(fake_monitor.address) as session:
        with ours:
            added = await commands.add_fd(session, theirs.fileno(), opaque="test")
            theirs.close()
            assert added.fd == fake_monitor.descriptors[0]
            with socket.socket(fileno=fake_monitor.descriptors.pop()) as passed:
                passed.send(b"through")
            assert ours.recv(10) == b"through"
        assert (await session.execute("query-fdsets"))[0]["fds"][0]["opaque"] == "test"


def test_the_stories_are_there() -> None:
    assert set(STORIES) == {"look", "change", "capture", "end"}
