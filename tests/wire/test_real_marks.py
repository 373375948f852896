"""What was sent is marked in every capture, and seen by filters that came before and after."""

import signal
from pathlib import Path

from qmon.capture.following import FollowedVm
from qmon.monitor.address import UnixAddress
from qmon.packets.files.source import CaptureFile
from qmon.wire.injection import Toward
from qmon.wire.wire import Wire, polled
from tests.capture.test_real import dumping, until
from tests.cli.program import qmon
from tests.lab import start_vm
from tests.lab.qemus import Qemu
from tests.wire.places import frames_of, left, user

FRAME = bytes.fromhex("02716d000002 02716d000001 88b5") + bytes(46)


def comments(path: Path) -> list[tuple[bytes, str]]:
    """Each comment of a capture with its frame."""
    found = []
    with CaptureFile(path) as file:
        while (batch := file.read_batch()) is not None:
            found += [(bytes(batch.frame(row)), text) for row, text in batch.comments]
    return found


async def test_another_qmons_capture_marks_what_was_sent(qemu: Qemu, tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    async with start_vm(qemu, *user(), guest="linux") as vm:
        await vm.wait_lease()
        async with dumping(vm, "--netdev", "u1", "-w", str(path)) as process:
            found = await qmon("ping", "-c", "3", "-i", "0.1", vm=vm.qmp[0])
            assert found.code == 0, found.err
            asked = await qmon("ask", "dhcp", vm=vm.qmp[0])
            assert asked.code == 0, asked.err
            process.send_signal(signal.SIGINT)
            await process.communicate()
        marked = [frame for frame, text in comments(path) if text == "sent by qmon"]
        with CaptureFile(path) as file:
            everything = []
            while (batch := file.read_batch()) is not None:
                everything += [bytes(batch.frame(i)) for i in range(len(batch))]
        ours = [f for f in everything if f[6:9] == bytes.fromhex("02716d")]
        assert len(ours) >= 4
        assert [f for f in marked if f[6:9] == bytes.fromhex("02716d")] == ours
        # The question for DHCP has the NIC's own MAC.
        assert len(marked) == len(ours) + 1
        assert marked[-1][6:12] == bytes.fromhex("525400123456")


async def test_a_dump_that_comes_later_sees_what_is_sent(qemu: Qemu) -> None:
    async with start_vm(qemu, *user()) as vm:
        path = vm.directory / "later.pcap"
        async with (
            FollowedVm(UnixAddress(vm.qmp[0])) as followed,
            Wire(followed, "u1") as wire,
            polled(followed),
        ):
            await wire.open(Toward.NETWORK, Toward.GUEST)
            later = {"qom-type": "filter-dump", "netdev": "u1", "file": str(path)}
            await vm.qmp_raw("object-add", {"id": "later", **later})
            await vm.qmp_raw("object-add", {**later, "id": "first", "position": "head", "file": f"{path}2"})
            await until(lambda: len(followed.known.network.netdev("u1").filters) == 6)
            await wire.send(Toward.NETWORK, FRAME)
            await wire.send(Toward.GUEST, FRAME[:14] + b"\1" * 46)
        await vm.qmp_raw("object-del", {"id": "later"})
        await vm.qmp_raw("object-del", {"id": "first"})
        for one in (path, Path(f"{path}2")):
            seen = frames_of(one)
            assert FRAME in seen
            assert FRAME[:14] + b"\1" * 46 in seen
        assert await left(vm) == []
