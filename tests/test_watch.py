"""A watched VM, on real QEMUs: what is tapped, what happens when it stops, ends and comes back."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from qmon.capture.following import MonitorState
from qmon.errors import CannotAttach, QmonError, Refused
from qmon.monitor.address import Pid, UnixAddress
from qmon.monitor.session import Session
from qmon.snapshot import Snapshot
from qmon.watch import Watch
from tests.lab import start_vm
from tests.lab.namespace import namespace
from tests.lab.qemus import Qemu
from tests.lab.vm import LabVm

USER_NIC = ("-netdev", "user,id=u1", "-device", "virtio-net-pci,id=nic1,netdev=u1")


async def until(watch: Watch, fact: Callable[[Snapshot], bool], *, timeout_s: float = 30) -> Snapshot:
    """Poll as a front end does until a fact holds."""
    async with asyncio.timeout(timeout_s):
        while not fact(snapshot := watch.snapshot()):
            watch.poll()
            await asyncio.sleep(0.02)
    return snapshot


async def our_objects(vm: LabVm) -> list[str]:
    return [
        one["name"] for one in await vm.qmp_raw("qom-list", {"path": "/objects"}) if "qmon" in one["name"]
    ]


def texts(snapshot: Snapshot) -> list[str]:
    return [entry.text for entry in snapshot.timeline]


async def test_packets_reach_the_store_and_the_taps_go(qemu: Qemu) -> None:
    async with start_vm(qemu, guest="ipxe", name="watched") as vm:
        async with Watch(UnixAddress(vm.qmp[0])) as watch:
            await watch.first_taps()
            snapshot = await until(watch, lambda now: now.packets >= 20)
            assert (snapshot.name, snapshot.pid, snapshot.run_state) == ("watched", vm.pid, "running")
            assert snapshot.qemu_version == qemu.full
            assert [tap.netdev for tap in snapshot.taps] == ["u1"]
            assert snapshot.monitor is MonitorState.CONNECTED
            assert [stack.netdev for stack in snapshot.usernet] == ["u1"]
            assert (snapshot.dropped, snapshot.bytes > 1000) == (0, True)
            assert [one.name for one in watch.store.interfaces] == ["u1"]
            assert len(await our_objects(vm)) == 2
        assert await our_objects(vm) == []


async def test_run_states_and_events_are_told(qemu_one: Qemu) -> None:
    async with start_vm(qemu_one, *USER_NIC) as vm, Watch(UnixAddress(vm.qmp[0])) as watch:
        await vm.qmp_raw("stop")
        await until(watch, lambda now: now.run_state == "paused" and "STOP" in texts(now))
        await vm.qmp_raw("cont")
        await until(watch, lambda now: now.run_state == "running")


async def test_netdevs_that_come_and_go(qemu: Qemu) -> None:
    async with start_vm(qemu, *USER_NIC) as vm, Watch(UnixAddress(vm.qmp[0])) as watch:
        await watch.first_taps()
        await vm.qmp_raw("netdev_add", {"type": "user", "id": "u2"})
        watch.refresh()
        await until(watch, lambda now: {tap.netdev for tap in now.taps if tap.reason is None} == {"u1", "u2"})
        await vm.qmp_raw("netdev_del", {"id": "u2"})
        watch.refresh()
        await until(watch, lambda now: {tap.netdev for tap in now.taps if tap.reason is None} == {"u1"})
        # The same id again is another netdev, and it is captured as well.
        await vm.qmp_raw("netdev_add", {"type": "user", "id": "u2"})
        watch.refresh()
        await until(watch, lambda now: {tap.netdev for tap in now.taps if tap.reason is None} == {"u1", "u2"})


async def test_what_its_user_let_go_stays_so(qemu_one: Qemu) -> None:
    async with start_vm(qemu_one, *USER_NIC) as vm, Watch(UnixAddress(vm.qmp[0])) as watch:
        await watch.first_taps()
        await watch.untap("u1")
        assert await our_objects(vm) == []
        before = watch.snapshot().version
        await vm.qmp_raw("netdev_add", {"type": "user", "id": "u2"})
        watch.refresh()
        await until(watch, lambda now: now.version > before and now.network.netdev("u2") is not None)
        await until(watch, lambda now: any(tap.netdev == "u2" for tap in now.taps))
        assert not any(tap.netdev == "u1" and tap.reason is None for tap in watch.snapshot().taps)
        await watch.tap("u1")
        assert len(await our_objects(vm)) == 4


async def test_only_what_is_asked_for_is_tapped(qemu_one: Qemu) -> None:
    words = (*USER_NIC, "-netdev", "user,id=u2")
    async with start_vm(qemu_one, *words) as vm:
        async with Watch(UnixAddress(vm.qmp[0]), netdevs=("u2",)) as watch:
            await watch.first_taps()
            assert [tap.netdev for tap in watch.snapshot().taps] == ["u2"]
        async with Watch(UnixAddress(vm.qmp[0]), capture=False) as watch:
            await watch.first_taps()
            assert watch.snapshot().taps == ()
            assert await our_objects(vm) == []


async def test_a_netdev_that_cannot_be_tapped_says_why(qemu_one: Qemu) -> None:
    # Neither way leads to it: QEMU filters no netdev with several queues, and the host's side of it is down.
    words = ("-netdev", "tap,id=t1,ifname=tap0,script=no,downscript=no,queues=2", "-netdev", "user,id=u1")
    async with (
        namespace() as network,
        start_vm(network.qemu(qemu_one), *words) as vm,
        Watch(UnixAddress(vm.qmp[0])) as watch,
    ):
        await watch.first_taps()
        assert [tap.netdev for tap in watch.snapshot().taps] == ["u1"]
        with pytest.raises(Refused, match=r"cannot tap t1: .*several queues; .*tap0.*not up"):
            await watch.tap("t1")
        with pytest.raises(Refused, match="no such netdev"):
            await watch.tap("nope")
        assert [tap.netdev for tap in watch.snapshot().taps] == ["u1"]


async def test_a_vm_that_is_started_again_is_found_again(qemu_one: Qemu, tmp_path: Path) -> None:
    path = tmp_path / "vm.qmp"
    words = ("-qmp", f"unix:{path},server=on,wait=off")
    async with start_vm(qemu_one, *words, guest="ipxe", monitors=0) as first:
        watch = Watch(UnixAddress(str(path)))
        async with watch:
            seen = (await until(watch, lambda now: now.packets >= 5)).packets
            await first.qmp_raw("quit")
            await first.wait_exit()
            lost = await until(watch, lambda now: now.monitor is MonitorState.LOST)
            assert lost.monitor_note
            async with start_vm(qemu_one, *words, guest="ipxe", monitors=0) as second:
                back = await until(watch, lambda now: now.monitor is MonitorState.CONNECTED)
                assert back.pid == second.pid
                await until(watch, lambda now: now.packets > seen + 5)
                assert watch.store.interfaces[0].name == "u1"
                assert watch.store.frame(0)


async def test_a_process_that_ended_is_not_waited_for(qemu_one: Qemu) -> None:
    async with start_vm(qemu_one, *USER_NIC) as vm, Watch(Pid(vm.pid)) as watch:
        vm.send_signal(9)
        ended = await until(watch, lambda now: now.monitor is MonitorState.ENDED)
        assert "ended" in ended.monitor_note


async def test_a_link_that_another_qmon_sets_is_known(qemu_one: Qemu) -> None:
    async with start_vm(qemu_one, *USER_NIC) as vm, Watch(UnixAddress(vm.qmp[0]), capture=False) as watch:
        nic = (await until(watch, lambda now: bool(now.network.nics))).network.nics[0].id
        async with await Session.attach(UnixAddress(vm.qmp[0])) as other:
            await other.execute("set_link", {"name": nic, "up": False})
            await until(watch, lambda now: now.network.nics[0].link_up is False)
            await other.hmp(f"set_link {nic} on")
            await until(watch, lambda now: now.network.nics[0].link_up is True)


async def test_nobody_there() -> None:
    with pytest.raises(CannotAttach):
        async with Watch(UnixAddress("/nowhere/at/all.sock")):
            pytest.fail("it attached to nothing")
    with pytest.raises(CannotAttach):
        async with Watch(Pid(os.getpid())):
            pytest.fail("it attached to nothing")


async def test_what_the_store_cannot_take_is_told_once(
    qemu_one: Qemu, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with start_vm(qemu_one, guest="ipxe") as vm, Watch(UnixAddress(vm.qmp[0])) as watch:

        def refuse(_: object) -> None:
            raise QmonError("there is no memory for more packets")

        monkeypatch.setattr(watch.store, "append", refuse)
        snapshot = await until(watch, lambda now: now.dropped >= 3)
        assert texts(snapshot).count("store: there is no memory for more packets") == 1
