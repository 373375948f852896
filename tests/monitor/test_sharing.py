"""The meeting place: whose it is, who holds it, what is refused."""

import errno
import os
import socket
from pathlib import Path

import pytest

from qmon.errors import CannotAttach
from qmon.monitor import sharing
from qmon.monitor.address import TcpAddress, UnixAddress
from qmon.monitor.processes import user_name
from qmon.monitor.session import Session
from qmon.monitor.sharing import Lock, MeetingPlace, NotPrivate
from tests.fakes.monitor import FakeMonitor

ADDRESS = UnixAddress("/tmp/no-such-monitor.sock")


def test_the_directory_is_made_private(runtime_directory: Path) -> None:
    found = sharing.runtime_directory()
    assert found == runtime_directory / "qmon"
    assert found.stat().st_mode & 0o777 == 0o700
    assert sharing.runtime_directory() == found


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o707])
def test_an_open_directory_is_refused(runtime_directory: Path, mode: int) -> None:
    (runtime_directory / "qmon").mkdir()
    (runtime_directory / "qmon").chmod(mode)
    with pytest.raises(NotPrivate, match=rf"qmon is open to other users \(mode {mode:o}\)"):
        sharing.runtime_directory()


def test_a_link_or_a_file_is_refused(runtime_directory: Path) -> None:
    (runtime_directory / "elsewhere").mkdir(0o700)
    (runtime_directory / "qmon").symlink_to("elsewhere")
    with pytest.raises(NotPrivate, match="qmon is a symbolic link, not a directory"):
        sharing.runtime_directory()
    (runtime_directory / "qmon").unlink()
    (runtime_directory / "qmon").touch(0o600)
    with pytest.raises(NotPrivate, match="qmon is a file, not a directory"):
        sharing.runtime_directory()


def test_another_users_directory_is_refused(runtime_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (runtime_directory / "qmon").mkdir(0o700)
    real = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: real + 1)
    monkeypatch.setattr(sharing, "_is_ours", lambda *_: True)
    with pytest.raises(NotPrivate, match=f"a directory of {user_name(real)}") as refused:
        sharing.runtime_directory()
    assert refused.value.hint is not None
    assert "XDG_RUNTIME_DIR" in refused.value.hint


def test_without_a_runtime_directory_of_ours_there_is_tmp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "relative")
    monkeypatch.setattr(sharing, "_is_ours", lambda *_: False)
    made = []
    monkeypatch.setattr(sharing, "_made_private", lambda path, uid: made.append(path) or path)
    assert sharing.runtime_directory() == made[0] == Path(f"/tmp/qmon-{os.geteuid()}")


def test_one_monitor_has_one_place_however_it_is_spelled(runtime_directory: Path) -> None:
    (runtime_directory / "link").symlink_to(runtime_directory)
    plain = sharing.relay_path(UnixAddress(str(runtime_directory / "a.sock")))
    assert sharing.relay_path(UnixAddress(str(runtime_directory / "link/a.sock"))) == plain
    assert sharing.relay_path(UnixAddress(str(runtime_directory / "b.sock"))) != plain
    assert sharing.relay_path(TcpAddress("localhost", 4444)) == sharing.relay_path(
        TcpAddress("127.0.0.1", 4444)
    )
    assert sharing.relay_path(TcpAddress("127.0.0.1", 4445)) != sharing.relay_path(
        TcpAddress("127.0.0.1", 4444)
    )
    assert sharing.relay_path(UnixAddress("@a.sock")) != plain


def test_a_file_has_one_place_whatever_leads_to_it(runtime_directory: Path) -> None:
    """By way of another mount namespace, for one: a path there may name another socket here."""
    path = runtime_directory / "a.sock"
    path.touch()
    here = sharing.relay_path(UnixAddress(str(path)))
    assert sharing.relay_path(UnixAddress(f"/proc/self/root{path}")) == here
    (runtime_directory / "b.sock").touch()
    assert sharing.relay_path(UnixAddress(str(runtime_directory / "b.sock"))) != here


def test_a_lock_is_one_qmons_and_says_whose() -> None:
    place = MeetingPlace.of(ADDRESS)
    assert sharing.holder_pid(ADDRESS) is None
    lock = place.try_lock()
    assert lock is not None
    assert place.try_lock() is None
    assert sharing.holder_pid(ADDRESS) == place.locked_by() == os.getpid()
    lock.release()
    lock.release()
    assert sharing.holder_pid(ADDRESS) is None
    again = place.try_lock()
    assert again is not None
    again.release()
    assert not place.lock_path.exists()


def test_a_lock_whose_file_was_removed_is_no_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    place = MeetingPlace.of(ADDRESS)
    real = sharing.fcntl.flock

    def removed_just_before(fd: int, operation: int) -> None:
        place.lock_path.unlink()
        real(fd, operation)

    monkeypatch.setattr(sharing.fcntl, "flock", removed_just_before)
    assert place.try_lock() is None


def test_a_lock_file_that_is_a_link_is_refused(runtime_directory: Path) -> None:
    place = MeetingPlace.of(ADDRESS)
    place.lock_path.symlink_to(runtime_directory / "elsewhere")
    with pytest.raises(NotPrivate):
        place.try_lock()
    assert not (runtime_directory / "elsewhere").exists()


def test_only_a_socket_of_ours_is_connected_to(runtime_directory: Path) -> None:
    place = MeetingPlace.of(ADDRESS)
    assert place.connect() is None
    place.socket_path.touch()
    with pytest.raises(NotPrivate):
        place.connect()
    place.socket_path.unlink()
    other = runtime_directory / "other.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(other))
        listener.listen()
        place.socket_path.symlink_to(other)
        with pytest.raises(NotPrivate):
            place.connect()


def test_a_relay_socket_left_behind_is_replaced() -> None:
    place = MeetingPlace.of(ADDRESS)
    lock = place.try_lock()
    assert lock is not None
    lock.listen().close()
    assert place.connect() is None
    with lock.listen():
        sock = place.connect()
        assert sock is not None
        sock.close()
    lock.release()
    assert not place.socket_path.exists()


def test_a_long_runtime_directory(runtime_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = runtime_directory / ("x" * 120)
    long.mkdir(0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(long))
    lock = MeetingPlace.of(ADDRESS).try_lock()
    assert lock is not None
    with lock.listen():
        sock = lock.place.connect()
        assert sock is not None
        sock.close()
    lock.release()


async def test_without_a_place_a_monitor_is_used_alone(
    runtime_directory: Path, fake_monitor: FakeMonitor
) -> None:
    (runtime_directory / "qmon").touch()
    async with await Session.attach(fake_monitor.address) as session:
        assert await session.execute("query-name") == {"name": "fake"}
        assert not session.shared


async def test_the_second_is_told_why_a_monitor_is_not_shared(
    runtime_directory: Path, fake_monitor: FakeMonitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    (runtime_directory / "qmon").mkdir(0o755)
    (runtime_directory / "qmon").chmod(0o755)
    async with await Session.attach(fake_monitor.address):
        with pytest.raises(CannotAttach) as refused:
            await Session.attach(fake_monitor.address)
    assert f"it already has a client: {os.getpid()}" in refused.value.message.replace("pid ", "")
    assert "cannot share monitors here" in refused.value.message
    assert "open to other users (mode 755)" in refused.value.message
    assert refused.value.hint == f"Close it: chmod 700 {runtime_directory}/qmon"


async def test_without_room_for_a_relay_the_monitor_is_held_alone(
    fake_monitor: FakeMonitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: Lock) -> socket.socket:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Lock, "listen", full)
    async with await Session.attach(fake_monitor.address) as session:
        assert await session.execute("query-name") == {"name": "fake"}
        assert session.lost_reason is None
    lock = MeetingPlace.of(fake_monitor.address).try_lock()
    assert lock is not None
    lock.release()


@pytest.mark.parametrize("content", [b"\xff\xfe", "²".encode(), b"", b"12 34", b"9" * 32])
def test_whatever_is_in_a_lock_file_is_read(content: bytes) -> None:
    place = MeetingPlace.of(ADDRESS)
    place.lock_path.write_bytes(content)
    assert place.locked_by() == (int(content) if content == b"9" * 32 else None)
