"""`qmon ping` before real guests: who answers is told, who does not too, and nothing stays in the VM."""

import asyncio
import signal
import sys

import pytest

from qmon.capture.following import FollowedVm
from qmon.monitor.address import UnixAddress
from qmon.wire.injection import Toward
from qmon.wire.wire import Wire
from tests.cli.program import qmon
from tests.lab import start_vm
from tests.lab.qemus import Qemu
from tests.lab.vm import LabVm
from tests.wire.places import descriptor_0, dumped, left, user


@pytest.mark.parametrize("model", ["virtio-net-pci", "e1000", "rtl8139"])
async def test_a_guest_behind_user_networking_answers(qemu: Qemu, model: str) -> None:
    async with start_vm(qemu, *user(model), guest="linux") as vm:
        await vm.wait_lease()
        before = descriptor_0(vm)
        async with dumped(vm) as frames:
            found = await qmon("ping", "-c", "2", "-i", "0.1", "-o", "json", vm=vm.qmp[0])
        assert found.code == 0, found.err
        assert (found.json["sent"], found.json["received"]) == (2, 2)
        first = found.json["replies"][0]
        assert 0 < first.pop("rtt_ms") < 5000
        assert first == {
            "netdev": "u1",
            "nic": "nic1",
            "mac": "52:54:00:12:34:56",
            "address": "10.0.2.15",
            "kind": "icmp",
            "seq": 1,
        }
        # An independent dump saw questions and answers.
        ours = bytes.fromhex("02716d")
        assert sum(frame[6:9] == ours for frame in frames) >= 3
        assert sum(frame[:3] == ours for frame in frames) >= 3
        assert await left(vm) == []
        assert descriptor_0(vm) == before


async def test_who_does_not_answer_is_told(qemu: Qemu) -> None:
    async with start_vm(qemu, *user(), guest="linux") as vm:
        await vm.wait_lease()
        driver = await qmon("ping", "--arp", "-c", "1", "10.0.2.15", vm=vm.qmp[0])
        assert driver.code == 0, driver.err
        assert "52:54:00:12:34:56 has 10.0.2.15: seq=1" in driver.out
        await vm.shell("ip link set eth0 down")
        silent = await qmon("ping", "-c", "1", "10.0.2.15", vm=vm.qmp[0])
        assert silent.code == 1
        assert "nobody on u1 answers for 10.0.2.15" in silent.err
        assert await left(vm) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_it_with_the_statistics(qemu: Qemu, number: signal.Signals) -> None:
    async with start_vm(qemu, *user(), guest="linux") as vm:
        await vm.wait_lease()
        process = await _pinging(vm)
        process.send_signal(number)
        said, _ = await process.communicate()
        assert b"ping statistics" in said
        assert process.returncode == 0
        assert await left(vm) == []


async def test_after_kill_9_the_vm_goes_on_and_the_next_one_sweeps(qemu: Qemu) -> None:
    async with start_vm(qemu, *user(), guest="linux") as vm:
        await vm.wait_lease()
        process = await _pinging(vm)
        process.kill()
        await process.communicate()
        assert sum(name.endswith("wire") for name in await left(vm)) == 2
        # The empty shell passes everything on.
        await vm.shell("wget -q -O /dev/null http://10.0.2.2:1/ ; ping -c 1 10.0.2.2 || true")
        again = await qmon("ping", "-c", "1", vm=vm.qmp[0])
        assert again.code == 0, again.err
        assert await left(vm) == []


async def test_without_descriptors_it_goes_by_a_path(qemu: Qemu, unused_tcp_port: int) -> None:
    tcp = ("-qmp", f"tcp:127.0.0.1:{unused_tcp_port},server=on,wait=off")
    async with start_vm(qemu, *user(), *tcp, guest="linux", monitors=0) as vm:
        await vm.wait_lease()
        found = await qmon("ping", "-c", "1", vm=f"pid:{vm.pid}")
        assert found.code == 0, found.err
        assert await left(vm) == []


async def test_ipv6_by_the_group_of_all_nodes(qemu: Qemu) -> None:
    async with start_vm(qemu, *user("e1000"), guest="linux") as vm:
        await vm.wait_lease()
        found = await qmon("ping", "-6", "-c", "2", "-i", "0.1", vm=vm.qmp[0])
        assert found.code == 0, found.err
        assert "64 bytes from fe80::5054:ff:fe12:3456: icmp_seq=2 hlim=64" in found.out


async def test_what_is_cancelled_while_it_opens_leaves_nothing(qemu_one: Qemu) -> None:
    async with start_vm(qemu_one, *user()) as vm:
        async with FollowedVm(UnixAddress(vm.qmp[0])) as followed, Wire(followed, "u1") as wire:
            opening = asyncio.create_task(wire.open(Toward.GUEST))
            await asyncio.sleep(0)
            opening.cancel()
            with pytest.raises(asyncio.CancelledError):
                await opening
        assert await left(vm) == []


async def _pinging(vm: LabVm) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "qmon", "--vm", vm.qmp[0], "ping", "-i", "0.1", "10.0.2.15"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    async with asyncio.timeout(60):
        while b"icmp_seq=2" not in await process.stdout.readline():
            pass
    return process
