"""Bytes on their way out: what was in a file before stays, and no reader is waited for."""

import asyncio
import fcntl
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from qmon.export.byte_sink import ByteSink, ReaderLeft
from qmon.export.capture_file import open_file
from qmon.export.lines import LineOutput
from qmon.packets.batch import FrameBatch, Interface
from qmon.packets.line_batches import text_form
from qmon.packets.line_text import Style


def by_tens(_: bytes, size: int) -> int:
    return size // 10 * 10


_FULL_DISK = """
import os, resource, signal, sys
from qmon.errors import QmonError
from qmon.export.byte_sink import ByteSink
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (3055, 3055))
sink = ByteSink.on_descriptor(1, "standard output", lambda data, size: size // 10 * 10)
sink.write(b"y" * 20)
try:
    sink.write(b"z" * 1000)
except QmonError as problem:
    print(problem.message, file=sys.stderr)
"""


@pytest.mark.parametrize("mode", [os.O_APPEND, 0], ids=["appending", "in place"])
def test_what_was_there_before_stays_when_the_disk_is_full(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "old"
    path.write_bytes(b"x" * 3000)
    fd = os.open(path, os.O_WRONLY | mode)
    if not mode:
        os.lseek(fd, 0, os.SEEK_END)
    done = subprocess.run([sys.executable, "-c", _FULL_DISK], stdout=fd, stderr=subprocess.PIPE, timeout=30)
    os.close(fd)
    assert b"cannot write standard output" in done.stderr
    assert path.read_bytes() == b"x" * 3000 + b"y" * 20 + b"z" * 30


def test_a_socket_that_nobody_reads_is_not_waited_for() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        sink = ByteSink.on_descriptor(ours.fileno(), "standard output", by_tens)
        sink.write(bytes(1 << 22))
        assert sink.waiting_bytes > 0
        # The mode of the socket is its owner's affair.
        assert not fcntl.fcntl(ours.fileno(), fcntl.F_GETFL) & os.O_NONBLOCK
        theirs.close()
        with pytest.raises(ReaderLeft):
            sink.push()
        sink.close()


async def test_what_a_slow_reader_has_not_taken_does_not_count_as_written() -> None:
    ours, its = os.pipe()
    lines = LineOutput(its, "utf-8", text_form(Style()))
    file = await open_file("-", stdout=its, form="pcap")
    for output in (lines, file):
        output.packets(FrameBatch.from_frames([bytes(1000)] * 5000), [Interface("ü1")])
        assert output.written == 5000
        await output.close([Interface("ü1")], (), 0.01)
        assert output.written < 5000
    os.close(its)
    with open(ours, "rb") as rest:
        assert rest.read().count(b"\n") == lines.written


async def test_a_slow_reader_is_waited_for() -> None:
    ours, its = os.pipe()
    file = await open_file("-", stdout=its, form="pcap")
    file.packets(FrameBatch.from_frames([bytes(1000)] * 500), [Interface()])
    async with asyncio.TaskGroup() as tasks:
        closing = tasks.create_task(file.close([Interface()], ()))
        size, taken = 24 + 500 * 1016, 0
        while taken < size:
            # The last bytes are taken once they are in the pipe.
            assert taken >= size - (1 << 16) or not closing.done()
            taken += len(await asyncio.to_thread(os.read, ours, 1000))
    assert file.written == 500
    os.close(ours)
    os.close(its)


@pytest.mark.parametrize(("sudo", "mode"), [(None, 0o600), ("1000", 0o640)])
async def test_roots_own_captures_are_for_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sudo: str | None, mode: int
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.delenv("SUDO_UID", raising=False)
    if sudo is not None:
        monkeypatch.setenv("SUDO_UID", sudo)
    before = os.umask(0o027)
    try:
        file = await open_file(str(tmp_path / "a.pcapng"))
    finally:
        os.umask(before)
    await file.close((), ())
    assert (tmp_path / "a.pcapng").stat().st_mode & 0o777 == mode
