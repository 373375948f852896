"""Going on in new files while packets come: QEMU may write only files of a certain length here."""

import asyncio
import resource
from pathlib import Path

import numpy as np

from qmon.packets.files.source import CaptureFile
from tests.capture.test_real import LINUX, dumping, memfds, ours
from tests.capture.test_real_many import end, independent
from tests.lab import start_vm
from tests.lab.qemus import Qemu

KEPT = 96
SENT = 8_000_000


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.0 200 OK\r\n\r\n")
    for _ in range(SENT // 20_000):
        writer.write(bytes(20_000))
        await writer.drain()
        await asyncio.sleep(0.005)
    writer.close()


def frames(path: Path) -> list[tuple[int, bytes]]:
    found = []
    with CaptureFile(path) as file:
        while (batch := file.read_batch()) is not None:
            found += [(int(batch.length[i]), bytes(batch.frame(i))[:KEPT]) for i in range(len(batch))]
    return found


async def test_a_change_of_files_loses_nothing_and_doubles_nothing(qemu: Qemu, tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with start_vm(qemu, *LINUX, guest="linux") as vm, server:
        await vm.wait_lease()
        # Beyond it the kernel would kill QEMU.
        resource.prlimit(vm.pid, resource.RLIMIT_FSIZE, (4_000_000, 4_000_000))
        async with dumping(vm, "--netdev", "u1", "--no-events", "-w", str(path)) as process:
            await vm.qmp_raw("object-add", {**independent(vm), "maxlen": KEPT})
            await vm.shell(f"wget -q -O /dev/null http://10.0.2.2:{port}/", timeout_s=60)
            await vm.qmp_raw("object-del", {"id": "ind-u1"})
            said = await end(process)
        assert "0 dropped" in said
        assert "gap" not in said
        assert await ours(vm) == []
        assert memfds(vm) == []
        theirs, mine = frames(vm.directory / "ind.pcap"), frames(path)
    assert sum(length for length, _ in theirs) > SENT
    start = next(i for i in range(len(mine)) if mine[i : i + 3] == theirs[:3])
    assert mine[start : start + len(theirs)] == theirs
    with CaptureFile(path) as file:
        stamps: list[int] = []
        while (batch := file.read_batch()) is not None:
            stamps += batch.time_ns.tolist()
    assert np.all(np.diff(stamps) >= 0)
