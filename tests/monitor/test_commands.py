"""Each wrapper sends what every recorded QEMU's schema allows, and reads the reply."""

import ast
import inspect
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

import qmon
from qmon.monitor import commands
from qmon.monitor.commands import AddedDescriptor, ChardevInfo, FdSet, Property
from qmon.monitor.session import Session
from tests.fakes.checking import recorded_versions
from tests.fakes.monitor import FakeMonitor

Call = Callable[[Session], Awaitable[Any]]
PROPERTIES = [{"name": "mac", "type": "str", "description": "x", "default-value": "y"}]
SETS = [{"fdset-id": 3, "fds": [{"fd": 13, "opaque": "qmon"}, {"fd": 14}]}]

CASES: dict[str, tuple[Call, str, Any, Any]] = {
    "query_status": (commands.query_status, "query-status", {"status": "paused"}, "paused"),
    "query_name": (commands.query_name, "query-name", {"name": "vm"}, "vm"),
    "cont": (commands.cont, "cont", {}, None),
    "qom_list": (
        lambda s: commands.qom_list(s, "/objects"),
        "qom-list",
        PROPERTIES,
        (Property("mac", "str", "y", "x"),),
    ),
    "qom_get": (lambda s: commands.qom_get(s, "/objects/x", "status"), "qom-get", "on", "on"),
    "chardev_remove": (lambda s: commands.chardev_remove(s, "c"), "chardev-remove", {}, None),
    "object_del": (lambda s: commands.object_del(s, "x"), "object-del", {}, None),
    "add_redirector": (
        lambda s: commands.add_redirector(s, "w", netdev="u1", indev="c", queue="tx", position="head"),
        "object-add",
        {},
        None,
    ),
    "chardev_add_descriptor": (
        lambda s: commands.chardev_add_descriptor(s, "c", "fd1"),
        "chardev-add",
        {"pty": "/dev/pts/1"},
        None,
    ),
    "chardev_add_unix": (lambda s: commands.chardev_add_unix(s, "c", "/run/s"), "chardev-add", {}, None),
    "getfd": (lambda s: commands.getfd("fd1").send(s, fd=1), "getfd", {}, {}),
    "closefd": (lambda s: commands.closefd(s, "fd1"), "closefd", {}, None),
    "query_commands": (
        commands.query_commands,
        "query-commands",
        [{"name": "stop"}, {"name": "cont"}],
        frozenset({"stop", "cont"}),
    ),
    "query_qmp_schema": (commands.query_qmp_schema, "query-qmp-schema", [], []),
    "human_monitor_command": (
        lambda s: commands.human_monitor_command(s, "info status"),
        "human-monitor-command",
        "VM status: running\r\n",
        "VM status: running\n",
    ),
    "netdev_add": (
        lambda s: commands.netdev_add({"type": "user", "id": "u1"}).send(s),
        "netdev_add",
        {},
        {},
    ),
    "netdev_del": (lambda s: commands.netdev_del("u1").send(s), "netdev_del", {}, {}),
    "device_add": (
        lambda s: commands.device_add({"driver": "e1000", "netdev": "u1"}).send(s),
        "device_add",
        {},
        {},
    ),
    "device_del": (lambda s: commands.device_del("nic1").send(s), "device_del", {}, {}),
    "set_link": (lambda s: commands.set_link("nic1", False).send(s), "set_link", {}, {}),
    "hostfwd_add": (
        lambda s: commands.hostfwd_add("u1", "tcp:127.0.0.1:2222-:22").send(s),
        "human-monitor-command",
        "",
        "",
    ),
    "hostfwd_remove": (
        lambda s: commands.hostfwd_remove("u1", "tcp:127.0.0.1:2222").send(s),
        "human-monitor-command",
        "host forwarding rule for tcp:127.0.0.1:2222 removed\r\n",
        "host forwarding rule for tcp:127.0.0.1:2222 removed\n",
    ),
    "device_list_properties": (
        lambda s: commands.device_list_properties(s, "e1000"),
        "device-list-properties",
        PROPERTIES,
        (Property("mac", "str", "y", "x"),),
    ),
    "add_dump": (
        lambda s: commands.add_dump(s, "d", netdev="u1", queue="rx", file="/tmp/f", maxlen=65536),
        "object-add",
        {},
        None,
    ),
    "add_mirror": (
        lambda s: commands.add_mirror(s, "m", netdev="u1", outdev="c", queue="rx"),
        "object-add",
        {},
        None,
    ),
    "query_chardev": (
        commands.query_chardev,
        "query-chardev",
        [{"label": "serial0", "filename": "pty:/dev/pts/3", "frontend-open": True}],
        (ChardevInfo("serial0", "pty:/dev/pts/3"),),
    ),
    "chardev_add_file": (lambda s: commands.chardev_add_file(s, "c", "/tmp/f"), "chardev-add", {}, None),
    "chardev_add_listener": (
        lambda s: commands.chardev_add_listener(s, "c", "127.0.0.1"),
        "chardev-add",
        {},
        None,
    ),
    "add_fd": (
        lambda s: commands.add_fd(s, 1, opaque="x"),
        "add-fd",
        {"fdset-id": 2, "fd": 14},
        AddedDescriptor(2, 14),
    ),
    "query_fdsets": (commands.query_fdsets, "query-fdsets", SETS, (FdSet(3, ((13, "qmon"), (14, ""))),)),
    "remove_fd": (lambda s: commands.remove_fd(s, 3, 13), "remove-fd", {}, None),
}
# Commands that no released QEMU has: (call, command, reply, result).
NEWER_CASES: dict[str, tuple[Call, str, Any, Any]] = {
    "x_query_network": (commands.x_query_network, "x-query-network", {"human-readable-text": "a\r\n"}, "a\n"),
    "x_query_usernet": (commands.x_query_usernet, "x-query-usernet", {"human-readable-text": "b\r\n"}, "b\n"),
}


def test_every_wrapper_has_a_case() -> None:
    assert CASES.keys() | NEWER_CASES.keys() == {
        name
        for name, value in vars(commands).items()
        if inspect.isfunction(value) and value.__module__ == commands.__name__ and not name.startswith("_")
    }


def test_commands_are_spelt_in_one_place() -> None:
    """What a user typed is sent by name too, but no name stands in the code."""
    package = Path(qmon.__file__).parent
    elsewhere = [
        f"{path.relative_to(package)}:{node.lineno}: {node.args[0].value}"
        for path in package.rglob("*.py")
        if path != Path(commands.__file__)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "execute"
        if node.args and isinstance(node.args[0], ast.Constant)
    ]
    assert elsewhere == []


@pytest.mark.parametrize("version", recorded_versions())
@pytest.mark.parametrize("name", CASES)
async def test_wrapper(fake_monitor: FakeMonitor, name: str, version: str) -> None:
    call, command, reply, expected = CASES[name]
    fake_monitor.version(version)
    fake_monitor.answer(command, reply)
    async with await Session.attach(fake_monitor.address) as session:
        assert await call(session) == expected
    assert [sent for sent, _ in fake_monitor.sent] == [command]


@pytest.mark.parametrize("name", NEWER_CASES)
async def test_wrapper_of_a_newer_command(fake_monitor: FakeMonitor, name: str) -> None:
    call, command, reply, expected = NEWER_CASES[name]
    fake_monitor.forgiving = True
    fake_monitor.answer(command, reply)
    async with await Session.attach(fake_monitor.address) as session:
        assert await call(session) == expected


async def test_a_set_of_descriptors_is_closed_as_one(fake_monitor: FakeMonitor) -> None:
    fake_monitor.answer("remove-fd", {})
    async with await Session.attach(fake_monitor.address) as session:
        await commands.remove_fd(session, 3)
    assert fake_monitor.sent == [("remove-fd", {"fdset-id": 3})]


async def test_a_vm_without_a_name(fake_monitor: FakeMonitor) -> None:
    fake_monitor.answer("query-name", {})
    async with await Session.attach(fake_monitor.address) as session:
        assert await commands.query_name(session) is None
