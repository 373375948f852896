"""Cables between real VMs: both ends or none, taken away again, found by name."""

import asyncio
from pathlib import Path

import pytest

from qmon.errors import Refused, TimedOut, UsageError
from qmon.monitor.address import UnixAddress
from qmon.monitor.session import Session
from qmon.network.cable import lay_cable, plan_cable, uncable
from qmon.network.inspect import inspect
from tests.cli.program import qmon
from tests.lab import start_vm
from tests.lab.qemus import Qemu


async def netdevs(*sessions: Session) -> list[list[str]]:
    return [[one.id for one in (await inspect(session)).netdevs] for session in sessions]


async def test_both_ends_or_none(qemu: Qemu) -> None:
    async with (
        start_vm(qemu, name="one") as one,
        start_vm(qemu, name="two", machine="microvm") as two,
        await Session.attach(UnixAddress(one.qmp[0])) as first,
        await Session.attach(UnixAddress(two.qmp[0])) as second,
    ):
        open_before = len(list(Path(f"/proc/{one.pid}/fd").iterdir()))
        with pytest.raises(UsageError, match="two different VMs"):
            await plan_cable(first, first, "lan1")
        ends = await plan_cable(second, first, "lan1")
        assert [step.name for step in ends[0].steps] == ["getfd", "netdev_add", "device_add"]
        with pytest.raises(Refused):  # A microvm has no PCI bus for the NIC.
            await lay_cable(ends)
        assert await netdevs(first, second) == [[], []]
        assert len(list(Path(f"/proc/{one.pid}/fd").iterdir())) == open_before
        assert Path(f"/proc/{two.pid}/fd/0").exists()


async def test_a_cable_is_laid_and_taken_away_at_the_shell(qemu: Qemu) -> None:
    async with start_vm(qemu, name="one") as one, start_vm(qemu, name="two") as two:
        at = one.qmp[0], two.qmp[0]
        planned = (await qmon("cable", *at, "--name", "lan1", "--dry-run", "-o", "json")).json["vms"]
        assert [len(vm["commands"]) for vm in planned] == [3, 3]
        laid = await qmon("cable", *at, "--name", "lan1", "--nic", "e1000")
        assert (laid.code, laid.out) == (0, "lan1\n")
        async with (
            await Session.attach(UnixAddress(at[0])) as first,
            await Session.attach(UnixAddress(at[1])) as second,
        ):
            nics = [nic for session in (first, second) for nic in (await inspect(session)).nics]
            assert [(nic.id, nic.model, nic.netdev) for nic in nics] == [("lan1-nic", "e1000", "lan1")] * 2
            assert nics[0].mac != nics[1].mac
            with pytest.raises(Refused, match="has a netdev 'lan1' already"):
                await plan_cable(first, second, "lan1")
            # No guest runs that could release its NIC; a reset completes what was asked for.
            with pytest.raises(TimedOut):
                await uncable([first, second], "lan1", timeout_s=0.2)
            for vm, session in ((one, first), (two, second)):
                await vm.qmp_raw("system_reset")
                async with asyncio.timeout(20):
                    while (await inspect(session)).nics:  # noqa: ASYNC110 (there is no event)
                        await asyncio.sleep(0.05)
        gone = await qmon("--vm", at[0], "--vm", at[1], "uncable", "lan1")
        assert (gone.code, "is taken away from" in gone.err) == (0, True)
        again = await qmon("--vm", at[0], "--vm", at[1], "uncable", "lan1")
        assert (again.code, "has a cable 'lan1'" in again.err) == (1, True)
