"""The picture of a VM's network: from recorded texts, from a monitor that refuses, from real QEMUs."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmon.monitor.address import UnixAddress
from qmon.monitor.hmp import parse_network, parse_usernet
from qmon.monitor.session import Session
from qmon.network import inspect
from qmon.network.model import Network
from tests.fakes.monitor import FakeMonitor
from tests.lab import start_vm
from tests.lab.qemus import Qemu

FIXTURES = Path(__file__).parents[2] / "fixtures"
VERSIONS = sorted(path.parent.name for path in FIXTURES.glob("*/network"))


def recorded(version: str, scene: str, *, ghosts: frozenset[str] = frozenset()) -> Network:
    text = (FIXTURES / version / "network" / f"{scene}.txt").read_text()
    return inspect.build(parse_network(text), ghosts=ghosts)


@pytest.mark.parametrize("version", VERSIONS)
class TestRecorded:
    def test_what_is_plugged_into_what(self, version: str) -> None:
        network = recorded(version, "user-hot-nic")
        assert {nic.id: nic.netdev for nic in network.nics} == {"nic1": "u1", "hotnic": "hot"}
        assert {netdev.id: netdev.nic for netdev in network.netdevs} == {"u1": "nic1", "hot": "hotnic"}
        nic = network.nic("hotnic")
        assert nic is not None
        assert nic.model == "e1000"

    def test_hubs(self, version: str) -> None:
        network = recorded(version, "hubs")
        assert {nic.id: nic.hub for nic in network.nics} == {"nic1": 0, "nic2": 7}
        assert {netdev.id: netdev.hub for netdev in network.netdevs} == {"u1": 0, "u2": 7}
        ports = {(hub.id, port.id): port.peer for hub in network.hubs for port in hub.ports}
        assert ports[(0, "h2")] == "u1"
        assert ports[(7, "h3")] is None

    def test_queues(self, version: str) -> None:
        network = recorded(version, "taps")
        assert {netdev.id: netdev.queues for netdev in network.netdevs} == {
            "t1": 1,
            "t2": 3,
            "t3": 1,
            "t4": 2,
        }

    def test_filters(self, version: str) -> None:
        netdev = recorded(version, "filters-added").netdev("u1")
        assert netdev is not None
        assert {one.id: one.type for one in netdev.filters}["dump1"] == "filter-dump"
        assert not any(one.ours for one in netdev.filters)

    def test_ghosts(self, version: str) -> None:
        network = recorded(version, "ghosts-deleted", ghosts=frozenset({"u1"}))
        ghost = network.netdev("u1")
        assert ghost is not None
        assert (ghost.ghost, ghost.nic) == (True, "nic1")
        again = recorded(version, "ghosts-again")
        assert sorted((one.nic or "", one.ghost) for one in again.netdevs if one.id == "u1") == [
            ("", False),
            ("nic1", True),
        ]
        live = again.netdev("u1")
        assert live is not None
        assert not live.ghost

    def test_no_line_is_lost(self, version: str) -> None:
        for path in (FIXTURES / version / "network").glob("*.txt"):
            assert recorded(version, path.stem).not_understood == ()

    def test_forwards(self, version: str) -> None:
        text = (FIXTURES / version / "usernet" / "forwards-added.txt").read_text()
        found = {
            (one.netdev, one.protocol, one.host_address, one.guest_port)
            for one in inspect.forwards(parse_usernet(text))
        }
        assert ("u1", "udp", "*", 69) in found
        assert ("u2", "tcp", "*", 22) in found
        assert ("u1", "tcp", "127.0.0.1", 22) in found


@given(st.text(st.characters(exclude_characters="\r\n")), st.text())
def test_arbitrary_text_harms_nobody(line: str, rest: str) -> None:
    found = inspect.build(parse_network(f"?{line}\n{rest}"))
    assert f"?{line}" in found.not_understood or ": index=" in line


async def test_the_newer_commands_are_preferred(fake_monitor: FakeMonitor) -> None:
    fake_monitor.answer("query-commands", [{"name": "x-query-network"}, {"name": "x-query-usernet"}])
    fake_monitor.forgiving = True
    fake_monitor.answer("x-query-network", {"human-readable-text": "u9: index=0,type=user,net=10.0.2.0\r\n"})
    fake_monitor.answer("x-query-usernet", {"human-readable-text": "Hub -1 (u9):\r\n"})
    async with await Session.attach(fake_monitor.address) as session:
        assert [netdev.id for netdev in (await inspect.inspect(session)).netdevs] == ["u9"]
        assert [stack.netdev for stack in await inspect.usernet(session)] == ["u9"]
    assert "human-monitor-command" not in {command for command, _ in fake_monitor.sent}


async def test_a_qemu_without_user_networking(fake_monitor: FakeMonitor) -> None:
    fake_monitor.hmp("info usernet", "unknown command: 'info usernet'\r\n")
    async with await Session.attach(fake_monitor.address) as session:
        assert await inspect.usernet(session) == ()


async def test_the_probe_for_ghosts_leaves_nothing_behind(fake_monitor: FakeMonitor) -> None:
    # Should a chardev of the probe's name exist after all, the mirror is made, and has to go again.
    fake_monitor.answer("object-add", {})
    fake_monitor.answer("object-del", {})
    async with await Session.attach(fake_monitor.address) as session:
        assert await inspect.is_backend(session, "u1")
    added, removed = fake_monitor.sent[-2:]
    assert added[1]["id"] == removed[1]["id"]


async def test_of_a_great_many_only_so_many_are_asked_about(
    fake_monitor: FakeMonitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspect, "ASK_LIMIT", 3)
    pairs = (
        f"n{i}: index=0,type=nic,model=e1000,macaddr=52:54:00:00:00:0{i}\n"
        f" \\ u{i}: index=0,type=user,net=10.0.2.0\n"
        f"filters:\n  - f{i}: type=filter-dump,file=x,netdev=u{i}\n"
        for i in range(5)
    )
    fake_monitor.hmp("info network", "".join(pairs))
    fake_monitor.refuse("object-add", "Parameter 'netdev' expects a network backend id")
    fake_monitor.refuse("qom-get", "no", "GenericError")

    def listed(arguments: Mapping[str, Any]) -> Any:
        if arguments["path"] == "/machine/unattached":
            return [{"name": f"device[{n}]", "type": "child<e1000>"} for n in range(5)]
        return []

    fake_monitor.answer("qom-list", listed)
    async with await Session.attach(fake_monitor.address) as session:
        network = await inspect.inspect(session)
    assert network.not_asked == (
        "Only the first 3 of 5 netdevs were checked for deletion.",
        "Only the first 3 of 5 filters were asked for their properties.",
        "Only the first 3 of 5 devices in /machine/unattached were asked which NIC they are.",
    )
    assert {netdev.id for netdev in network.netdevs if netdev.ghost} == {"u0", "u1", "u2"}
    sent = Counter(command for command, _ in fake_monitor.sent)
    assert (sent["object-add"], sent["qom-get"], sent["qom-list"]) == (3, 3, 3 + 3)


async def test_a_real_network(qemu: Qemu) -> None:
    words = (
        *("-netdev", "user,id=u1", "-device", "e1000,id=nic1,netdev=u1"),
        *("-netdev", "user,id=u2", "-device", "virtio-net-pci,netdev=u2"),
        *("-nic", "user,model=rtl8139,mac=52:54:00:12:34:77", "-netdev", "user,id=free"),
    )
    async with start_vm(qemu, *words) as vm, await Session.attach(UnixAddress(vm.qmp[0])) as session:
        dump = {"qom-type": "filter-dump", "id": "d1", "netdev": "u1", "file": f"{vm.directory}/a,b=c d"}
        await vm.qmp_raw("object-add", {**dump, "queue": "rx", "maxlen": 100})
        network = await inspect.inspect(session, links={"nic1": False})
        by_model = {nic.model: nic for nic in network.nics}
        assert by_model["e1000"].path == "/machine/peripheral/nic1"
        assert by_model["e1000"].link_up is False
        assert str(by_model["virtio-net-pci"].path).startswith("/machine/peripheral-anon/device[")
        assert str(by_model["rtl8139"].path).startswith("/machine/unattached/device[")
        assert by_model["rtl8139"].mac == "52:54:00:12:34:77"
        assert not any(netdev.ghost for netdev in network.netdevs)
        netdev = network.netdev("u1")
        assert netdev is not None
        properties = dict(netdev.filters[0].properties)
        assert properties["file"] == f"{vm.directory}/a,b=c d"
        assert (properties["queue"], properties["maxlen"], properties["status"]) == ("rx", "100", "on")
        await vm.qmp_raw("netdev_del", {"id": "u1"})
        await vm.qmp_raw("netdev_add", {"type": "user", "id": "u2b"})
        after = await inspect.inspect(session)
        assert {one.id for one in after.netdevs if one.ghost} == {"u1"}
        # Nothing of the questions is left in the VM.
        assert "qmon-probe" not in {one["name"] for one in await vm.qmp_raw("qom-list", {"path": "/objects"})}
