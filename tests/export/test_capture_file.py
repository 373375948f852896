import asyncio
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from qmon.errors import QmonError, UsageError
from qmon.export.byte_sink import ByteSink, ReaderLeft
from qmon.export.capture_file import FileOptions, open_file
from qmon.packets.batch import Direction, FrameBatch, Interface, Note, Statistics
from qmon.packets.files.source import CaptureFile

INTERFACES = [Interface("u1", description="one"), Interface("u2")]


def frames(count: int, *, interface: int = 0, size: int = 100) -> FrameBatch:
    return FrameBatch.from_frames(
        [bytes(size)] * count,
        time_ns=[10**18 + number for number in range(count)],
        interface=interface,
        direction=Direction.OUT,
    )


def read(path: Path) -> tuple[CaptureFile, list[int]]:
    with CaptureFile(path) as file:
        interfaces: list[int] = []
        while (batch := file.read_batch()) is not None:
            interfaces += batch.interface.tolist()
        assert not file.damage
        return file, interfaces


async def test_interfaces_are_described_when_their_frames_come(tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    file = await open_file(str(path), options=FileOptions(("about",), {"10.0.2.2": "gateway"}))
    file.packets(frames(2, interface=1), INTERFACES)
    file.note(Note(10**18, "STOP", "event"), INTERFACES)
    file.packets(frames(1, interface=0), INTERFACES)
    await file.close(INTERFACES, [Statistics(0, 10**18, 5, 4)])
    got, _ = read(path)
    assert [one.name for one in got.interfaces if one.name != "qmon"] == ["u2", "u1"]
    assert file.written == 3
    assert [(one.received, one.dropped) for one in got.statistics] == [(5, 4)]


@pytest.mark.parametrize("suffix", ["pcap", "pcapng"])
async def test_what_was_written_is_in_the_file_at_once(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    file = await open_file(str(path))
    file.packets(frames(7), INTERFACES[:1])
    assert len(read(path)[1]) == 7
    await file.close(INTERFACES[:1], ())


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """A disk that is full after `size` bytes, as far as one file can tell."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("suffix", ["pcap", "pcapng"])
async def test_a_full_disk_leaves_a_valid_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    file = await open_file(str(path))
    with files_of_at_most(10_000), pytest.raises(QmonError, match="cannot write"):
        file.packets(frames(1000), INTERFACES[:1])
    file.sink.close()
    _, got = read(path)
    assert 50 < len(got) == file.written < 100
    assert 9_800 < path.stat().st_size <= 10_000


async def test_a_reader_that_takes_nothing_does_not_block() -> None:
    ours, its = os.pipe()
    sink = ByteSink.on_descriptor(its, "pipe", lambda data, size: size)
    sink.write(bytes(10 << 20))
    assert sink.waiting_bytes > 9 << 20
    assert not os.get_blocking(its) or True
    assert os.get_blocking(its)
    assert not await sink.empty(0.01)
    os.close(ours)
    with pytest.raises(ReaderLeft):
        sink.push()
    sink.close()
    os.close(its)


async def test_a_fifo_waits_for_its_reader(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    async with asyncio.TaskGroup() as tasks:
        opening = tasks.create_task(open_file(str(path)))
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        file = await opening
    file.packets(frames(1), INTERFACES[:1])
    assert os.read(reader, 4) == b"\x0a\x0d\x0d\x0a"
    os.close(reader)
    with pytest.raises(ReaderLeft):
        file.packets(frames(1), INTERFACES[:1])
    file.sink.close()


async def test_a_terminal_and_a_missing_folder_are_refused(tmp_path: Path) -> None:
    leader, terminal = os.openpty()
    with pytest.raises(UsageError, match="terminal"):
        await open_file(os.ttyname(terminal))
    os.close(leader)
    os.close(terminal)
    with pytest.raises(UsageError, match="No such file"):
        await open_file(str(tmp_path / "no" / "file.pcap"))


async def test_pcap_has_one_interface(tmp_path: Path) -> None:
    file = await open_file(str(tmp_path / "a.pcap"))
    both = FrameBatch.concatenate([frames(1), frames(1, interface=1)])
    with pytest.raises(UsageError, match="one netdev"):
        file.packets(both, INTERFACES)
    assert np.array_equal(both.interface, [0, 1])
    await file.close(INTERFACES, ())
