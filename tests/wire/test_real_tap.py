"""The wire of a tap: its headers, its manners, and what QEMU cannot filter."""

import asyncio

import pytest

from tests.cli.program import qmon
from tests.lab import start_vm
from tests.lab.namespace import namespace
from tests.lab.qemus import Qemu
from tests.lab.vm import LabVm
from tests.wire.places import descriptor_0, dumped, left

TAP = "tap,id=t1,ifname=tap0,script=no,downscript=no"


async def static(vm: LabVm) -> None:
    """Give the guest 192.168.9.15."""
    await vm.wait_serial("## ready")
    # Its DHCP client may not have begun yet, and would take the address away.
    await vm.shell("until [ -s /run/udhcpc.eth0 ]; do sleep 1; done; kill $(cat /run/udhcpc.eth0)")
    await vm.shell("ip addr flush dev eth0; ip addr add 192.168.9.15/24 dev eth0")


@pytest.mark.parametrize("model", ["virtio-net-pci", "e1000", "e1000e"])
async def test_a_guest_on_a_tap_answers_and_the_network_is_asked_only_with_leave(
    qemu: Qemu, model: str
) -> None:
    async with (
        namespace() as net,
        start_vm(
            net.qemu(qemu), "-netdev", TAP, "-device", f"{model},netdev=t1,id=nic1", guest="linux"
        ) as vm,
    ):
        net.give("tap0", "192.168.9.1/24")
        await static(vm)
        before = descriptor_0(vm)
        async with dumped(vm, "t1") as frames:
            refused = await qmon("ping", "-c", "1", "192.168.9.15", vm=vm.qmp[0])
            unasked = await qmon("ask", "arp", "192.168.9.1", vm=vm.qmp[0])
        assert (refused.code, unasked.code) == (2, 2)
        assert "--yes allows it" in refused.err
        assert not any(bytes.fromhex("02716d") in frame for frame in frames)
        found = await qmon(
            "ping", "--yes", "-c", "2", "-i", "0.1", "-o", "json", "192.168.9.15", vm=vm.qmp[0]
        )
        assert found.code == 0, found.err
        assert found.json["received"] == 2
        # With a source of the user's nothing has to be asked toward the network.
        ports = await qmon("knock", "192.168.9.15", "80", "81", "--source", "192.168.9.200", vm=vm.qmp[0])
        assert ports.code == 0, ports.err
        assert "80/tcp  open" in ports.out
        assert "81/tcp  closed" in ports.out
        host = await qmon("ask", "arp", "192.168.9.1", "--yes", "-o", "json", vm=vm.qmp[0])
        assert host.code == 0, host.err
        assert host.json["answer"]["mac"] in net.run("ip", "link", "show", "tap0")
        echo = await qmon("ask", "ping", "192.168.9.1", "--yes", "-o", "json", vm=vm.qmp[0])
        assert echo.json["answer"] == {"address": "192.168.9.1", "ttl": 64}
        assert await left(vm) == []
        assert descriptor_0(vm) == before


async def test_several_queues_go_by_the_hosts_interface_toward_the_guest_alone(qemu: Qemu) -> None:
    device = "virtio-net-pci,netdev=t1,id=nic1,mq=on,vectors=6"
    async with (
        namespace() as net,
        start_vm(net.qemu(qemu), "-netdev", f"{TAP},queues=2", "-device", device, guest="linux") as vm,
    ):
        net.give("tap0", "192.168.9.1/24")
        await static(vm)
        found = await qmon(
            "ping", "-c", "2", "-i", "0.1", "192.168.9.15", "--source", "192.168.9.200", vm=vm.qmp[0]
        )
        assert found.code == 0, found.err
        assert "2 sent, 2 received" in found.out
        refused = await qmon("ask", "arp", "192.168.9.1", "--source", "192.168.9.200", "--yes", vm=vm.qmp[0])
        assert refused.code == 1
        assert "QEMU cannot filter a netdev with several queues" in refused.err
        assert await left(vm) == []


async def test_a_stream_between_two_vms(qemu: Qemu) -> None:
    """Each can be asked on its own wire, and through the other's as its network."""
    path = "{directory}/cable"
    ends = {
        "server": f"stream,id=s1,server=on,addr.type=unix,addr.path={path}",
        "client": "stream,id=s1,server=off,addr.type=unix,addr.path=",
    }
    device = ("-device", "e1000,netdev=s1,id=nic1")
    async with start_vm(qemu, "-netdev", ends["server"], *device, guest="linux") as one:
        cable = str(one.directory / "cable")
        other = start_vm(
            qemu,
            "-netdev",
            ends["client"] + cable,
            "-device",
            "virtio-net-pci,netdev=s1,id=nic1,mac=52:54:00:00:00:02",
            name="b",
            guest="linux",
        )
        async with other as two:
            await static_stream(one)
            words = ("--source", "192.168.9.200")
            direct = await qmon("ping", "-c", "1", "192.168.9.15", *words, vm=one.qmp[0])
            assert direct.code == 0, direct.err
            await two.wait_serial("## ready")
            # Asked by the other VM as its network.
            through = await qmon("ask", "ping", "192.168.9.15", *words, "--yes", "-o", "json", vm=two.qmp[0])
            assert through.code == 0, through.err
            assert through.json["answer"]["address"] == "192.168.9.15"
            ends_left = await asyncio.gather(left(one), left(two))
            assert ends_left == [[], []]


async def static_stream(vm: LabVm) -> None:
    """Give the guest at the cable's end 192.168.9.15."""
    await static(vm)
