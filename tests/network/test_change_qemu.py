"""Changes of real VMs on every QEMU: hot-plugged NICs that get an address, guests that let go or do not, forwards."""

import asyncio
import urllib.request
from pathlib import Path

import pytest

from qmon.errors import Refused, TimedOut
from qmon.monitor.address import UnixAddress
from qmon.monitor.session import Session
from qmon.network import change
from qmon.network.answering import wait_answer
from qmon.network.inspect import inspect
from qmon.network.nics import CANDIDATES, nic_models, nic_properties
from qmon.network.ports import pcie_ports
from qmon.network.replace import replace
from tests.lab import start_vm
from tests.lab.qemus import Qemu
from tests.lab.vm import LabVm

USER_NIC = ("-netdev", "user,id=u1", "-device", "virtio-net-pci,id=nic1,netdev=u1")


async def names(session: Session) -> tuple[set[str], set[str]]:
    network = await inspect(session)
    return {netdev.id for netdev in network.netdevs}, {nic.id for nic in network.nics}


async def test_a_second_network_comes_and_goes(qemu: Qemu) -> None:
    async with (
        start_vm(qemu, *USER_NIC, guest="linux") as vm,
        await Session.attach(UnixAddress(vm.qmp[0])) as session,
    ):
        await vm.wait_lease("eth0")
        assert await change.plug(session, "user,id=u2,net=10.9.0.0/24", "e1000,id=nic2") == ("u2", "nic2")
        assert await vm.wait_lease("eth1") == "10.9.0.15"
        assert await names(session) == ({"u1", "u2"}, {"nic1", "nic2"})
        # The same NIC on another network, for a guest that configures it anew.
        (before,) = (nic for nic in (await inspect(session)).nics if nic.id == "nic2")
        address = await session.execute("qom-get", {"path": before.path, "property": "addr"})
        assert await replace(session, "nic2", "user,id=u3,net=10.7.0.0/24") == "u3"
        await vm.wait_serial("^## lease eth1 10.7.0.15\n")
        (after,) = (nic for nic in (await inspect(session)).nics if nic.id == "nic2")
        assert (after.model, after.mac, after.netdev) == (before.model, before.mac, "u3")
        assert await session.execute("qom-get", {"path": after.path, "property": "addr"}) == address
        await change.set_link(session, "nic2", False)
        assert "0" in await vm.shell("sleep 1; cat /sys/class/net/eth1/carrier")
        await change.set_link(session, "nic2", True)
        assert await change.unplug(session, "nic2") == "u3"
        assert await names(session) == ({"u1"}, {"nic1"})
        await _forwards(vm, session)


async def _forwards(vm: LabVm, session: Session) -> None:
    (made,) = await change.add_forwards(session, "0:80")
    assert (made.netdev, made.protocol, made.host_address, made.guest_port) == ("u1", "tcp", "127.0.0.1", 80)
    assert made.host_port > 0
    await wait_answer(session, made, timeout_s=20)
    page = await asyncio.to_thread(_fetch, f"http://127.0.0.1:{made.host_port}/")
    assert page
    assert await change.list_forwards(session) == (made,)
    with pytest.raises(Refused, match="is forwarded already"):
        await change.add_forwards(session, f"{made.host_port}:81")
    assert await change.remove_forwards(session, str(made.host_port)) == (made,)
    assert await change.list_forwards(session) == ()
    (closed,) = await change.add_forwards(session, "0:4")
    with pytest.raises(TimedOut, match="it refuses the connection"):
        await wait_answer(session, closed, timeout_s=1)
    await change.remove_forwards(session, str(closed.host_port))
    (away,) = await change.add_forwards(session, "tcp:127.0.0.1:0-10.0.2.77:80")
    with pytest.raises(TimedOut, match="nothing comes back from it"):
        await wait_answer(session, away, timeout_s=1.5)
    await change.remove_forwards(session, str(away.host_port))
    (everywhere,) = await change.add_forwards(session, "*:0:69/udp")
    assert (everywhere.host_address, everywhere.protocol) == ("*", "udp")
    await change.remove_forwards(session, f"*:{everywhere.host_port}/udp")
    assert await change.list_forwards(session) == ()
    with pytest.raises(Refused, match="Could not set up"):
        await change.add_forwards(session, "192.0.2.77:8080:80")


def _fetch(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as answer:
        content: bytes = answer.read()
    return content


async def test_without_an_operating_system_nobody_lets_go(qemu: Qemu) -> None:
    async with start_vm(qemu, *USER_NIC) as vm, await Session.attach(UnixAddress(vm.qmp[0])) as session:
        with pytest.raises(TimedOut, match="without a running operating system"):
            await change.unplug(session, "nic1", timeout_s=0.5)
        assert await names(session) == ({"u1"}, {"nic1"})
        # A reset completes what is pending.
        await vm.qmp_raw("system_reset")
        async with asyncio.timeout(20):
            while (await names(session))[1]:  # noqa: ASYNC110 (there is no event to wait for)
                await asyncio.sleep(0.05)
        assert await names(session) == ({"u1"}, set())
        await change.remove_netdev(session, "u1")


async def test_nothing_is_left_of_what_is_refused(qemu: Qemu) -> None:
    async with start_vm(qemu, *USER_NIC) as vm, await Session.attach(UnixAddress(vm.qmp[0])) as session:
        before = await names(session)
        with pytest.raises(Refused, match="Duplicate device ID"):
            await change.plug(session, "user,id=u2", "e1000,id=nic1")
        with pytest.raises(Refused):
            await change.plug(session, "user,id=u2", "e1000,id=nic2,mac=no")
        with pytest.raises(Refused, match="Duplicate ID"):
            await change.plug(session, "user,id=u1", "e1000,id=nic2")
        for killer in (
            "tap,id=t1,ifname=qmon-none,script=no,downscript=no,vhost=on,vhostfd=999",
            "tap,id=t1,fds=998:999",
            f"user,id=u2,bootfile={'x' * 128}",
            "l2tpv3,id=l1,src=nowhere.invalid,dst=127.0.0.1,txsession=1",
        ):
            with pytest.raises(Refused, match="not sent"):
                await change.add_netdev(session, killer)
        assert Path(f"/proc/{vm.pid}/fd/0").exists()
        assert await names(session) == before


async def test_the_dead_nic_of_a_netdev_that_was_forced_out(qemu: Qemu) -> None:
    async with (
        start_vm(qemu, *USER_NIC, guest="linux") as vm,
        await Session.attach(UnixAddress(vm.qmp[0])) as session,
    ):
        await vm.wait_lease("eth0")
        await change.remove_netdev(session, "u1", force=True)
        assert [(one.id, one.ghost) for one in (await inspect(session)).netdevs] == [("u1", True)]
        with pytest.raises(Refused, match="deleted already"):
            await change.remove_netdev(session, "u1")
        await change.add_netdev(session, "user,id=u1")
        assert await change.unplug(session, "nic1") is None
        assert [(one.id, one.ghost) for one in (await inspect(session)).netdevs] == [("u1", False)]


async def test_a_board_that_needs_ports(qemu: Qemu) -> None:
    ports = ("-device", "pcie-root-port,id=rp1,chassis=1", "-device", "pcie-root-port,id=rp2,chassis=2")
    async with (
        start_vm(qemu, *ports, machine="q35") as vm,
        await Session.attach(UnixAddress(vm.qmp[0])) as session,
    ):
        assert [(port.bus, port.taken) for port in await pcie_ports(session)] == [
            ("rp1", False),
            ("rp2", False),
        ]
        await change.plug(session, "user,id=u1", "virtio-net-pci,id=nic1,mq=off,vectors=4")
        await change.plug(session, "user,id=u2", "e1000,id=nic2,addr=0x0")
        assert all(port.taken for port in await pcie_ports(session))
        with pytest.raises(Refused, match="hotplugging") as refused:
            await change.plug(session, "user,id=u3", "e1000,id=nic3")
        assert "Every PCIe port is taken (rp1, rp2)" in str(refused.value.hint)
        assert "u3" not in (await names(session))[0]


async def test_a_board_whose_buses_take_nothing_while_it_runs(qemu: Qemu) -> None:
    async with (
        start_vm(qemu, machine="microvm") as vm,
        await Session.attach(UnixAddress(vm.qmp[0])) as session,
    ):
        with pytest.raises(Refused, match="hotplugging") as refused:
            await change.plug(session, "user,id=u1", "virtio-net-device,id=nic1")
        assert "start the VM with the NIC" in str(refused.value.hint)
        assert "u1" not in (await names(session))[0]


async def test_a_nic_without_an_id_is_told_by_the_name_it_can_be_unplugged_by(qemu: Qemu) -> None:
    async with start_vm(qemu) as vm, await Session.attach(UnixAddress(vm.qmp[0])) as session:
        netdev, nic = await change.plug(session, "user,id=u5", "e1000")
        assert (netdev, nic) in [(one.netdev, one.id) for one in (await inspect(session)).nics]
        assert nic is not None
        with pytest.raises(TimedOut):  # No guest runs that could let go: the name was understood.
            await change.unplug(session, nic, timeout_s=0.2)


async def test_the_name_is_the_new_nics_where_a_dead_one_had_a_netdev_of_that_id(qemu: Qemu) -> None:
    async with start_vm(qemu) as vm, await Session.attach(UnixAddress(vm.qmp[0])) as session:
        await change.plug(session, "user,id=u5", "e1000,id=dead")
        await change.remove_netdev(session, "u5", force=True)
        before = (await names(session))[1]
        _, nic = await change.plug(session, "user,id=u5", "e1000")
        assert (await names(session))[1] - before == {nic}


async def test_a_nic_that_came_with_the_board_is_not_replaced(qemu: Qemu) -> None:
    async with (
        start_vm(qemu, "-netdev", "user,id=u1", "-device", "e1000e,id=nic1,netdev=u1", machine="q35") as vm,
        await Session.attach(UnixAddress(vm.qmp[0])) as session,
    ):
        before = await names(session)
        with pytest.raises(Refused, match="cannot be unplugged while the VM runs"):
            await replace(session, "nic1", "user,id=u2")
        assert await names(session) == before


async def test_models(qemu: Qemu) -> None:
    async with start_vm(qemu) as vm, await Session.attach(UnixAddress(vm.qmp[0])) as session:
        found = {model.name: model.bus for model in await nic_models(session)}
        assert set(found) <= set(CANDIDATES)
        assert found.items() >= {"e1000": "PCI", "virtio-net-pci": "PCI", "usb-net": "USB"}.items()
        assert (await nic_properties(session, "virtio-net"))["netdev"] == "str"
        # What was asked has not ended the VM.
        assert (await session.execute("query-status"))["status"] == "running"
