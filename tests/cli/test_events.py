"""`qmon events`: a stream of lines until Ctrl-C or the VM's end."""

import asyncio
import fcntl
import json
import os
import select
import signal
import sys
from asyncio.subprocess import PIPE, Process

from tests.lab import start_vm
from tests.lab.qemus import Qemu
from tests.lab.vm import LabVm


async def listening(vm: LabVm, *words: str) -> Process:
    """`qmon events` that has said that it listens."""
    program = [sys.executable, "-m", "qmon", "--vm", vm.qmp[0], "events", *words]
    process = await asyncio.create_subprocess_exec(*program, stdout=PIPE, stderr=PIPE)
    assert process.stderr is not None
    async with asyncio.timeout(20):
        assert await process.stderr.readline() == b"listening for the VM's events; Ctrl-C ends it\n"
    return process


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


async def test_a_signal_is_heard_while_the_reader_takes_nothing(qemu_one: Qemu) -> None:
    async with start_vm(qemu_one) as vm:
        ours, its = os.pipe()
        fcntl.fcntl(its, fcntl.F_SETPIPE_SZ, 4096)
        program = [sys.executable, "-m", "qmon", "--vm", vm.qmp[0], "events"]
        process = await asyncio.create_subprocess_exec(*program, stdout=its, stderr=PIPE)
        assert process.stderr is not None
        async with asyncio.timeout(20):
            await process.stderr.readline()
            while select.select([], [its], [], 0)[1]:
                await vm.qmp_raw("stop")
                await vm.qmp_raw("cont")
            process.terminate()
            assert await process.wait() == 0
        os.close(ours)
        os.close(its)


async def test_a_killed_vm_is_not_an_end_in_order(qemu_one: Qemu) -> None:
    async with start_vm(qemu_one) as vm:
        process = await listening(vm)
        vm.send_signal(signal.SIGKILL)
        async with asyncio.timeout(20):
            _, err = await process.communicate()
    assert process.returncode == 1
    assert b"the monitor disconnected" in err
