"""A VM that is set back to a snapshot in the midst of a capture."""

import asyncio
import time
from pathlib import Path

from qmon.packets.batch import Direction
from qmon.packets.files.source import CaptureFile
from tests.capture.test_real import LINUX, dumping, ours
from tests.capture.test_real_many import end
from tests.lab import start_vm
from tests.lab.qemus import Qemu
from tests.lab.vm import LabVm


async def concluded(vm: LabVm) -> None:
    """Wait until the VM's only job is over."""
    for _ in range(1000):
        if (await vm.qmp_raw("query-jobs"))[0]["status"] == "concluded":
            return
        await asyncio.sleep(0.01)


async def add_disk(vm: LabVm) -> None:
    """Give the VM a place for snapshots."""
    path = f"{vm.directory}/disk.qcow2"
    for job, options in (
        ("raw", {"driver": "file", "filename": path, "size": 0}),
        ("qcow2", {"driver": "qcow2", "file": "raw", "size": 256 << 20}),
    ):
        await vm.qmp_raw("blockdev-create", {"job-id": job, "options": options})
        async with asyncio.timeout(20):
            await concluded(vm)
        await vm.qmp_raw("job-dismiss", {"id": job})
        if job == "raw":
            await vm.qmp_raw("blockdev-add", {"driver": "file", "filename": path, "node-name": "raw"})
    await vm.qmp_raw("blockdev-add", {"driver": "qcow2", "file": "raw", "node-name": "disk"})


def asked_at(path: Path, name: bytes) -> list[int]:
    """Return when the names were asked for, by the file (UTC ns)."""
    found = []
    with CaptureFile(path) as file:
        while (batch := file.read_batch()) is not None:
            found += [
                int(batch.time_ns[i])
                for i in range(len(batch))
                if name in bytes(batch.frame(i)) and batch.direction[i] == Direction.OUT
            ]
        assert not file.damage
    return found


async def test_a_capture_goes_on_in_a_vm_that_was_set_back(qemu: Qemu, tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    moments = {}
    async with start_vm(qemu, *LINUX, guest="linux") as vm:
        await vm.wait_lease()
        await add_disk(vm)
        async with dumping(vm, "--netdev", "u1", "-w", str(path)) as process:
            assert await vm.hmp_raw("savevm then") == ""
            for name in ("before", "after"):
                began = time.time_ns()
                await vm.shell(f"nslookup {name}.invalid >/dev/null 2>&1; true")
                moments[name] = began, time.time_ns()
                if name == "before":
                    await asyncio.sleep(1.2)  # The snapshot is to be clearly older than the VM's clock.
                    assert await vm.hmp_raw("loadvm then") == ""
            said = await end(process)
        assert "0 dropped" in said
        assert await ours(vm) == []
    for name, (began, ended) in moments.items():
        times = asked_at(path, name.encode())
        assert times
        assert all(began - 5_000_000 <= time <= ended + 5_000_000 for time in times), (
            name,
            times,
            began,
            ended,
        )
