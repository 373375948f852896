"""A plain file as QEMU's sink, where it is asked for."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from qmon.capture.reading.follower import FileFollower
from qmon.capture.taps import sink
from qmon.capture.vm import CaptureOptions, VmCapture
from qmon.errors import Refused
from tests.capture.test_real import LINUX, collect, descriptor_0, dumping, ours, session, until
from tests.capture.test_real_many import end, frames, independent
from tests.lab import start_vm
from tests.lab.qemus import Qemu


async def test_a_plain_file_holds_what_qemu_saw_and_is_deleted(qemu: Qemu, tmp_path: Path) -> None:
    path, folder = tmp_path / "a.pcapng", tmp_path / "sink"
    folder.mkdir()
    async with start_vm(qemu, *LINUX, guest="linux") as vm:
        await vm.wait_lease()
        before = descriptor_0(vm)
        words = ("--netdev", "u1", "--sink-dir", str(folder), "-w", str(path))
        async with dumping(vm, *words) as process:
            assert len(list(folder.iterdir())) == 2
            await vm.qmp_raw("object-add", independent(vm))
            await vm.shell("for i in 1 2 3; do nslookup $i.invalid; done >/dev/null 2>&1; true")
            await vm.qmp_raw("object-del", {"id": "ind-u1"})
            said = await end(process)
        assert "0 dropped" in said
        theirs = frames(vm.directory / "ind.pcap")
        assert theirs.total() >= 6
        assert not theirs - frames(path)
        assert list(folder.iterdir()) == []
        assert await ours(vm) == []
        assert await vm.qmp_raw("query-fdsets") == []
        async with dumping(vm, *words) as process:
            process.send_signal(signal.SIGKILL)
            await process.wait()
            # Not deleted, for QEMU writes on; but what was there is given back, the header first.
            await until(lambda: not any(any(file.read_bytes()[:24]) for file in folder.iterdir()), 5)
            assert len(list(folder.iterdir())) == 2
        assert len(await ours(vm)) == 2
        async with session(vm) as monitor, VmCapture(monitor) as capture:
            await capture.tap("u1")
            assert len(capture.swept.removed) == 2
        assert await ours(vm) == []
        assert descriptor_0(vm) == before


async def test_a_plain_file_that_grows_too_big_is_given_up(qemu_one: Qemu, tmp_path: Path) -> None:
    async with start_vm(qemu_one, guest="ipxe") as vm, session(vm) as monitor:
        async with VmCapture(
            monitor, options=CaptureOptions(limit_bytes=100_000, sink_folder=tmp_path)
        ) as capture:
            await capture.tap("u1")
            (tap,) = capture._taps.values()
            follower = tap.way.channels[1].follower
            await until(lambda: follower.sealed, 60)
            notes = await collect(capture, lambda _, notes: any(note.kind == "gap" for note in notes))
            assert "missing from" in next(note.text for note in notes if note.kind == "gap")
        assert await ours(vm) == []
    assert list(tmp_path.iterdir()) == []


def test_a_folder_where_files_cannot_be_made_or_may_be_replaced_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="cannot make a file"):
        sink.plain_file(tmp_path / "none", "x", None, 1)
    tmp_path.chmod(0o777)
    with pytest.raises(Refused, match="anybody may replace them"):
        sink.plain_file(tmp_path, "x", None, 1)


async def test_a_file_that_qemu_does_not_write_to_is_told(tmp_path: Path) -> None:
    follower = sink.plain_file(tmp_path, "x", os.getpid(), 1)
    assert isinstance(follower, FileFollower)
    with pytest.raises(Refused, match="not seen here"):
        await sink.wait_for_header(follower)
    waiting = asyncio.create_task(sink.wait_for_header(follower))
    follower.path.write_bytes(b"x")
    await waiting
    follower.close()
    assert list(tmp_path.iterdir()) == []
