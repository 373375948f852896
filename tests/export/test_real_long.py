"""Long captures by the real command on a real VM: the flight recorder, a ring, a disk that is full."""

import asyncio
import os
import pty
import re
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from qmon.packets.files.source import CaptureFile
from tests.capture.test_real import LINUX, QMON, descriptor_0, dumping, ours
from tests.capture.test_real_change import serve
from tests.capture.test_real_many import end, frames, independent
from tests.lab import start_vm
from tests.lab.qemus import Qemu

# A Linux guest that asks for names, some dozens a second.
ASKING = "for i in $(seq {count}); do nslookup $i.invalid >/dev/null 2>&1; done; true"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system that is full after 32 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32k", "qmon-test", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


async def told(process: asyncio.subprocess.Process, words: str) -> list[str]:
    """Read what is said up to a line that matches; its groups."""
    assert process.stderr is not None
    said = ""
    async with asyncio.timeout(20):
        while line := (await process.stderr.readline()).decode():
            if match := re.search(words, line):
                return list(match.groups())
            said += line
    raise AssertionError(f"{words} was not said, but: {said}")


def packets(path: Path) -> int:
    """Count the frames of a file that must be whole."""
    found = frames(path, "u1").total()
    with CaptureFile(path) as file:
        while file.read_batch() is not None:
            pass
        assert not file.damage
    return found


async def test_the_flight_recorder_writes_at_each_of_its_triggers(qemu_one: Qemu, tmp_path: Path) -> None:
    vm_words = (*LINUX, "-device", "pvpanic", "-action", "panic=none")
    line = r"{}: ([0-9]+) packets written to (.*)"
    ours_end, its_end = pty.openpty()
    async with start_vm(qemu_one, *vm_words, guest="linux") as vm:
        await vm.wait_lease()
        process = await asyncio.create_subprocess_exec(
            *(*QMON, "--vm", vm.qmp[0], "dump", "--netdev", "u1", "--flight-recorder", "1m", "--no-events"),
            *("-w", str(tmp_path / "f.pcapng")),
            stdin=its_end,
            stderr=subprocess.PIPE,
        )
        os.close(its_end)
        try:
            await told(process, "capturing")
            counts = []
            for why in ("SIGUSR1", "Enter", "GUEST_PANICKED", "RESET"):
                await vm.shell(ASKING.format(count=3))
                if why == "SIGUSR1":
                    process.send_signal(signal.SIGUSR1)
                elif why == "Enter":
                    os.write(ours_end, b"\n")
                elif why == "RESET":
                    await vm.qmp_raw("system_reset")
                else:
                    # What the driver of the pvpanic device would write.
                    await vm.shell(r"printf '\001' | dd of=/dev/port bs=1 seek=$((0x505)) 2>/dev/null")
                counts.append(await told(process, line.format(why)))
            said = await end(process)
        finally:
            os.close(ours_end)
            if process.returncode is None:
                process.kill()
                await process.communicate()
        assert "0 dropped" in said
        assert await ours(vm) == []
    numbers = [int(number) for number, _ in counts]
    assert numbers == sorted(set(numbers))
    assert [packets(Path(path)) for _, path in counts] == numbers


RINGS = {
    "b": ("-b", "filesize:1000", "-w", "r.pcapng"),
    "C": ("-C", "1", "-W", "40", "-w", "r%H.pcap"),
    "G": ("-G", "1", "-w", "r-%s.pcapng"),
}


@pytest.mark.parametrize("kind", RINGS)
async def test_the_files_of_a_ring_hold_each_packet_once(qemu_one: Qemu, tmp_path: Path, kind: str) -> None:
    *words, name = RINGS[kind]
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with start_vm(qemu_one, *LINUX, guest="linux") as vm, server:
        await vm.wait_lease()
        async with dumping(vm, "--netdev", "u1", *words, str(tmp_path / name)) as process:
            await vm.qmp_raw("object-add", independent(vm))
            await vm.shell(ASKING.format(count=30))
            await vm.shell(f"wget -q -O /dev/null http://10.0.2.2:{port}/", timeout_s=60)
            await vm.qmp_raw("object-del", {"id": "ind-u1"})
            said = await end(process)
        theirs = frames(vm.directory / "ind.pcap")
    assert "0 dropped" in said
    files = sorted(tmp_path.glob("r*"))
    assert len(files) >= 2
    interface = "u1" if kind != "C" else None
    mine: Counter[bytes] = sum((frames(file, interface) for file in files), Counter())
    assert theirs.total() >= 60
    assert not theirs - mine
    assert (mine - theirs).total() <= 4  # What passed before the other filter was there.
    for file in files:
        packets(file)


async def test_a_full_disk_ends_the_capture_and_leaves_the_vm_alone(qemu_one: Qemu, small_disk: Path) -> None:
    path = small_disk / "a.pcapng"
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://10.0.2.2:{server.sockets[0].getsockname()[1]}/"
    async with start_vm(qemu_one, *LINUX, guest="linux") as vm, server:
        await vm.wait_lease()
        before = descriptor_0(vm)
        for words in ((), ("-b", "filesize:10")):
            async with dumping(vm, "--netdev", "u1", *words, "-w", str(path)) as process:
                asking = asyncio.create_task(vm.shell(f"wget -q -O /dev/null {url}", timeout_s=60))
                async with asyncio.timeout(60):
                    _, errors = await process.communicate()
                await asking
            assert process.returncode == 1
            assert "the disk is full" in errors.decode()
            files = sorted(small_disk.iterdir())
            assert sum(file.stat().st_size for file in files) > 20_000
            assert sum(map(packets, files)) > 10
            for file in files:
                file.unlink()
            assert await ours(vm) == []
            assert await vm.qmp_raw("query-fdsets") == []
            assert descriptor_0(vm) == before
            assert (await vm.qmp_raw("query-status"))["running"]
