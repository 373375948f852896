"""What happens to the network while it is captured stands in the file, whoever did it, on real QEMUs."""

import asyncio
import subprocess
import time
from itertools import pairwise
from pathlib import Path

from qmon.network.change import set_link
from tests.capture.test_real import QMON, session, until
from tests.capture.test_real_many import end, tshark
from tests.lab import start_vm
from tests.lab.qemus import Qemu
from tests.lab.vm import LabVm

NIC = ("-netdev", "user,id=u1", "-device", "virtio-net-pci,id=nic1,netdev=u1")


async def qmon(vm: LabVm, *words: str) -> tuple[float, float]:
    """Run a command to its end; between which times it ran."""
    began = time.time()
    process = await asyncio.create_subprocess_exec(
        *(*QMON, "--vm", vm.qmp[0], *words), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    assert await process.wait() == 0
    return began, time.time()


async def notes(path: Path) -> list[tuple[float, str]]:
    rows = await tshark(
        path,
        "-Y",
        "systemd_journal",
        "-T",
        "fields",
        "-e",
        "frame.time_epoch",
        "-e",
        "systemd_journal.message",
    )
    return [(float(when), text.strip()) for when, text in (row.split("\t") for row in rows)]


async def test_every_change_stands_at_its_time(qemu: Qemu, tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    async with start_vm(qemu, *NIC) as vm:
        dump = await asyncio.create_subprocess_exec(
            *(*QMON, "--vm", vm.qmp[0], "dump", "--all", "-w", str(path)), stderr=subprocess.PIPE
        )
        assert dump.stderr is not None
        async with asyncio.timeout(20):
            await dump.stderr.readline()
        down = await qmon(vm, "nic", "down", "nic1")
        added = await qmon(vm, "forward", "add", "0:22")
        await vm.hmp_raw("hostfwd_add u1 udp:127.0.0.1:0-:53")
        await until(lambda: b"forward udp 127.0.0.1" in path.read_bytes())
        plugged = await qmon(vm, "netdev", "add", "user,id=u2")
        await end(dump)
    found = await notes(path)
    for (began, ended), text in (
        (down, "the link of nic1 was set down by qmon"),
        (added, "to 10.0.2.15:22 on u1 was added by qmon"),
        (plugged, "netdev u2 (user) was added by qmon"),
    ):
        (when,) = [at for at, said in found if text in said]
        assert began <= when <= ended, text
    texts = [text for _, text in found]
    assert any("seen: forward udp 127.0.0.1:" in text and text.endswith("on u1 appeared") for text in texts)
    assert not any("seen: netdev u2" in text or "seen: forward tcp" in text for text in texts)
    assert all(before <= after for (before, _), (after, _) in pairwise(found))


async def test_what_the_holder_of_the_monitor_does_is_told_too(qemu_one: Qemu, tmp_path: Path) -> None:
    """The other way round: the capture has the monitor through the qmon that changes something."""
    path = tmp_path / "a.pcapng"
    async with start_vm(qemu_one, *NIC) as vm:
        async with session(vm) as holder:
            dump = await asyncio.create_subprocess_exec(
                *(*QMON, "--vm", vm.qmp[0], "dump", "--netdev", "u1", "-w", str(path)), stderr=subprocess.PIPE
            )
            assert dump.stderr is not None
            async with asyncio.timeout(20):
                await dump.stderr.readline()
            assert not holder.shared
            # A capture that was just begun may not listen yet: the link is set until it does.
            while b"was set down by qmon" not in path.read_bytes():
                await set_link(holder, "nic1", False)
                await asyncio.sleep(0.05)
        # The holder is gone: the capture holds the monitor, and hears of changes all the same.
        await qmon(vm, "nic", "up", "nic1")
        await end(dump)
    assert any("was set up by qmon" in text for _, text in await notes(path))
