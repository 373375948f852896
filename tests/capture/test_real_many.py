"""qmon dump as its users run it: several VMs and netdevs, a stopped reader, a pipe, a lost monitor."""

import asyncio
import json
import os
import signal
import subprocess
from collections import Counter
from itertools import pairwise
from pathlib import Path

from qmon.capture.following import FollowedVm
from qmon.export.capture_file import open_file
from qmon.export.record import Source, record
from qmon.monitor.address import UnixAddress
from qmon.packets.batch import Note
from qmon.packets.files.source import CaptureFile
from tests.capture.test_real import LINUX, QMON, dumping, ours, until
from tests.lab import start_vm
from tests.lab.qemus import Qemu
from tests.lab.vm import LabVm


async def tshark(path: Path, *words: str) -> list[str]:
    process = await asyncio.create_subprocess_exec(
        "tshark", "-r", str(path), *words, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, errors = await process.communicate()
    assert process.returncode == 0, errors
    return out.decode().splitlines()


async def end(process: asyncio.subprocess.Process, number: signal.Signals = signal.SIGINT) -> str:
    process.send_signal(number)
    async with asyncio.timeout(10):
        _, said = await process.communicate()
    assert process.returncode == 0, said
    return said.decode()


def independent(vm: LabVm, netdev: str = "u1") -> dict[str, object]:
    return {
        "qom-type": "filter-dump",
        "id": f"ind-{netdev}",
        "netdev": netdev,
        "file": f"{vm.directory}/ind.pcap",
    }


def frames(path: Path, interface: str | None = None) -> Counter[bytes]:
    found: Counter[bytes] = Counter()
    with CaptureFile(path) as file:
        while (batch := file.read_batch()) is not None:
            for i in range(len(batch)):
                if interface in (None, file.interfaces[int(batch.interface[i])].name):
                    found[bytes(batch.frame(i))] += 1
    return found


async def test_nothing_is_lost_while_qmon_is_stopped(qemu: Qemu, tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    async with start_vm(qemu, *LINUX, guest="linux") as vm:
        await vm.wait_lease()
        async with dumping(vm, "--netdev", "u1", "-w", str(path)) as process:
            await vm.qmp_raw("object-add", independent(vm))
            process.send_signal(signal.SIGSTOP)
            await vm.shell("for i in 1 2 3 4 5 6 7 8 9; do nslookup $i.invalid; done >/dev/null 2>&1; true")
            assert (await vm.qmp_raw("query-status"))["running"]
            process.send_signal(signal.SIGCONT)
            await vm.qmp_raw("object-del", {"id": "ind-u1"})
            said = await end(process)
        assert "0 dropped" in said
        assert "gap" not in said
        theirs, mine = frames(vm.directory / "ind.pcap"), frames(path)
        assert theirs.total() >= 18
        assert not theirs - mine


async def test_two_vms_and_a_nic_that_comes_later_in_one_file(qemu: Qemu, tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    async with (
        start_vm(qemu, guest="ipxe", name="one") as one,
        start_vm(qemu, *LINUX, guest="linux", name="two") as two,
    ):
        process = await asyncio.create_subprocess_exec(
            *(*QMON, "--vm", one.qmp[0], "--vm", two.qmp[0], "dump", "--all", "-w", str(path)),
            stderr=subprocess.PIPE,
        )
        try:
            await until(lambda: path.exists() and path.stat().st_size > 3000)
            await two.wait_lease()
            await two.qmp_raw("netdev_add", {"type": "user", "id": "u2"})
            await two.qmp_raw("device_add", {"driver": "e1000", "netdev": "u2", "id": "nic2"})
            await two.wait_lease("eth1")
            await two.shell("wget -q -O /dev/null http://10.0.2.2:1/; true")
            await two.qmp_raw("stop")
            await two.qmp_raw("cont")
            said = await end(process)
        finally:
            if process.returncode is None:
                process.kill()
                await process.communicate()
        assert "0 dropped" in said
        assert await ours(one) == await ours(two) == []
    with CaptureFile(path) as file:
        while file.read_batch() is not None:
            pass
        assert {one.name for one in file.interfaces} == {"one/u1", "two/u1", "two/u2"}
        assert not file.damage
    rows = await tshark(
        path, "-T", "fields", "-e", "frame.time_epoch", "-e", "frame.interface_name", "-e", "_ws.col.Info"
    )
    by_interface = Counter(row.split("\t")[1] for row in rows)
    assert all(by_interface[name] > 1 for name in ("one/u1", "two/u1", "two/u2")), by_interface
    times = [float(row.split("\t")[0]) for row in rows]
    assert sum(later < earlier for earlier, later in pairwise(times)) == 0
    notes = " ".join(row for row in rows if row.split("\t")[1] == "")
    assert "STOP" in notes
    assert "RESUME" in notes
    assert "u2 joined the capture" in notes


async def test_a_pipe_gets_the_first_packet_within_a_second(qemu: Qemu) -> None:
    async with start_vm(qemu, guest="ipxe") as vm:
        reader, writer = os.pipe()
        dump = await asyncio.create_subprocess_exec(
            *(*QMON, "--vm", vm.qmp[0], "dump", "--netdev", "u1", "-w", "-"),
            stdout=writer,
            stderr=subprocess.PIPE,
        )
        os.close(writer)
        shark = await asyncio.create_subprocess_exec(
            *(
                "tshark",
                "-l",
                "-r",
                "-",
                "-c",
                "3",
                "-T",
                "fields",
                "-e",
                "frame.time_epoch",
                "-e",
                "frame.time_epoch",
            ),
            stdin=reader,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        os.close(reader)
        assert shark.stdout is not None
        async with asyncio.timeout(60):
            await shark.stdout.readline()
            await shark.communicate()
            # Nobody reads any more: a normal end.
            _, said = await dump.communicate()
        assert dump.returncode == 0, said
        assert await ours(vm) == []


async def test_the_capture_outlives_its_monitor(qemu: Qemu, tmp_path: Path) -> None:
    """The connection breaks while the VM lives: frames go on, and the monitor is found again to remove the taps."""
    path = tmp_path / "a.pcapng"
    heard: list[Note] = []
    async with start_vm(qemu, guest="ipxe") as vm, asyncio.TaskGroup() as tasks:
        async with FollowedVm(UnixAddress(vm.qmp[0])) as followed:
            await followed.tap("u1")
            output = await open_file(str(path))
            recording = tasks.create_task(record([Source(followed)], output, on_note=heard.append))
            await until(lambda: path.stat().st_size > 1000)
            assert followed.session is not None
            assert followed.session._joined is not None
            followed.session._joined.connection._client.abort()
            await until(lambda: any(note.text == "the monitor is back" for note in heard))
            size = path.stat().st_size
            await until(lambda: path.stat().st_size > size + 5000)
            recording.cancel()
            totals = await recording
        assert totals.error is None
        assert totals.written == totals.captured > 10
        assert await ours(vm) == []
    assert any("the capture goes on" in note.text for note in heard)


async def test_records_of_packets_as_json(qemu_one: Qemu) -> None:
    async with start_vm(qemu_one, guest="ipxe") as vm:
        process = await asyncio.create_subprocess_exec(
            *(*QMON, "--vm", vm.qmp[0], "dump", "--netdev", "u1", "-c", "2", "-o", "jsonl", "udp"),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        async with asyncio.timeout(60):
            out, _ = await process.communicate()
        records = [json.loads(line) for line in out.splitlines()]
        assert [record["netdev"] for record in records] == ["u1", "u1"]
        assert {record["direction"] for record in records} == {"in", "out"}
