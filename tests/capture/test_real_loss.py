"""Losses on real QEMUs: what is missing is told, with the right reason, and the capture is soon back."""

import os
import resource

import pytest

from qmon.capture.reading import kernel
from qmon.capture.vm import VmCapture
from qmon.errors import Refused
from tests.capture.test_real import LINUX, collect, memfds, ours, session
from tests.lab import start_vm
from tests.lab.qemus import Qemu


async def gap_of(capture: VmCapture) -> str:
    """What the next gap is said to come from."""
    notes = await collect(capture, lambda _, notes: any(note.kind == "gap" for note in notes))
    return next(note.text for note in notes if note.kind == "gap")


async def test_a_seal_by_somebody_else_is_told_as_that(qemu: Qemu) -> None:
    async with start_vm(qemu, guest="ipxe") as vm, session(vm) as monitor, VmCapture(monitor) as capture:
        await capture.tap("u1")
        fd = os.open(memfds(vm)[0], os.O_RDWR)
        kernel.seal_growth(fd)
        os.close(fd)
        assert "somebody else sealed" in await gap_of(capture)
        assert len(await ours(vm)) == 2
        await collect(capture, lambda batches, _: bool(batches))


async def test_files_as_long_as_qemu_may_write_are_told_as_that(
    qemu_one: Qemu, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with start_vm(qemu_one, guest="ipxe") as vm, session(vm) as monitor:
        resource.prlimit(vm.pid, resource.RLIMIT_FSIZE, (400_000, 400_000))
        async with VmCapture(monitor) as capture:
            await capture.tap("u1")
            (tap,) = capture._taps.values()
            # As where there can be no other files in time.
            tap.keeps_files = True
            assert "ulimit -f" in await gap_of(capture)
        assert vm.running


async def test_too_many_open_files_are_told_as_that(qemu: Qemu) -> None:
    async with start_vm(qemu, *LINUX) as vm, session(vm) as monitor, VmCapture(monitor) as capture:
        before = len(os.listdir(f"/proc/{vm.pid}/fd"))
        refused = 0
        for more in range(6):
            resource.prlimit(vm.pid, resource.RLIMIT_NOFILE, (before + more, 4096))
            try:
                await capture.tap("u1")
            except Refused as problem:
                refused += 1
                said = f"{problem.message} {problem.hint}"
                assert "too many files open" in said
                assert "AppArmor" not in said
                assert "ulimit -n" in said
                assert os.readlink(f"/proc/{vm.pid}/fd/0") == "/dev/null"
                assert await ours(vm) == []
            else:
                await capture.untap("u1")
        assert 0 < refused < 6
