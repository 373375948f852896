"""`qmon knock` against known truth: open, closed, firewalled, nobody there."""

import asyncio

from tests.cli.program import Done, qmon
from tests.lab import start_vm
from tests.lab.qemus import Qemu
from tests.wire.places import descriptor_0, dumped, left, user


def states(done: Done) -> dict[str, str]:
    """Each port's state."""
    assert done.code == 0, done.err
    return {f"{one['port']}/{one['protocol']}": one["state"] for one in done.json["ports"]}


async def test_open_closed_and_silent(qemu: Qemu) -> None:
    async with start_vm(qemu, *user(), guest="linux") as vm:
        await vm.wait_lease()
        before = descriptor_0(vm)
        async with dumped(vm) as frames:
            found = await qmon("knock", "22", "80", "53/udp", "8000-8002", "-o", "json", vm=vm.qmp[0])
        closed = dict.fromkeys(("22/tcp", "53/udp", "8000/tcp", "8001/tcp", "8002/tcp"), "closed")
        assert states(found) == {"80/tcp": "open", **closed}
        assert {one["address"] for one in found.json["ports"]} == {"10.0.2.15"}
        # What was opened was reset by us.
        assert any(f[6:9] == bytes.fromhex("02716d") and f[36:38] == b"\0\x50" and f[47] == 4 for f in frames)
        # A firewall that drops what it would answer to us.
        await vm.shell("ip route add blackhole 10.0.2.254/32")
        found = await qmon("knock", "10.0.2.15", "80", "81", "-o", "json", vm=vm.qmp[0])
        assert states(found) == {"80/tcp": "silent", "81/tcp": "silent"}
        found = await qmon("knock", "-6", "80", "81", vm=vm.qmp[0])
        assert found.code == 0, found.err
        assert "80/tcp  open" in found.out
        assert "81/tcp  closed" in found.out
        assert await left(vm) == []
        assert descriptor_0(vm) == before


async def test_a_static_guest_is_found_and_asked_without_a_driver_nobody_is(qemu: Qemu) -> None:
    async with start_vm(qemu, *user("e1000"), guest="linux") as vm:
        await vm.wait_lease()
        await vm.shell(
            "kill $(cat /run/udhcpc.eth0); ip addr flush dev eth0; ip addr add 10.0.2.77/24 dev eth0"
        )
        found = await qmon("knock", "80", "-o", "json", vm=vm.qmp[0])
        assert states(found) == {"80/tcp": "open"}
        assert found.json["ports"][0]["address"] == "10.0.2.77"
        await vm.shell("ip link set eth0 down")
        found = await qmon("knock", "10.0.2.77", "80", "-o", "json", vm=vm.qmp[0])
        assert found.code == 1
        assert found.json == {"ports": []}
        assert "nobody on u1 answers for 10.0.2.77" in found.err
        assert await left(vm) == []


async def test_an_ipxe_guest_answers_pings_but_no_ports_and_several_ask_at_once(qemu: Qemu) -> None:
    async with start_vm(qemu, guest="ipxe") as vm:
        await vm.wait_serial("payload")
        ports, reply = await asyncio.gather(
            qmon("knock", "10.0.2.15", "80", "-o", "json", vm=vm.qmp[0]),
            qmon("ping", "-c", "2", "-i", "0.5", "-o", "json", vm=vm.qmp[0]),
        )
        # iPXE drops what comes for no connection of its own.
        assert states(ports) == {"80/tcp": "silent"}
        assert reply.code == 0, reply.err
        assert reply.json["received"] == 2
        assert await left(vm) == []
