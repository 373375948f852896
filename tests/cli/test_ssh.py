"""qmon ssh on a real VM, with a guest that answers late and an ssh that tells how it was called."""

import asyncio
import os
from pathlib import Path

import pytest

from tests.cli.program import qmon
from tests.lab import start_vm
from tests.lab.qemus import Qemu

VM = ("-netdev", "user,id=u1", "-device", "virtio-net-pci,id=nic1,netdev=u1")
SSH = '#!/bin/sh\nfor word; do echo "$word"; done\nexit 7\n'


@pytest.fixture(autouse=True)
def told_ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An ssh that prints its words, a line each, and ends with 7."""
    (tmp_path / "ssh").write_text(SSH)
    (tmp_path / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


async def test_ssh_waits_for_the_guest_and_takes_its_forward_away(qemu: Qemu, tmp_path: Path) -> None:
    async with start_vm(qemu, *VM, guest="linux", name="a b") as vm:
        at = vm.qmp[0]
        planned = await qmon("ssh", "--dry-run", vm=at)
        assert planned.out == "qmon forward add 127.0.0.1:0:22\n"
        waiting = asyncio.create_task(qmon("ssh", "--user", "root", "--", "-v", "uname", vm=at))
        await vm.wait_lease()
        await vm.shell("httpd -p 22 -h /www")
        done = await waiting
        assert (done.code, "waiting until the guest answers at 10.0.2.15:22" in done.err) == (7, True)
        words = done.out.splitlines()
        assert words[0] == "-p"
        port = words[1]
        assert words[2:] == [
            *("-o", "HostKeyAlias=qmon-a_b"),
            *("-o", f'UserKnownHostsFile="{tmp_path}/state/qmon/known_hosts"'),
            *("-l", "root", "127.0.0.1", "-v", "uname"),
        ]
        assert (await qmon("forward", "ls", "-o", "json", vm=at)).json["forwards"] == []
        assert (await qmon("forward", "add", f"{port}:22", vm=at)).code == 0
        again = await qmon("ssh", vm=at)
        assert (again.code, again.out.splitlines()[1]) == (7, port)
        assert len((await qmon("forward", "ls", "-o", "json", vm=at)).json["forwards"]) == 1


async def test_ssh_to_a_guest_that_does_not_answer(qemu_one: Qemu) -> None:
    async with start_vm(qemu_one, *VM) as vm:
        late = await qmon("ssh", "--timeout", "0.5", vm=vm.qmp[0])
        assert (late.code, late.out) == (124, "")
        assert "nothing comes back from it" in late.err
        assert (await qmon("forward", "ls", "-o", "json", vm=vm.qmp[0])).json["forwards"] == []


async def test_who_may_ping(qemu_one: Qemu) -> None:
    async with start_vm(qemu_one, *VM) as vm:
        document = (await qmon("ping-range", "-o", "json", vm=vm.qmp[0])).json
        assert (document["pid"], document["group"]) == (vm.pid, os.getegid())
        told = await qmon("ping-range", vm=vm.qmp[0])
        assert told.code == (0 if document["allowed"] else 1)
        assert f"QEMU (pid {vm.pid}) runs as group {os.getegid()}" in told.out
        planned = await qmon("ping-range", "--set", "--dry-run", vm=vm.qmp[0])
        assert planned.out.startswith("sysctl -w ")
