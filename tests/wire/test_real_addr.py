"""`qmon addr`: what was seen, what is asked, and that nothing is sent without being asked to."""

import signal
from pathlib import Path

from tests.capture.test_real import dumping
from tests.cli.program import Done, qmon
from tests.lab import start_vm
from tests.lab.qemus import Qemu
from tests.wire.places import dumped, left, user


def known(done: Done) -> dict[str, str]:
    """Each address of the first NIC, and how it is known."""
    assert done.code == 0, done.err
    return {one["address"]: one["source"] for one in done.json["guests"][0]["addresses"]}


async def test_what_a_capture_saw_is_known_to_the_next_qmon(qemu: Qemu, tmp_path: Path) -> None:
    async with start_vm(qemu, *user(), guest="linux") as vm:
        async with dumping(vm, "--netdev", "u1", "-w", str(tmp_path / "a.pcapng")) as process:
            await vm.wait_lease()
            await vm.shell("ping -c 1 10.0.2.2 || true")
            async with dumped(vm) as frames:
                beside = await qmon("addr", "-o", "json", vm=vm.qmp[0])
            process.send_signal(signal.SIGINT)
            await process.communicate()
        assert known(beside)["10.0.2.15"] == "dhcp"
        guest = beside.json["guests"][0]
        assert (guest["nic"], guest["netdev"], guest["mac"]) == ("nic1", "u1", "52:54:00:12:34:56")
        assert not any(frame[6:9] == bytes.fromhex("02716d") for frame in frames)
        # And after the capture has ended.
        after = await qmon("addr", vm=vm.qmp[0])
        assert "10.0.2.15" in after.out
        assert await left(vm) == []


async def test_a_silent_guest_is_asked_only_if_wanted(qemu: Qemu) -> None:
    async with start_vm(qemu, *user("e1000"), guest="linux") as vm:
        await vm.wait_lease()
        await vm.shell(
            "kill $(cat /run/udhcpc.eth0); ip addr flush dev eth0; ip addr add 10.0.2.99/24 dev eth0"
        )
        async with dumped(vm) as frames:
            nothing = await qmon("addr", "-o", "json", vm=vm.qmp[0])
        assert "10.0.2.99" not in known(nothing)
        assert not any(frame[6:9] == bytes.fromhex("02716d") for frame in frames)
        asked = await qmon("addr", "--ask", "-o", "json", vm=vm.qmp[0])
        assert known(asked)["10.0.2.99"] == "asked"
        assert known(await qmon("addr", "-o", "json", vm=vm.qmp[0]))["10.0.2.99"] == "arp"
        assert await left(vm) == []
