"""What qmons that are gone left behind is removed, and nothing else."""

import asyncio
import os
import signal
import sys
from typing import Any

import pytest

from qmon.capture.taps.sweep import Swept, sweep
from qmon.monitor import commands
from qmon.monitor.address import UnixAddress
from qmon.monitor.processes import start_ticks
from qmon.monitor.session import Session
from qmon.network.ids import Owner
from tests.fakes.monitor import FakeMonitor
from tests.lab import start_vm
from tests.lab.qemus import Qemu
from tests.lab.vm import LabVm

NIC = ("-netdev", "user,id=u1", "-device", "virtio-net-pci,id=nic1,netdev=u1")
OURS = Owner.this_process()
PARENT = os.getppid()
GONE = Owner(OURS.boot, OURS.pid_namespace, 1 << 22, 1)
ALIVE = Owner(OURS.boot, OURS.pid_namespace, PARENT, start_ticks(PARENT) or 0)
FOREIGN = Owner("0" * 12, 1, 1, 1)

# Taps a netdev, and dies before the command that it is given is sent: as one that is killed at that moment.
DIES = """
import asyncio, os, signal, sys
from qmon.capture.vm import VmCapture
from qmon.monitor.address import UnixAddress
from qmon.monitor.session import Session

class Dying(Session):
    async def execute(self, command, arguments=None, *, timeout_s=None, fd=None):
        if command == sys.argv[2]:
            os.kill(os.getpid(), signal.SIGKILL)
        return await super().execute(command, arguments, timeout_s=timeout_s, fd=fd)

async def main():
    async with await Dying.attach(UnixAddress(sys.argv[1])) as session, VmCapture(session) as capture:
        await capture.tap("u1")

asyncio.run(main())
"""


async def left(vm: LabVm) -> list[str]:
    """What of any qmon's is in the VM."""
    names = [entry["name"] for entry in await vm.qmp_raw("qom-list", {"path": "/objects"})]
    names += [entry["label"] for entry in await vm.qmp_raw("query-chardev")]
    names += [str(fd.get("opaque")) for one in await vm.qmp_raw("query-fdsets") for fd in one["fds"]]
    return sorted(name for name in names if name.startswith("qmon-"))


@pytest.mark.parametrize(("command", "count"), [("chardev-remove", 2), ("remove-fd", 2)])
async def test_what_was_left_between_two_commands_goes(qemu: Qemu, command: str, count: int) -> None:
    async with start_vm(qemu, *NIC) as vm:
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", DIES, vm.qmp[0], command)
        assert await process.wait() == -signal.SIGKILL
        before = await left(vm)
        assert len(before) == count, before
        async with await Session.attach(UnixAddress(vm.qmp[0])) as session:
            swept = await sweep(session)
        assert sorted((*swept.removed, *swept.others)) == before
        assert await left(vm) == []
        assert (await vm.qmp_raw("query-status"))["running"]


async def test_only_what_nobody_needs_any_more_goes(qemu: Qemu) -> None:
    async with start_vm(qemu, *NIC) as vm, await Session.attach(UnixAddress(vm.qmp[0])) as session:
        for owner in (OURS, GONE, ALIVE, FOREIGN):
            for number in range(2):
                await commands.add_fd(session, 1, opaque=owner.name(number, "fd"))
            backend = {"type": "null", "data": {}}
            await session.execute("chardev-add", {"id": owner.name(0, "path"), "backend": backend})
        await commands.add_fd(session, 1, opaque="qmon-of-somebody")
        everything = await left(vm)
        swept = await sweep(session)
        doomed = sorted((GONE.name(0, "path"), GONE.name(0, "fd"), GONE.name(1, "fd")))
        assert sorted(swept.others) == doomed
        assert len(swept.foreign) == 3
        assert await left(vm) == sorted(set(everything) - set(doomed))
        swept = await sweep(session, foreign_too=True)
        assert len(swept.others) == 3
        assert not swept.foreign


async def test_descriptor_0_stays(fake_monitor: FakeMonitor) -> None:
    """A qmon may have put it there after QEMU closed its own."""
    removed: list[Any] = []
    descriptors = [
        {"fd": 0, "opaque": GONE.name(0, "fd")},
        {"fd": 7, "opaque": GONE.name(1, "fd")},
        {"fd": 8},
    ]
    fake_monitor.answer("qom-list", [])
    fake_monitor.answer("query-chardev", [])
    fake_monitor.answer("query-fdsets", [{"fdset-id": 3, "fds": descriptors}])
    fake_monitor.answer("remove-fd", lambda arguments: removed.append(arguments) or {})
    async with await Session.attach(fake_monitor.address) as session:
        await sweep(session)
    assert removed == [{"fdset-id": 3, "fd": 7}]


def test_what_was_done_is_said() -> None:
    assert Swept().lines() == []
    said = Swept(("a", "b"), ("c",), (), ("d",)).lines()
    assert [line.split(":")[0] for line in said] == [
        "removed 2 filters that a qmon which is gone had left",
        "removed sockets and descriptors that a qmon which is gone had left",
        "left alone, made by a qmon elsewhere",
    ]
    assert said[0].endswith("a, b")
