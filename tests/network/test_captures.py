"""A NIC that is plugged in during a capture of everything is in it from its first frame, on real QEMUs."""

import asyncio
import subprocess
import sys
from pathlib import Path

from qmon.monitor.address import UnixAddress
from qmon.monitor.session import Session
from qmon.network.captures import let_captures_join
from tests.lab import start_vm
from tests.lab.qemus import Qemu

NIC = ("-netdev", "user,id=u1", "-device", "virtio-net-pci,id=nic1,netdev=u1")


async def test_nobody_captures(qemu_one: Qemu) -> None:
    async with start_vm(qemu_one, *NIC) as vm, await Session.attach(UnixAddress(vm.qmp[0])) as session:
        loop = asyncio.get_running_loop()
        before = loop.time()
        assert not await let_captures_join(session, "u1", timeout_s=60)
        assert loop.time() - before < 30


async def test_a_new_nic_is_captured_from_its_first_frame(qemu: Qemu, tmp_path: Path) -> None:
    file = tmp_path / "all.pcapng"
    async with start_vm(qemu, *NIC) as vm:

        async def qmon(*words: str, **streams: int) -> asyncio.subprocess.Process:
            command = (sys.executable, "-m", "qmon", "--vm", vm.qmp[0], *words)
            return await asyncio.create_subprocess_exec(*command, **streams)

        dump = await qmon("dump", "--all", "-w", str(file), stderr=subprocess.PIPE)
        assert dump.stderr is not None
        assert b"capturing u1" in await dump.stderr.readline()
        plug = await qmon("plug", "user,id=u2", "--nic", "e1000,id=nic2")
        assert await plug.wait() == 0
        dump.terminate()
        told = await dump.stderr.read()
        assert await dump.wait() == 0
        assert b"missed" not in told
    notes = await asyncio.create_subprocess_exec(
        *("tshark", "-r", str(file), "-Y", "systemd_journal"),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert b"u2 joined the capture before any NIC" in (await notes.communicate())[0]
