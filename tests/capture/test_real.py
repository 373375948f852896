"""Taps on real QEMUs: what they must never do to a VM, and what must never be lost."""

import asyncio
import errno
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from qmon.capture.reading import kernel
from qmon.capture.taps import filters as tap_module
from qmon.capture.vm import CaptureOptions, VmCapture
from qmon.errors import Refused
from qmon.monitor.address import UnixAddress
from qmon.monitor.session import Session
from qmon.network.ids import Owner
from qmon.packets.batch import Direction, FrameBatch, Note
from qmon.packets.files.source import CaptureFile
from tests.lab import start_vm
from tests.lab.qemus import Qemu
from tests.lab.vm import LabVm

QMON = [sys.executable, "-m", "qmon"]
LINUX = ("-netdev", "user,id=u1", "-device", "virtio-net-pci,netdev=u1,id=nic1")


async def objects(vm: LabVm) -> list[str]:
    return [entry["name"] for entry in await vm.qmp_raw("qom-list", {"path": "/objects"})]


async def ours(vm: LabVm) -> list[str]:
    return [name for name in await objects(vm) if name.startswith("qmon-")]


def descriptor_0(vm: LabVm) -> str:
    return os.readlink(f"/proc/{vm.pid}/fd/0")


def memfds(vm: LabVm) -> list[str]:
    found = []
    for entry in Path(f"/proc/{vm.pid}/fd").iterdir():
        try:
            target = os.readlink(entry)
        except FileNotFoundError:
            continue
        if "memfd:qmon" in target:
            found.append(str(entry))
    return found


async def until(fact: Callable[[], bool], seconds: float = 30) -> None:
    deadline = asyncio.get_running_loop().time() + seconds
    while not fact():
        assert asyncio.get_running_loop().time() < deadline, "it did not happen"
        await asyncio.sleep(0.01)


@asynccontextmanager
async def session(vm: LabVm) -> AsyncIterator[Session]:
    async with await Session.attach(UnixAddress(vm.qmp[0])) as attached:
        yield attached


async def collect(capture: VmCapture, enough: Callable[[list[FrameBatch], list[Note]], bool]) -> list[Note]:
    """Poll until it is enough; return the notes. What was captured is added to `capture`'s batches by the caller."""
    batches: list[FrameBatch] = []
    notes: list[Note] = []
    async with asyncio.timeout(60):
        while not enough(batches, notes):
            await capture.wait(0.1)
            polled = capture.poll()
            if polled.batch is not None:
                batches.append(polled.batch)
            notes += polled.notes
    return notes


async def test_a_tap_sees_both_directions_and_leaves_nothing(qemu: Qemu) -> None:
    async with start_vm(qemu, guest="ipxe") as vm, session(vm) as monitor:
        before = descriptor_0(vm)
        async with VmCapture(monitor) as capture:
            state = await capture.tap("u1")
            assert state.netdev == "u1"
            seen: set[int] = set()
            await collect(
                capture,
                lambda batches, _: (
                    seen.update(*(batch.direction.tolist() for batch in batches)) or len(seen) > 1
                ),
            )
            assert seen == {Direction.IN, Direction.OUT}
            assert len(await ours(vm)) == 2
        assert await ours(vm) == []
        assert memfds(vm) == []
        assert descriptor_0(vm) == before
        assert (await vm.qmp_raw("query-status"))["running"]


async def test_descriptor_0_survives_every_refusal(qemu: Qemu) -> None:
    async with start_vm(qemu, *LINUX) as vm, session(vm) as monitor:
        before = descriptor_0(vm)
        async with VmCapture(monitor) as capture:
            for netdev in ("nothing", "nic1", "", "#net000", "u1 "):
                with pytest.raises(Refused, match="cannot tap"):
                    await capture.tap(netdev)
                assert descriptor_0(vm) == before
            await capture.tap("u1")
            assert (await capture.tap("u1")).netdev == "u1"
        assert descriptor_0(vm) == before
        assert await vm.qmp_raw("query-fdsets") == []


async def test_descriptor_0_is_healed_should_a_filter_fail_all_the_same(
    qemu: Qemu, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def no_probe(*_: object) -> None:
        return

    monkeypatch.setattr(tap_module, "probe_netdev", no_probe)
    async with start_vm(qemu, *LINUX) as vm, session(vm) as monitor, VmCapture(monitor) as capture:
        with pytest.raises(Refused):
            await capture.tap("nothing")
        # /dev/null, as before or again: QEMU's next file does not get the number.
        assert descriptor_0(vm) == "/dev/null"
        await capture.tap("u1")
        assert descriptor_0(vm) == "/dev/null"


async def test_nothing_stays_where_the_kernel_lets_no_more_files_be_watched(
    qemu_one: Qemu, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = kernel.WriteWatch.add

    def full(self: kernel.WriteWatch, fd: int) -> None:
        if self._watches:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        watch(self, fd)

    async with start_vm(qemu_one, *LINUX) as vm, session(vm) as monitor, VmCapture(monitor) as capture:
        with monkeypatch.context() as limited:
            limited.setattr(kernel.WriteWatch, "add", full)
            with pytest.raises(Refused, match="cannot watch"):
                await capture.tap("u1")
            assert await ours(vm) == []
            assert memfds(vm) == []
        await capture.tap("u1")
        assert len(await ours(vm)) == 2


async def test_the_order_is_that_of_one_filter_for_all(qemu: Qemu) -> None:
    async with start_vm(qemu, *LINUX, guest="linux") as vm, session(vm) as monitor:
        await vm.wait_lease()
        await vm.qmp_raw(
            "object-add",
            {"qom-type": "filter-dump", "id": "all", "netdev": "u1", "file": str(vm.directory / "all.pcap")},
        )
        batches: list[FrameBatch] = []
        async with VmCapture(monitor) as capture:
            await capture.tap("u1")
            traffic = asyncio.create_task(
                vm.shell(
                    "for i in 1 2 3 4 5 6; do wget -q -O /dev/null http://10.0.2.2:1/; nslookup a.invalid; done; true"
                )
            )
            while not traffic.done():
                await capture.wait(0.05)
                if (batch := capture.poll().batch) is not None:
                    batches.append(batch)
            await traffic
        await vm.qmp_raw("object-del", {"id": "all"})
        if (batch := capture.poll().batch) is not None:
            batches.append(batch)
        mine = [bytes(batch.frame(i)) for batch in batches for i in range(len(batch))]
        with CaptureFile(vm.directory / "all.pcap") as file:
            independent = []
            while (batch := file.read_batch()) is not None:
                independent += [bytes(batch.frame(i)) for i in range(len(batch))]
        assert len(mine) > 20
        start = independent.index(mine[0])
        assert mine == independent[start : start + len(mine)]
        times = np.concatenate([batch.time_ns for batch in batches])
        assert (np.diff(times) >= 0).all()


@asynccontextmanager
async def dumping(vm: LabVm, *words: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """`qmon dump` in a process group of its own, once it captures."""
    process = await asyncio.create_subprocess_exec(
        *QMON, "--vm", vm.qmp[0], "dump", *words, stderr=subprocess.PIPE, start_new_session=True
    )
    assert process.stderr is not None
    try:
        said = ""
        async with asyncio.timeout(30):
            while "capturing" not in said:
                line = (await process.stderr.readline()).decode()
                assert line, said
                said += line
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_signals_end_it_in_order(qemu: Qemu, tmp_path: Path, number: signal.Signals) -> None:
    path = tmp_path / "a.pcapng"
    async with start_vm(qemu, guest="ipxe") as vm:
        async with dumping(vm, "--netdev", "u1", "-w", str(path)) as process:
            await until(lambda: path.stat().st_size > 1000)
            process.send_signal(number)
            async with asyncio.timeout(5):
                _, said = await process.communicate()
            assert process.returncode == 0
            assert b"packets captured" in said
        assert await ours(vm) == []
        with CaptureFile(path) as file:
            assert file.read_batch() is not None


@pytest.mark.parametrize("group", [False, True])
async def test_after_kill_9_qemu_stops_writing_and_the_next_one_sweeps(
    qemu: Qemu, tmp_path: Path, group: bool
) -> None:
    async with start_vm(qemu, guest="ipxe") as vm:
        async with dumping(vm, "--netdev", "u1", "-w", str(tmp_path / "a.pcapng")) as process:
            files = [os.open(path, os.O_RDONLY) for path in memfds(vm)]
            assert len(files) == 2
            (os.killpg if group else os.kill)(process.pid, signal.SIGKILL)
            await until(lambda: all(tap_module.kernel.growth_is_sealed(fd) for fd in files), 1.0)
            await until(lambda: all(os.fstat(fd).st_blocks == 0 for fd in files), 1.0)
        assert len(await ours(vm)) == 2
        async with session(vm) as monitor, VmCapture(monitor) as capture:
            await capture.tap("u1")
            assert len(capture.swept.removed) == 2
            assert len(await ours(vm)) == 2
        assert await ours(vm) == []
        for fd in files:
            os.close(fd)


async def test_filters_of_others_are_left_alone(qemu_one: Qemu) -> None:
    elsewhere = Owner("0" * 12, 1, 1, 1).name(0, "rx")
    async with start_vm(qemu_one, *LINUX) as vm, session(vm) as monitor:
        for name in (elsewhere, "qmon-of-somebody"):
            properties = {"netdev": "u1", "file": str(vm.directory / name)}
            await vm.qmp_raw("object-add", {"qom-type": "filter-dump", "id": name, **properties})
        async with VmCapture(monitor) as capture:
            await capture.tap("u1")
            assert capture.swept.foreign == (elsewhere,)
        assert set(await ours(vm)) == {elsewhere, "qmon-of-somebody"}
        async with VmCapture(monitor, options=CaptureOptions(sweep_foreign=True)) as capture:
            await capture.tap("u1")
        assert await ours(vm) == ["qmon-of-somebody"]


async def test_beyond_the_limit_it_taps_again_and_tells_the_gap(qemu: Qemu) -> None:
    async with start_vm(qemu, guest="ipxe") as vm, session(vm) as monitor:
        async with VmCapture(monitor, options=CaptureOptions(limit_bytes=100_000)) as capture:
            await capture.tap("u1")
            (tap,) = capture._taps.values()
            fd = tap.way.channels[1].follower.fd
            # Nobody reads: the guest fetches 16 kB a second.
            await until(lambda: tap_module.kernel.growth_is_sealed(fd), 60)
            assert os.fstat(fd).st_blocks * 512 <= 200_000
            notes = await collect(capture, lambda _, notes: any(note.kind == "gap" for note in notes))
            assert "missing from" in next(note.text for note in notes if note.kind == "gap")
            assert capture.taps[0].gaps == 1
            await collect(capture, lambda batches, _: any(len(batch) for batch in batches))
        assert await ours(vm) == []


async def test_the_vms_end_is_told_from_its_death(qemu_one: Qemu, tmp_path: Path) -> None:
    for orderly in (True, False):
        path = tmp_path / f"{orderly}.pcapng"
        async with start_vm(qemu_one, guest="ipxe") as vm:
            async with dumping(vm, "--netdev", "u1", "-w", str(path)) as process:
                await until(lambda path=path: path.stat().st_size > 1000)
                if orderly:
                    await vm.qmp_raw("quit")
                else:
                    vm.send_signal(signal.SIGKILL)
                async with asyncio.timeout(10):
                    await process.communicate()
                assert process.returncode == (0 if orderly else 1)
            with CaptureFile(path) as file:
                assert file.read_batch() is not None
                assert not file.damage
