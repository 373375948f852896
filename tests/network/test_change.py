"""Changes whose outcome a fake monitor decides: what is sent, in which order, and what is taken back."""

import asyncio
import os
import socket
from collections.abc import Mapping
from typing import Any

import pytest

from qmon.errors import Interrupted, Refused, TimedOut, UsageError
from qmon.monitor.session import Session
from qmon.network import change
from qmon.network.flap import flap
from qmon.network.replace import plan_replace, replace
from qmon.network.steps import spelt
from tests.fakes.monitor import FakeMonitor, Refusal

NETWORK = """nic1: index=0,type=nic,model=e1000,macaddr=52:54:00:12:34:56
 \\ u1: index=0,type=user,net=10.0.2.0,restrict=off
u2: index=0,type=user,net=10.0.2.0,restrict=off
"""
USERNET = """Hub -1 (u1):
  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ
  TCP[HOST_FORWARD]  12               * 2023       10.0.2.15    23     0     0
"""
MAC = "52:54:00:00:00:09"
PLUG = ("user,id=u9", f"e1000,id=nic9,mac={MAC}")
CHANGES = {"netdev_add", "netdev_del", "device_add", "device_del", "set_link"}


def changed(monitor: FakeMonitor) -> list[tuple[str, dict[str, Any]]]:
    return [(command, arguments) for command, arguments in monitor.sent if command in CHANGES]


@pytest.fixture
def vm(fake_monitor: FakeMonitor) -> FakeMonitor:
    """A VM with nic1 on u1, and a free u2, which takes every change."""
    fake_monitor.hmp("info network", NETWORK.replace("\n", "\r\n"))
    fake_monitor.hmp("info usernet", USERNET.replace("\n", "\r\n"))
    fake_monitor.refuse("object-add", "Device 'qmon-no-such-chardev' not found", "DeviceNotFound")
    fake_monitor.answer("qom-list", _qom_list)
    fake_monitor.refuse("qom-get", "Property 'x.hotplug' not found")
    for command in CHANGES:
        fake_monitor.answer(command, {})
    properties = ("netdev", "str"), ("mac", "str"), ("addr", "str")
    fake_monitor.answer("device-list-properties", [{"name": name, "type": kind} for name, kind in properties])
    return fake_monitor


def _qom_list(arguments: Mapping[str, Any]) -> list[dict[str, str]]:
    if arguments["path"] == "/machine/peripheral":
        return [{"name": "nic1", "type": "child<e1000>"}]
    return []


async def test_plug_is_said_before_it_is_done(vm: FakeMonitor) -> None:
    async with await Session.attach(vm.address) as session:
        plan = await change.plan_plug(session, *PLUG)
        assert changed(vm) == []
        assert await change.plug(session, *PLUG) == ("u9", "nic9")
    assert spelt(plan) == (
        'netdev_add {"type": "user", "id": "u9"}',
        f'device_add {{"driver": "e1000", "id": "nic9", "mac": "{MAC}", "netdev": "u9"}}',
    )
    assert [command for command, _ in changed(vm)] == ["netdev_add", "device_add"]


async def test_between_netdev_and_nic_there_is_time_for_a_tap(vm: FakeMonitor) -> None:
    order: list[object] = []

    async def between(netdev: str) -> None:
        order.append((netdev, [command for command, _ in changed(vm)]))

    async with await Session.attach(vm.address) as session:
        await change.plug(session, *PLUG, between=between)
    assert order == [("u9", ["netdev_add"])]


async def test_a_refused_nic_takes_its_netdev_with_it(vm: FakeMonitor) -> None:
    vm.refuse("device_add", "Duplicate device ID 'nic9'")
    async with await Session.attach(vm.address) as session:
        with pytest.raises(Refused, match="Duplicate device ID"):
            await change.plug(session, *PLUG)
    assert changed(vm)[-1] == ("netdev_del", {"id": "u9"})


async def test_a_failure_in_between_takes_the_netdev_back(vm: FakeMonitor) -> None:
    async def between(netdev: str) -> None:
        raise Refused(f"{netdev} cannot be tapped")

    async with await Session.attach(vm.address) as session:
        with pytest.raises(Refused, match="cannot be tapped"):
            await change.plug(session, *PLUG, between=between)
    assert [command for command, _ in changed(vm)] == ["netdev_add", "netdev_del"]


async def test_what_cannot_be_taken_back_is_told(vm: FakeMonitor) -> None:
    vm.refuse("device_add", "no")
    vm.refuse("netdev_del", "never")
    async with await Session.attach(vm.address) as session:
        with pytest.raises(Refused, match=r"the netdev u9 was left behind: .*never"):
            await change.plug(session, *PLUG)


async def test_ctrl_c_leaves_no_half_of_it(vm: FakeMonitor) -> None:
    asked = asyncio.Event()

    async def between(_: str) -> None:
        asked.set()
        await asyncio.sleep(0.05)

    async with await Session.attach(vm.address) as session:
        task = asyncio.create_task(change.plug(session, *PLUG, between=between))
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert [command for command, _ in changed(vm)] == ["netdev_add", "device_add"]


async def test_the_nic_goes_where_its_netdev_is(vm: FakeMonitor) -> None:
    async with await Session.attach(vm.address) as session:
        with pytest.raises(UsageError, match="plugged into u1, but the new netdev is u9"):
            await change.plug(session, "user,id=u9", "e1000,netdev=u1")
    assert changed(vm) == []


async def test_a_free_port_is_found(vm: FakeMonitor) -> None:
    tree = {
        "/machine/peripheral": [("rp1", "child<pcie-root-port>"), ("rp2", "child<pcie-root-port>")],
        "/machine/peripheral/rp1": [("rp1", "child<PCIE>")],
        "/machine/peripheral/rp1/rp1": [("child[0]", "link<e1000>")],
        "/machine/peripheral/rp2": [("rp2", "child<PCIE>")],
        "/machine/peripheral/rp2/rp2": [("type", "string")],
    }
    vm.answer(
        "qom-list",
        lambda arguments: [{"name": n, "type": t} for n, t in tree.get(str(arguments["path"]), [])],
    )
    async with await Session.attach(vm.address) as session:
        plan = await change.plan_add_nic(session, "e1000,id=nic9,netdev=u2")
        assert '"bus": "rp2"' in str(plan[0])
        assert '"bus": "rp1"' in str((await change.plan_add_nic(session, "e1000,netdev=u2,bus=rp1"))[0])
        del tree["/machine/peripheral/rp2"], tree["/machine/peripheral"][1]
        vm.refuse("device_add", "Bus 'pcie.0' does not support hotplugging")
        with pytest.raises(Refused, match="hotplugging") as refused:
            await change.add_nic(session, "e1000,id=nic9,netdev=u2")
    assert "Every PCIe port is taken (rp1)" in str(refused.value.hint)


async def test_a_netdev_in_use_is_removed_only_by_force(vm: FakeMonitor) -> None:
    async with await Session.attach(vm.address) as session:
        with pytest.raises(Refused, match="in use"):
            await change.plan_remove_netdev(session, "u1")
        with pytest.raises(Refused, match="in use"):
            await change.remove_netdev(session, "u1")
        with pytest.raises(Refused, match="there is no netdev 'u7'"):
            await change.remove_netdev(session, "u7")
        assert changed(vm) == []
        await change.remove_netdev(session, "u2")
        await change.remove_netdev(session, "u1", force=True)
    assert changed(vm) == [("netdev_del", {"id": "u2"}), ("netdev_del", {"id": "u1"})]


async def test_links(vm: FakeMonitor) -> None:
    async with await Session.attach(vm.address) as session:
        assert spelt(await change.plan_set_link(session, "nic1", False)) == (
            'set_link {"name": "nic1", "up": false}',
        )
        await change.set_link(session, "nic1", False)
        with pytest.raises(Refused, match="there is no NIC 'nic7'"):
            await change.set_link(session, "nic7", True)
    assert changed(vm) == [("set_link", {"name": "nic1", "up": False})]


async def test_unplug_waits_and_then_removes_the_netdev(vm: FakeMonitor) -> None:
    async with await Session.attach(vm.address) as session:
        assert spelt(await change.plan_unplug(session, "nic1")) == (
            'device_del {"id": "nic1"}',
            'netdev_del {"id": "u1"}',
        )
        task = asyncio.create_task(change.unplug(session, "nic1"))
        await vm.wait_for("device_del")
        await vm.event("DEVICE_DELETED", {"path": "/machine/peripheral/other"})
        await vm.event("DEVICE_DELETED", {"path": "/machine/peripheral/nic1/virtio-backend"})
        await vm.event("NIC_RX_FILTER_CHANGED", {"name": "nic1", "path": "/machine/peripheral/nic1"})
        assert "netdev_del" not in {command for command, _ in vm.sent}
        await vm.event("DEVICE_DELETED", {"device": "nic1", "path": "/machine/peripheral/nic1"})
        assert await task == "u1"
    assert changed(vm)[-1] == ("netdev_del", {"id": "u1"})


async def test_a_guest_that_says_no(vm: FakeMonitor) -> None:
    async with await Session.attach(vm.address) as session:
        task = asyncio.create_task(change.unplug(session, "nic1"))
        await vm.wait_for("device_del")
        await vm.event("DEVICE_UNPLUG_GUEST_ERROR", {"device": "nic1", "path": "/machine/peripheral/nic1"})
        with pytest.raises(Refused, match="the guest refuses to release nic1"):
            await task
    assert "netdev_del" not in {command for command, _ in vm.sent}


async def test_a_guest_that_says_nothing(vm: FakeMonitor) -> None:
    async with await Session.attach(vm.address) as session:
        with pytest.raises(TimedOut, match=r"has not released nic1 within 0\.1 s") as late:
            await change.unplug(session, "nic1", timeout_s=0.1)
    assert "request is still pending" in str(late.value.hint).lower()
    assert "netdev_del" not in {command for command, _ in vm.sent}


async def test_an_unplugging_that_is_under_way_is_waited_for(vm: FakeMonitor) -> None:
    vm.refuse("device_del", "Device nic1 is already in the process of unplug")
    async with await Session.attach(vm.address) as session:
        task = asyncio.create_task(change.remove_nic(session, "nic1"))
        await vm.wait_for("device_del")
        await vm.event("DEVICE_DELETED", {"device": "nic1", "path": "/machine/peripheral/nic1"})
        assert await task == "u1"  # The netdev that stays.


async def test_no_netdev_stays_behind_a_nic_whose_netdev_is_gone_already(vm: FakeMonitor) -> None:
    vm.refuse("object-add", "Parameter 'netdev' expects a network backend id")
    async with await Session.attach(vm.address) as session:
        task = asyncio.create_task(change.remove_nic(session, "nic1"))
        await vm.wait_for("device_del")
        await vm.event("DEVICE_DELETED", {"device": "nic1", "path": "/machine/peripheral/nic1"})
        assert await task is None


async def test_a_nic_that_cannot_be_unplugged(vm: FakeMonitor) -> None:
    vm.refuse("device_del", "Bus 'pcie.0' does not support hotplugging")
    async with await Session.attach(vm.address) as session:
        with pytest.raises(Refused, match="hotplugging") as refused:
            await change.remove_nic(session, "nic1")
    assert "qmon nic down nic1" in str(refused.value.hint)


async def test_an_event_that_was_missed_is_made_up_for(vm: FakeMonitor) -> None:
    async with await Session.attach(vm.address) as session:
        task = asyncio.create_task(change.remove_nic(session, "nic1", timeout_s=20))
        await vm.wait_for("device_del")
        vm.refuse("qom-list", "Device '/machine/peripheral/nic1' not found", "DeviceNotFound")
        await task


async def test_a_monitor_that_goes_away_while_waiting(vm: FakeMonitor) -> None:
    async with await Session.attach(vm.address) as session:
        task = asyncio.create_task(change.remove_nic(session, "nic1"))
        await vm.wait_for("device_del")
        await vm.hang_up()
        with pytest.raises(Interrupted, match="the monitor disconnected"):
            await task


async def test_a_netdev_that_stays_is_told(vm: FakeMonitor) -> None:
    vm.refuse("netdev_del", "Device 'u1' is not a netdev")
    async with await Session.attach(vm.address) as session:
        task = asyncio.create_task(change.unplug(session, "nic1"))
        await vm.wait_for("device_del")
        await vm.event("DEVICE_DELETED", {"device": "nic1", "path": "/machine/peripheral/nic1"})
        with pytest.raises(Refused, match=r"nic1 is unplugged, but its netdev u1 stays"):
            await task


async def test_an_old_qemu_is_not_asked_for_vhost_it_may_die_of(vm: FakeMonitor) -> None:
    async with await Session.attach(vm.address) as session:
        with pytest.raises(Refused, match="would abort"):
            await change.add_netdev(session, "tap,id=t1,vhost=on")
    assert changed(vm) == []


@pytest.mark.parametrize(
    ("reply", "complaint"),
    [
        ("Could not set up host forwarding rule 'tcp:127.0.0.1:80-:80'", "Could not set up"),
        ("Invalid host forwarding rule 'x' (Bad host address)", "Bad host address"),
        ("unknown command: 'hostfwd_add'", "unknown command"),
        ("", "does not list it"),
    ],
)
async def test_forwards_that_were_not_made(vm: FakeMonitor, reply: str, complaint: str) -> None:
    vm.hmp("hostfwd_add u1 tcp:127.0.0.1:80-:80", f"{reply}\r\n" if reply else "")
    async with await Session.attach(vm.address) as session:
        with pytest.raises(Refused, match=complaint):
            await change.add_forwards(session, "80:80")


async def test_forwards_are_looked_up_before_they_are_removed(vm: FakeMonitor) -> None:
    vm.hmp("hostfwd_remove u1 tcp:0.0.0.0:2023", "host forwarding rule for tcp:0.0.0.0:2023 not found\r\n")
    async with await Session.attach(vm.address) as session:
        with pytest.raises(Refused, match=r"there is no forward tcp:127\.0\.0\.1:2023") as refused:
            await change.remove_forwards(session, "2023")
        assert "tcp:*:2023" in str(refused.value.hint)
        with pytest.raises(Refused, match="did not remove"):
            await change.remove_forwards(session, "*:2023")
        with pytest.raises(Refused, match="'u7' is not a user netdev"):
            await change.remove_forwards(session, "*:2023", netdev="u7")
        assert spelt(await change.plan_remove_forwards(session, "*:2023")) == (
            "hmp: hostfwd_remove u1 tcp:0.0.0.0:2023",
        )


async def test_without_a_user_network_nothing_is_forwarded(vm: FakeMonitor) -> None:
    vm.hmp("info usernet", "")
    async with await Session.attach(vm.address) as session:
        with pytest.raises(Refused, match="no user-mode network"):
            await change.add_forwards(session, "80:80")


def ports(vm: FakeMonitor, *taken: int) -> None:
    """Make a VM whose stack takes forwards of any port but those that are taken, and lists what it took."""
    made: list[int] = []

    def human(arguments: Mapping[str, Any]) -> str:
        line = str(arguments["command-line"])
        port = int(line.rpartition(":")[2]) if line.startswith("hostfwd") else 0
        if line.startswith("hostfwd_add"):
            if port in taken:
                return f"Could not set up host forwarding rule '{line.split()[2]}'\r\n"
            made.append(port)
            return ""
        if line.startswith("hostfwd_remove"):
            made.remove(port)
            return f"host forwarding rule for {line.split()[2]} removed\r\n"
        rows = (f"  TCP[HOST_FORWARD]  9  127.0.0.1 {p}  10.0.2.15  {p}  0  0\r\n" for p in made)
        return USERNET.replace("\n", "\r\n") + "".join(rows)

    vm.answer("human-monitor-command", human)


async def test_a_range_is_forwarded_port_by_port_and_removed_again(vm: FakeMonitor) -> None:
    ports(vm)
    async with await Session.attach(vm.address) as session:
        assert len(await change.plan_add_forwards(session, "8000-8002:8000")) == 3
        made = await change.add_forwards(session, "8000-8002:8000")
        assert [(one.host_port, one.guest_port) for one in made] == [(8000, 8000), (8001, 8001), (8002, 8002)]
        assert await change.remove_forwards(session, "8000-8002") == made
        assert len(await change.list_forwards(session)) == 1


async def test_a_range_is_forwarded_whole_or_not_at_all(vm: FakeMonitor) -> None:
    ports(vm, 8002)
    async with await Session.attach(vm.address) as session:
        before = await change.list_forwards(session)
        with pytest.raises(Refused, match=r"8002.*Could not set up"):
            await change.add_forwards(session, "8000-8003:8000")
        assert await change.list_forwards(session) == before


async def test_a_taken_port_names_its_holder(vm: FakeMonitor) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        ports(vm, port)
        async with await Session.attach(vm.address) as session:
            with pytest.raises(Refused) as refused:
                await change.add_forwards(session, f"{port}:{port}")
    assert f"Port {port} of 127.0.0.1 is taken by" in str(refused.value.hint)
    assert str(os.getpid()) in str(refused.value.hint)


async def test_a_nic_without_an_address_is_given_the_one_that_was_said(vm: FakeMonitor) -> None:
    async with await Session.attach(vm.address) as session:
        (plan,) = await change.plan_add_nic(session, "e1000,id=nic9,netdev=u2")
        await change.add_nic(session, "e1000,id=nic9,netdev=u2")
        assert changed(vm) == [("device_add", plan.arguments)]
        assert str(plan.arguments["mac"]).startswith("52:54:00:")
        with pytest.raises(Refused, match="is the address of nic1 already"):
            await change.add_nic(session, "e1000,id=nic9,netdev=u2,mac=52:54:00:12:34:56")


async def test_a_cable_that_flaps_is_in_at_the_end(vm: FakeMonitor) -> None:
    turns: list[bool] = []
    async with await Session.attach(vm.address) as session:
        await flap(session, "nic1", every_s=0.02, for_s=0.07, on_turn=turns.append)
        task = asyncio.create_task(flap(session, "nic1", every_s=60, for_s=None, on_turn=turns.append))
        while changed(vm)[-1][1]["up"]:  # noqa: ASYNC110 (a turn of the loop)
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert turns[:3] == [False, True, False]
    assert changed(vm)[-1] == ("set_link", {"name": "nic1", "up": True})


HOTPLUGGED = {
    "hotpluggable": True,
    "type": "e1000",
    "parent_bus": "/machine/i440fx/pci.0",
    "addr": 41,
    "mq": True,
}


@pytest.fixture
def replaceable(vm: FakeMonitor) -> FakeMonitor:
    """The VM with a nic1 that tells what it was made of."""

    def get(arguments: Mapping[str, Any]) -> Any:
        values = {**HOTPLUGGED, "romfile": "efi-e1000.rom", "vectors": 3}
        if arguments["property"] not in values:
            raise Refusal("Property not found")
        return values[arguments["property"]]

    vm.answer("qom-get", get)
    properties = [
        {"name": "netdev", "type": "str"},
        {"name": "mq", "type": "bool", "default-value": False},
        {"name": "vectors", "type": "uint32", "default-value": 3},
        {"name": "romfile", "type": "str"},
        {"name": "x-odd", "type": "bool", "default-value": False},
    ]
    vm.answer("device-list-properties", properties)
    return vm


AGAIN = {"driver": "e1000", "id": "nic1", "bus": "pci.0", "addr": "05.1", "mac": "52:54:00:12:34:56"}
AGAIN |= {"mq": True, "romfile": "efi-e1000.rom"}


async def released(vm: FakeMonitor) -> None:
    await vm.wait_for("device_del")
    await vm.event("DEVICE_DELETED", {"device": "nic1", "path": "/machine/peripheral/nic1"})


async def test_a_nic_goes_over_to_another_netdev(replaceable: FakeMonitor) -> None:
    vm = replaceable
    async with await Session.attach(vm.address) as session:
        plan = await plan_replace(session, "nic1", "user,id=u9")
        assert changed(vm) == []
        task = asyncio.create_task(replace(session, "nic1", "user,id=u9"))
        await released(vm)
        assert await task == "u9"
    assert changed(vm) == [(step.name, step.arguments) for step in plan]
    assert changed(vm) == [
        ("netdev_add", {"type": "user", "id": "u9"}),
        ("device_del", {"id": "nic1"}),
        ("device_add", {**AGAIN, "netdev": "u9"}),
        ("netdev_del", {"id": "u1"}),
    ]


async def test_the_old_pair_is_back_where_the_new_nic_is_refused(replaceable: FakeMonitor) -> None:
    vm = replaceable

    def only_on_u1(arguments: Mapping[str, Any]) -> Any:
        if arguments["netdev"] != "u1":
            raise Refusal("no queues")
        return {}

    vm.answer("device_add", only_on_u1)
    async with await Session.attach(vm.address) as session:
        task = asyncio.create_task(replace(session, "nic1", "user,id=u9"))
        await released(vm)
        with pytest.raises(Refused, match="no queues; nic1 is on its old netdev again"):
            await task
    assert changed(vm)[-2:] == [("device_add", {**AGAIN, "netdev": "u1"}), ("netdev_del", {"id": "u9"})]


async def test_a_nic_that_the_guest_keeps_is_not_replaced(replaceable: FakeMonitor) -> None:
    vm = replaceable
    async with await Session.attach(vm.address) as session:
        with pytest.raises(TimedOut):
            await replace(session, "nic1", "user,id=u9", timeout_s=0.1)
        assert changed(vm)[-1] == ("netdev_del", {"id": "u9"})
        with pytest.raises(Refused, match="there is a netdev 'u1' already"):
            await replace(session, "nic1", "user,id=u1")


async def test_a_nic_that_cannot_go_is_not_replaced(vm: FakeMonitor) -> None:
    vm.answer("qom-get", False)
    async with await Session.attach(vm.address) as session:
        with pytest.raises(Refused, match="cannot be unplugged while the VM runs"):
            await replace(session, "nic1", "user,id=u9")
    assert changed(vm) == []


async def test_the_netdev_under_a_nic_that_stays_is_cut_off(vm: FakeMonitor) -> None:
    async with await Session.attach(vm.address) as session:
        assert await change.cut_off(session, "nic1") == "u1"
    assert changed(vm) == [("netdev_del", {"id": "u1"})]


PASST = NETWORK.replace("type=user,net=10.0.2.0,restrict=off", "type=passt,stream,connected to pid 7", 1)


async def test_a_passt_netdev_is_never_removed_for_that_would_end_the_vm(replaceable: FakeMonitor) -> None:
    vm = replaceable
    vm.version("11.1.3")
    vm.hmp("info network", PASST)
    async with await Session.attach(vm.address) as session:
        for force in (False, True):
            with pytest.raises(Refused, match="ends this QEMU"):
                await change.remove_netdev(session, "u1", force=force)
        assert [step.name for step in await change.plan_unplug(session, "nic1")] == ["device_del"]
        task = asyncio.create_task(change.unplug(session, "nic1"))
        await released(vm)
        with pytest.raises(Refused, match=r"nic1 is unplugged, but its netdev u1 stays: .*ends this QEMU"):
            await task
        vm.refuse("device_add", "no")
        with pytest.raises(Refused, match=r"the netdev u9 was left behind: .*ends this QEMU"):
            await change.plug(session, "passt,id=u9", "e1000,id=nic9")
    assert "netdev_del" not in {command for command, _ in changed(vm)}
