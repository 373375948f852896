"""The lab itself: what the other tests stand on."""

import os
import signal
from pathlib import Path

import pytest

from tests.lab import LabError, Qemu, start_vm
from tests.lab.qmp import QmpClient, QmpRefused

USER_NIC = ("-netdev", "user,id=u1", "-device", "virtio-net-pci,id=nic1,netdev=u1")


async def test_a_linux_guest_gets_a_lease_and_runs_commands(qemu: Qemu) -> None:
    async with start_vm(qemu, *USER_NIC, guest="linux") as vm:
        assert (await vm.qmp_raw("query-version"))["qemu"]["major"] == qemu.number[0]
        assert await vm.wait_lease() == "10.0.2.15"
        assert await vm.shell("echo 'it''s'; seq 2") == "its\n1\n2\n"
        assert await vm.shell("wget -q -O - http://127.0.0.1/") == "hello from the guest\n"
        with pytest.raises(LabError, match="ended with 3: so be it"):
            await vm.shell("echo so be it; exit 3")


async def test_a_linux_guest_takes_and_gives_back_a_nic(qemu: Qemu) -> None:
    async with start_vm(qemu, "-netdev", "user,id=u2,net=10.7.0.0/24", guest="linux") as vm:
        await vm.wait_serial(r"^## ready\n")
        for driver in ("e1000", "virtio-net-pci"):
            await vm.qmp_raw("device_add", {"driver": driver, "id": "hot", "netdev": "u2"})
            assert await vm.wait_lease() == "10.7.0.15"
            await vm.qmp_raw("device_del", {"id": "hot"})
            await vm.monitor.wait_event("DEVICE_DELETED", lambda data: data.get("device") == "hot")
            await vm.wait_serial(r"^## gone eth0\n")
            vm.monitor.events.clear()
            vm.console.output.clear()


async def test_q35_takes_a_nic_on_a_root_port(qemu: Qemu) -> None:
    port = ("-device", "pcie-root-port,id=rp1,chassis=1", "-netdev", "user,id=u1")
    async with start_vm(qemu, *port, guest="linux", machine="q35") as vm:
        await vm.wait_serial(r"^## ready\n")
        await vm.qmp_raw(
            "device_add", {"driver": "virtio-net-pci", "id": "hot", "netdev": "u1", "bus": "rp1"}
        )
        assert await vm.wait_lease() == "10.0.2.15"


async def test_the_ipxe_guest_loads_its_script_again_and_again(qemu: Qemu) -> None:
    async with start_vm(qemu, guest="ipxe") as vm:
        await vm.wait_serial(r"(?s)payload.*ok.*payload.*ok")


async def test_a_vm_is_gone_afterwards_whatever_happens(qemu_one: Qemu) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        async with start_vm(qemu_one, name="doomed") as vm:
            pid, directory = vm.pid, vm.directory
            assert b"doomed" in Path(f"/proc/{pid}/cmdline").read_bytes()
            raise ZeroDivisionError
    assert not Path(f"/proc/{pid}").exists()
    assert not directory.exists()
    assert "doomed" in "".join(caught.value.__notes__)


async def test_a_vm_that_does_not_start_says_why(qemu_one: Qemu) -> None:
    with pytest.raises(LabError, match="QEMU ended with 1") as caught:
        async with start_vm(qemu_one, "-netdev", "nonsense,id=u1"):
            raise AssertionError("it started")
    assert "nonsense" in "".join(caught.value.__notes__)


async def test_monitors_are_free_for_the_test_and_refusals_are_told(qemu_one: Qemu) -> None:
    async with start_vm(qemu_one, monitors=2, env={"TZ": "UTC+8"}) as vm:
        first, second = [await QmpClient.connect(path) for path in vm.qmp]
        assert await first.execute("query-name") == await second.execute("query-name") == {"name": "lab"}
        with pytest.raises(QmpRefused, match="CommandNotFound"):
            await vm.qmp_raw("no-such-command")
        assert b"TZ=UTC+8" in Path(f"/proc/{vm.pid}/environ").read_bytes()
        await first.close()
        await second.close()


async def test_the_end_of_a_vm_reaches_every_wait(qemu_one: Qemu) -> None:
    async with start_vm(qemu_one, guest="ipxe") as vm:
        os.kill(vm.pid, signal.SIGKILL)
        assert await vm.wait_exit() == -signal.SIGKILL
        with pytest.raises(LabError, match="ended before"):
            await vm.wait_serial("never printed")
        with pytest.raises(ConnectionError):
            await vm.qmp_raw("query-status")
