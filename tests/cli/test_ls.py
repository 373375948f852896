"""`qmon ls` and the choice of the VM, with VMs that run."""

import socket
from contextlib import closing

from tests.cli.program import qmon
from tests.lab import start_vm
from tests.lab.qemus import Qemu


async def test_vms_are_listed(qemu: Qemu) -> None:
    async with (
        start_vm(qemu, name="evil\x1b[31m[bold]\nname", machine="q35") as vm,
        start_vm(qemu, name="mute", monitors=0, lab_monitor=False) as mute,
    ):
        listed = {one["pid"]: one for one in (await qmon("ls", "-o", "json")).json["vms"]}
        one = listed[vm.pid]
        assert (one["name"], one["machine"], one["state"]) == ("evil\x1b[31m[bold]\nname", "q35", "free")
        assert one["monitor"] == f"unix:{vm.qmp[0]}"
        assert [monitor["state"] for monitor in one["monitors"]] == ["free", "busy"]
        assert (listed[mute.pid]["monitor"], listed[mute.pid]["state"]) == (None, "none")
        assert "-qmp unix:/tmp/mute.qmp,server=on,wait=off" in listed[mute.pid]["hint"]
        table = await qmon("ls")
        assert table.code == 0
        assert "\x1b" not in table.out + table.err
        assert r"evil\x1b[31m[bold]\nname" in table.out
        assert f"pid {mute.pid}: it was started without a monitor socket" in table.err


async def test_a_vm_is_chosen_by_name_pid_path_or_alone(qemu_one: Qemu) -> None:
    async with start_vm(qemu_one, name="chosen one") as vm:
        for target in ("chosen one", f"pid:{vm.pid}", vm.qmp[0], f"unix:{vm.qmp[0]}"):
            done = await qmon("qmp", "query-name", vm=target)
            assert (done.code, '"chosen one"' in done.out) == (0, True), done
        unknown = await qmon("info", "network", vm="nobody")
        assert unknown.code == 3
        assert "no VM named 'nobody' is running here" in unknown.err
        assert "chosen one" in unknown.err
        absent = await qmon("info", "network", vm="/nonexistent/q.sock")
        assert absent.code == 3
        async with start_vm(qemu_one, name="chosen one") as twin:
            twins = await qmon("info", "network", vm="chosen one")
            assert twins.code == 3
            assert f"pid:{vm.pid}" in twins.err
            assert f"pid:{twin.pid}" in twins.err
            several = await qmon("info", "network")
            assert several.code == 3
            assert "--vm" in several.err
    wrong = await qmon("info", "network", vm="pid:x/")
    assert wrong.code in (2, 3)
    assert (await qmon("--vm", "a", "--vm", "b", "info", "network")).code == 2


async def test_a_busy_monitor_says_who_holds_it(qemu_one: Qemu) -> None:
    async with start_vm(qemu_one, lab_monitor=False) as vm:
        with closing(socket.socket(socket.AF_UNIX)) as client:
            client.connect(vm.qmp[0])
            client.recv(1)
            done = await qmon("qmp", "query-name", vm=f"pid:{vm.pid}")
    assert done.code == 3
    assert "pytest" in done.err or "python" in done.err
