"""Each wrapper sends what every recorded QEMU's schema allows, and reads the reply."""

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from qmon.monitor import commands
from qmon.monitor.commands import FdSet, Property
from qmon.monitor.session import Session
from tests.fakes.checking import recorded_versions
from tests.fakes.monitor import FakeMonitor

Call = Callable[[Session], Awaitable[Any]]
PROPERTIES = [{"name": "mac", "type": "str", "description": "x"}]
SETS = [{"fdset-id": 3, "fds": [{"fd": 13, "opaque": "qmon"}, {"fd": 14}]}]

CASES: dict[str, tuple[Call, str, Any, Any]] = {
    "query_status": (commands.query_status, "query-status", {"status": "paused"}, "paused"),
    "query_name": (commands.query_name, "query-name", {"name": "vm"}, "vm"),
    "cont": (commands.cont, "cont", {}, None),
    "qom_list": (
        lambda s: commands.qom_list(s, "/objects"),
        "qom-list",
        PROPERTIES,
        (Property("mac", "str"),),
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
    "getfd": (lambda s: commands.getfd(s, 1, "fd1"), "getfd", {}, None),
    "closefd": (lambda s: commands.closefd(s, "fd1"), "closefd", {}, None),
    "query_fdsets": (commands.query_fdsets, "query-fdsets", SETS, (FdSet(3, ((13, "qmon"), (14, ""))),)),
    "remove_fd": (lambda s: commands.remove_fd(s, 3, 13), "remove-fd", {}, None),
}


def test_every_wrapper_has_a_case() -> None:
    assert set(CASES) == {
        name
        for name, value in vars(commands).items()
        if inspect.iscoroutinefunction(value) and not name.startswith("_")
    }


@pytest.mark.parametrize("version", recorded_versions())
@pytest.mark.parametrize("name", CASES)
async def test_wrapper(fake_monitor: FakeMonitor, name: str, version: str) -> None:
    call, command, reply, expected = CASES[name]
    fake_monitor.version(version)
    fake_monitor.answer(command, reply)
    async with await Session.attach(fake_monitor.address) as session:
        assert await call(session) == expected
    assert [sent for sent, _ in fake_monitor.sent] == [command]


async def test_a_vm_without_a_name(fake_monitor: FakeMonitor) -> None:
    fake_monitor.answer("query-name", {})
    async with await Session.attach(fake_monitor.address) as session:
        assert await commands.query_name(session) is None
