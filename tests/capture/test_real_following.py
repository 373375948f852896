"""A followed VM keeps its captures through losses of its monitor, and notices what others do to them."""

import asyncio
import socket
import subprocess
from pathlib import Path

from qmon.capture.following import FollowedVm, MonitorState
from qmon.capture.tapping import Netdevs
from qmon.monitor.address import TcpAddress, UnixAddress
from qmon.packets.batch import Note
from qmon.watch import Watch
from tests.capture.test_real import QMON, ours, until
from tests.lab import start_vm
from tests.lab.qemus import Qemu
from tests.lab.vm import LabVm

LOSSES = 3


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def destroy_connections(port: int) -> None:
    """Have the kernel end every connection to a TCP monitor, as a router between would."""
    subprocess.run(["ss", "-K", f"sport = :{port}"], check=True, capture_output=True)


async def test_the_dashboards_capture_survives_its_monitor_three_times(qemu: Qemu) -> None:
    port = free_port()
    words = ("-qmp", f"tcp:127.0.0.1:{port},server=on,wait=off")
    async with start_vm(qemu, *words, guest="ipxe") as vm:
        async with Watch(TcpAddress("127.0.0.1", port)) as watch:
            await watch.first_taps()
            assert len(await ours(vm)) == 2
            for number in range(1, LOSSES + 1):
                before = watch.snapshot().packets
                destroy_connections(port)

                def back(number: int = number) -> bool:
                    watch.poll()
                    said = [one.text for one in watch.snapshot().timeline]
                    return said.count("the monitor is back") == number

                await until(back)
                assert len(await ours(vm)) == 2
                await until(lambda before=before: watch.poll() >= 0 and watch.snapshot().packets > before)
            snapshot = watch.snapshot()
            assert snapshot.monitor is MonitorState.CONNECTED
            assert [(tap.netdev, tap.gaps) for tap in snapshot.taps] == [("u1", 0)]
            assert snapshot.dropped == 0
        assert await ours(vm) == []


async def test_dump_loses_no_packet_with_its_monitor(qemu: Qemu, tmp_path: Path) -> None:
    """Compared with a capture that another client had QEMU make."""
    port, path = free_port(), tmp_path / "a.pcapng"
    words = ("-qmp", f"tcp:127.0.0.1:{port},server=on,wait=off")
    async with start_vm(qemu, *words, guest="ipxe") as vm:
        dump = await asyncio.create_subprocess_exec(
            *(*QMON, "--vm", f"127.0.0.1:{port}", "dump", "--netdev", "u1", "-w", str(path)),
            stderr=subprocess.PIPE,
        )
        assert dump.stderr is not None
        said = await dump.stderr.readline()
        assert b"capturing u1" in said
        independent = vm.directory / "all.pcap"
        await vm.qmp_raw(
            "object-add", {"qom-type": "filter-dump", "id": "all", "netdev": "u1", "file": str(independent)}
        )
        for _ in range(LOSSES):
            size = independent.stat().st_size
            destroy_connections(port)
            while b"the monitor is back" not in await dump.stderr.readline():
                assert dump.returncode is None
            await until(lambda size=size: independent.stat().st_size > size + 2000)
        await vm.qmp_raw("object-del", {"id": "all"})
        dump.terminate()
        await dump.communicate()
        assert dump.returncode == 0
        assert await ours(vm) == []
        mine, theirs = await frames(path), await frames(independent)
    assert len(theirs) > 20
    start = mine.index(theirs[0])
    assert mine[start : start + len(theirs)] == theirs


async def frames(path: Path) -> list[str]:
    shown = await asyncio.create_subprocess_exec(
        *("tcpdump", "-nn", "-t", "-x", "-r", str(path)), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    out, _ = await shown.communicate()
    found: list[list[str]] = []
    for line in out.decode().splitlines():
        if line.startswith("\t"):
            found[-1].append(line.split(":", 1)[1].strip())
        else:
            found.append([])
    return ["".join(one) for one in found]


async def removed_by_another(vm: LabVm) -> None:
    for name in await ours(vm):
        await vm.qmp_raw("object-del", {"id": name})


async def test_filters_that_another_client_removes_are_missed_and_made_again(qemu: Qemu) -> None:
    notes: list[Note] = []
    async with start_vm(qemu, guest="ipxe") as vm:
        async with FollowedVm(UnixAddress(vm.qmp[0])) as followed:
            followed.begin(Netdevs())
            await followed.tapped_once()
            first = set(await ours(vm))
            # They are known to be there once they were seen.
            await until(lambda: all(tap.way.seen for tap in followed._capture._taps.values()))  # type: ignore[union-attr]
            await removed_by_another(vm)

            def told() -> bool:
                notes.extend(followed.poll().notes)
                return any(note.kind == "gap" and "removed by another client" in note.text for note in notes)

            await until(told)
            second = set(await ours(vm))
            assert len(second) == 2
            assert not first & second
            assert followed.taps[0].gaps == 1
            came = [0]

            def comes() -> bool:
                came[0] += sum(len(batch) for batch in followed.poll().batches)
                return came[0] > 3

            await until(comes)
        assert await ours(vm) == []


async def test_a_netdev_replaced_under_its_id_is_captured_again(qemu_one: Qemu) -> None:
    async with (
        start_vm(qemu_one, "-netdev", "user,id=u1") as vm,
        FollowedVm(UnixAddress(vm.qmp[0])) as followed,
    ):
        followed.begin(Netdevs(frozenset({"u1"})))
        await followed.tapped_once()
        await until(lambda: all(tap.way.seen for tap in followed._capture._taps.values()))  # type: ignore[union-attr]
        first = set(await ours(vm))
        await vm.qmp_raw("netdev_del", {"id": "u1"})
        await vm.qmp_raw("netdev_add", {"type": "user", "id": "u1"})
        second: set[str] = set()
        async with asyncio.timeout(30):
            while len(second - first) < 2:
                second = set(await ours(vm))
        assert not first & second


async def test_time_line_and_file_tell_the_same(qemu_one: Qemu) -> None:
    """Another qmon and another client change things; the dashboard and a recording hear of each once."""
    nic = ("-netdev", "user,id=u1", "-device", "virtio-net-pci,id=nic1,netdev=u1")
    heard: list[Note] = []
    async with start_vm(qemu_one, *nic) as vm:
        address = UnixAddress(vm.qmp[0])
        async with Watch(address) as watch, FollowedVm(address) as followed:
            followed.begin(Netdevs())
            await watch.first_taps()
            await followed.tapped_once()
            # Both have looked once: what comes now is new to them.
            await until(
                lambda: bool(watch.snapshot().usernet) and followed.known.network.netdev("u1") is not None
            )
            process = await asyncio.create_subprocess_exec(
                *(*QMON, "--vm", vm.qmp[0], "nic", "down", "nic1"), stdout=subprocess.DEVNULL
            )
            assert await process.wait() == 0
            await vm.qmp_raw("netdev_add", {"type": "user", "id": "u2"})
            wanted = {"the link of nic1 was set down by qmon", "netdev u2 (user) appeared"}

            def both() -> bool:
                watch.poll()
                heard.extend(followed.poll().notes)
                mine = {one.text for one in watch.snapshot().timeline}
                return wanted <= mine and wanted <= {note.text for note in heard}

            await until(both)
            shown = [one.text for one in watch.snapshot().timeline]
            assert [shown.count(text) for text in wanted] == [1, 1]
            told = [note.text for note in heard]
            assert [told.count(text) for text in wanted] == [1, 1]
