"""Who is at a socket, as the kernel tells."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from qmon.monitor import processes
from qmon.monitor.address import TcpAddress, UnixAddress
from qmon.monitor.processes import Clients


@pytest.fixture
def directory(runtime_directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(runtime_directory)
    return runtime_directory


@pytest.mark.parametrize("name", ["a.sock", "@qmon-test-abstract"])
def test_a_unix_socket_bound_by_any_name(directory: Path, name: str) -> None:
    address = UnixAddress(name if name.startswith("@") else str(directory / name))
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.bind("\0" + name[1:] if name.startswith("@") else name)
        assert processes.clients_of(address) is None
        listener.listen(1)
        idle = processes.clients_of(address)
        assert idle is not None
        assert (idle.connected, idle.pending, idle.inodes) == (0, 0, ())
        client.connect(listener.getsockname())
        inode = os.fstat(client.fileno()).st_ino
        assert processes.clients_of(address) == Clients(0, 1, (inode,), idle.listener)
        served, _ = listener.accept()
        with served:
            assert processes.clients_of(address) == Clients(1, 0, (inode,), idle.listener)
            client.close()
            assert processes.clients_of(address) == Clients(1, 0, (0,), idle.listener)


def test_a_relay_behind_a_link_is_the_same_socket(directory: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("a.sock")
        listener.listen(1)
        (directory / "link.sock").symlink_to("a.sock")
        assert processes.clients_of(UnixAddress(str(directory / "link.sock"))) is not None
        assert processes.clients_of(UnixAddress(str(directory / "other.sock"))) is None


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::1", "::"])
def test_a_tcp_port(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    reached = {"0.0.0.0": "localhost", "::": "127.0.0.1"}.get(host, host)
    with socket.create_server((host, 0), family=family, dualstack_ipv6=host == "::") as listener:
        port = listener.getsockname()[1]
        address = TcpAddress(reached, port)
        idle = processes.clients_of(address)
        assert idle is not None
        assert (idle.connected, idle.pending) == (0, 0)
        with socket.create_connection((reached, port)) as client:
            pending = processes.clients_of(address)
            assert pending is not None
            assert (pending.connected, pending.pending) == (0, 1)
            served, _ = listener.accept()
            with served:
                found = processes.clients_of(address)
                assert found is not None
                assert (found.connected, found.inodes) == (1, (os.fstat(client.fileno()).st_ino,))
    assert processes.clients_of(TcpAddress("192.0.2.1", port)) is None


def test_the_owner_of_a_socket_is_found() -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        found = processes.owner((0, os.fstat(sock.fileno()).st_ino))
    assert found is not None
    assert found.pid == os.getpid()
    assert not found.stopped
    assert processes.owner((0,)) is None
    assert processes.owner((2**32 - 1,)) is None


def test_a_process_is_described_in_plain_text() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()", "\x1b[31m\n"], stdin=subprocess.PIPE) as child:
        found = processes.process(child.pid)
        assert found is not None
        assert "\x1b" not in str(found)
        assert str(found).startswith(f"pid {child.pid} (")
        child.communicate(b"\n")
    assert processes.process(child.pid) is None


def test_a_process_is_told_by_when_it_began(tmp_path: Path) -> None:
    strange = tmp_path / ") R 1 (2"
    strange.symlink_to("/bin/sleep")
    child = subprocess.Popen([strange, "60"])
    try:
        began = processes.start_ticks(child.pid)
        assert began is not None
        assert began >= (processes.start_ticks(os.getpid()) or 0) > 0
    finally:
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert processes.start_ticks(child.pid) is None  # Dead, though it is still there.
        child.wait()
    assert processes.start_ticks(child.pid) is None
