"""What is asked about before it is sent: the table, each QEMU's own rows, and netdevs that would end the VM."""

import pytest

from qmon.monitor.session import Session
from qmon.network.dangers import TABLE, danger_of, danger_of_line
from tests.fakes.monitor import FakeMonitor


def test_every_row_says_where_it_is_known_from() -> None:
    assert all(row.effect and row.source and row.hmp and row.qmp for row in TABLE)
    assert all(row.since < row.before for row in TABLE)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("q", "ends the VM at once"),
        ("  quit", "ends the VM at once"),
        ("stop", "stands still"),
        ("system_reset", "starts anew"),
        ("device_add help", "every module"),
        ("info status", None),
        ("device_add e1000,help", None),
        ("quitter", None),
        ("", None),
        ("netdev_add", None),
        ("netdev_add user,id=x", None),
        ("netdev_add nonsense,id=x", None),
        (f"netdev_add user,id=x,bootfile={'x' * 200}", "the VM would be gone"),
        ("netdev_add tap,id=t,vhost=on", "would abort"),
    ],
)
async def test_lines(fake_monitor: FakeMonitor, line: str, said: str | None) -> None:
    async with await Session.attach(fake_monitor.address) as session:
        found = await danger_of_line(session, line)
        passed_on = await danger_of(session, "human-monitor-command", {"command-line": line})
    assert passed_on == found
    assert (found is None) == (said is None)
    assert said is None or said in str(found)


async def test_commands(fake_monitor: FakeMonitor) -> None:
    async with await Session.attach(fake_monitor.address) as session:
        assert await danger_of(session, "query-status", None) is None
        assert "ends the VM" in str(await danger_of(session, "quit", None))
        tap = {"type": "tap", "id": "t", "vhost": True}
        assert "would abort" in str(await danger_of(session, "netdev_add", tap))


async def test_a_netdev_that_must_stay(fake_monitor: FakeMonitor) -> None:
    fake_monitor.hmp("info network", "p1: index=0,type=passt,stream,connected to pid 7\n")
    async with await Session.attach(fake_monitor.address) as session:
        assert "ends this QEMU" in str(await danger_of_line(session, "netdev_del p1"))
        assert "ends this QEMU" in str(await danger_of(session, "netdev_del", {"id": "p1"}))
        assert await danger_of(session, "netdev_del", {"id": "u1"}) is None


@pytest.mark.parametrize(("version", "ends"), [("7.2.22", False), ("10.0.2", False), ("11.1.3", True)])
async def test_a_row_of_some_versions(fake_monitor: FakeMonitor, version: str, ends: bool) -> None:
    fake_monitor.version(version)
    async with await Session.attach(fake_monitor.address) as session:
        assert (await danger_of(session, "x-query-virtio-status", {"path": "/x"}) is not None) == ends
