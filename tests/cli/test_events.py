"""`qmon events`: a stream of lines until Ctrl-C or the VM's end."""

import asyncio
import json
import signal
import sys
from asyncio.subprocess import PIPE, Process

from tests.lab import start_vm
from tests.lab.qemus import Qemu
from tests.lab.vm import LabVm


async def listening(vm: LabVm, *words: str) -> Process:
    """`qmon events` that has already printed its first event."""
    program = [sys.executable, "-m", "qmon", "--vm", vm.qmp[0], "events", *words]
    process = await asyncio.create_subprocess_exec(*program, stdout=PIPE, stderr=PIPE)
    assert process.stdout is not None
    while True:
        # It listens from some moment on; until then events go by.
        await vm.qmp_raw("stop")
        await vm.qmp_raw("cont")
        try:
            async with asyncio.timeout(0.2):
                await process.stdout.readuntil(b"RESUME")
                await process.stdout.readline()
                return process
        except TimeoutError:
            assert process.returncode is None


async def test_lines_until_the_vm_ends(qemu: Qemu) -> None:
    async with start_vm(qemu) as vm:
        process = await listening(vm, "-o", "jsonl")
        await vm.qmp_raw("system_reset")
        await vm.qmp_raw("quit")
        async with asyncio.timeout(20):
            out, err = await process.communicate()
    lines = [json.loads(line) for line in out.splitlines()]
    assert {"RESET", "SHUTDOWN"} <= {line["event"] for line in lines}
    assert {tuple(line) for line in lines} == {("schema_version", "time", "event", "data")}
    assert all(len(line["time"].partition(".")[2]) == 9 for line in lines)
    assert (process.returncode, err) == (0, b"the VM has ended\n")


async def test_ctrl_c_is_an_end_in_order(qemu_one: Qemu) -> None:
    async with start_vm(qemu_one) as vm:
        process = await listening(vm)
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(20):
            _, err = await process.communicate()
        assert (process.returncode, err) == (0, b"")
        assert vm.running


async def test_a_killed_vm_is_not_an_end_in_order(qemu_one: Qemu) -> None:
    async with start_vm(qemu_one) as vm:
        process = await listening(vm)
        vm.send_signal(signal.SIGKILL)
        async with asyncio.timeout(20):
            _, err = await process.communicate()
    assert process.returncode == 1
    assert b"the monitor disconnected" in err
