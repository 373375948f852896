"""Bytes on their way out: what was in a file before stays, and no reader is waited for."""

import fcntl
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from qmon.export.byte_sink import ByteSink, ReaderLeft


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
