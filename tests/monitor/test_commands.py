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
NETDEV = {"type": "user", "id": "u1", "hostfwd": [{"str": "tcp::0-:22"}], "restrict": True}
SETS = [{"fdset-id": 3, "fds": [{"fd": 13, "opaque": "qmon"}, {"fd": 14}]}]

CASES: dict[str, tuple[Call, str, Any, Any]] = {
    "query_status": (commands.query_status, "query-status", {"status": "paused"}, "paused"),
    "query_name": (commands.query_name, "query-name", {"name": "vm"}, "vm"),
    "stop": (commands.stop, "stop", {}, None),
    "cont": (commands.cont, "cont", {}, None),
    "announce_self": (commands.announce_self, "announce-self", {}, None),
    "quit_vm": (commands.quit_vm, "quit", {}, None),
    "qom_list": (
        lambda s: commands.qom_list(s, "/objects"),
        "qom-list",
        PROPERTIES,
        (Property("mac", "str"),),
    ),
    "qom_get": (lambda s: commands.qom_get(s, "/objects/x", "status"), "qom-get", "on", "on"),
    "qom_set": (lambda s: commands.qom_set(s, "/objects/x", "status", "off"), "qom-set", {}, None),
    "object_add": (
        lambda s: commands.object_add(s, "filter-dump", "d", {"netdev": "u1", "file": "/f", "maxlen": 96}),
        "object-add",
        {},
        None,
    ),
    "object_del": (lambda s: commands.object_del(s, "d"), "object-del", {}, None),
    "device_list_properties": (
        lambda s: commands.device_list_properties(s, "e1000"),
        "device-list-properties",
        PROPERTIES,
        (Property("mac", "str"),),
    ),
    "netdev_add": (lambda s: commands.netdev_add(s, NETDEV), "netdev_add", {}, None),
    "netdev_del": (lambda s: commands.netdev_del(s, "u1"), "netdev_del", {}, None),
    "device_add": (lambda s: commands.device_add(s, {"driver": "e1000", "id": "n"}), "device_add", {}, None),
    "device_del": (lambda s: commands.device_del(s, "n"), "device_del", {}, None),
    "set_link": (lambda s: commands.set_link(s, "n", False), "set_link", {}, None),
    "query_rx_filter": (
        lambda s: commands.query_rx_filter(s, "n"),
        "query-rx-filter",
        [{"name": "n"}],
        {"name": "n"},
    ),
    "chardev_add_file": (lambda s: commands.chardev_add_file(s, "c", "/f"), "chardev-add", {}, None),
    "chardev_remove": (lambda s: commands.chardev_remove(s, "c"), "chardev-remove", {}, None),
    "query_fdsets": (commands.query_fdsets, "query-fdsets", SETS, (FdSet(3, ((13, "qmon"), (14, ""))),)),
    "remove_fd": (lambda s: commands.remove_fd(s, 3), "remove-fd", {}, None),
}


def test_every_wrapper_has_a_case() -> None:
    assert set(CASES) == {
        name for name, value in vars(commands).items() if inspect.iscoroutinefunction(value)
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
