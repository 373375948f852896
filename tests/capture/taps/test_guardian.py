import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from qmon.capture.reading import kernel
from qmon.capture.reading.channel import Full
from qmon.capture.taps import guardian_main
from qmon.capture.taps.guardian import Guardian


def wait_for(fact: Callable[[], bool], seconds: float = 10) -> float:
    started = time.monotonic()
    while not fact():
        assert time.monotonic() - started < seconds, "it did not happen"
        time.sleep(0.002)
    return time.monotonic() - started


OWNER = """
import os, sys, time
from qmon.capture.reading import kernel
from qmon.capture.reading.channel import Full
from qmon.capture.taps.guardian import guardian
fd = int(sys.argv[1])
guardian().hold(fd, vm=1, pid=None, limit_bytes=int(sys.argv[2]))
print(guardian().pid, flush=True)
time.sleep(600)
"""


def start_owner(fd: int, limit: int = 64 << 20) -> tuple[subprocess.Popen[str], int]:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(fd), str(limit)],
        pass_fds=[fd],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert owner.stdout is not None
    return owner, int(owner.stdout.readline())


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.mark.parametrize("whole_group", [False, True])
def test_the_owners_end_seals_and_frees_within_a_second(whole_group: bool) -> None:
    fd = kernel.memory_file("test")
    os.write(fd, b"x" * 1_000_000)
    owner, guardian_pid = start_owner(fd)
    wait_for(lambda: b"guardian_main" in Path(f"/proc/{guardian_pid}/cmdline").read_bytes())
    (os.killpg if whole_group else os.kill)(owner.pid, signal.SIGKILL)
    assert wait_for(lambda: kernel.growth_is_sealed(fd)) < 1
    owner.wait()
    wait_for(lambda: gone(guardian_pid))
    assert os.fstat(fd).st_blocks == 0
    assert owner.stdout is not None
    owner.stdout.close()
    os.close(fd)


def test_the_limit_holds_while_the_owner_is_stopped() -> None:
    fd = kernel.memory_file("test")
    owner, guardian_pid = start_owner(fd, limit=8 << 20)
    owner.send_signal(signal.SIGSTOP)
    piece = b"x" * 65_536
    written = 0
    with pytest.raises(PermissionError):
        while written < 256 << 20:
            written += os.write(fd, piece)
            time.sleep(0.0005)
    assert 8 << 20 <= os.fstat(fd).st_blocks * 512 < 16 << 20
    owner.kill()
    owner.wait()
    wait_for(lambda: gone(guardian_pid))
    assert owner.stdout is not None
    owner.stdout.close()
    os.close(fd)


def test_it_is_deaf_to_what_ends_others() -> None:
    fd = kernel.memory_file("test")
    guardian = Guardian()
    held = guardian.hold(fd, vm=1, pid=None, limit_bytes=1 << 20)
    pid = guardian.pid
    assert pid is not None
    ignored = 1 << (signal.SIGTERM - 1) | 1 << (signal.SIGINT - 1) | 1 << (signal.SIGHUP - 1)

    def deaf() -> bool:
        status = Path(f"/proc/{pid}/status").read_text()
        mask = next(line for line in status.splitlines() if line.startswith("SigIgn"))
        return int(mask.split()[1], 16) & ignored == ignored

    wait_for(deaf)
    assert os.getsid(pid) == pid
    guardian.drop(held)
    assert guardian.pid is None
    assert not kernel.growth_is_sealed(fd)
    os.close(fd)


def test_a_guardian_that_was_killed_is_replaced() -> None:
    fd = kernel.memory_file("test")
    guardian = Guardian()
    held = guardian.hold(fd, vm=1, pid=None, limit_bytes=1 << 20)
    first = guardian.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    wait_for(guardian.check)
    assert guardian.pid not in (None, first)
    os.write(fd, b"x" * (2 << 20))
    wait_for(lambda: kernel.growth_is_sealed(fd))
    assert guardian.why_full(held) is Full.LIMIT
    guardian.drop(held)
    os.close(fd)


def test_a_file_is_sealed_before_it_grows_beyond_what_the_vm_may_write() -> None:
    fd = kernel.memory_file("test")
    guardian = Guardian()
    held = guardian.hold(fd, vm=1, pid=None, limit_bytes=1 << 30, largest_bytes=1 << 20)
    os.write(fd, b"x" * 1000)
    kernel.punch(fd, 0, 4096)
    os.lseek(fd, 2 << 20, os.SEEK_SET)
    os.write(fd, b"x")
    wait_for(lambda: kernel.growth_is_sealed(fd))
    assert guardian.why_full(held) is Full.LENGTH
    guardian.drop(held)
    os.close(fd)


class Peer:
    """Takes what the guardian tells its owner."""

    def __init__(self) -> None:
        self.said: list[bytes] = []

    def send(self, message: bytes, _: int) -> None:
        self.said.append(message)


@pytest.mark.parametrize(
    ("allowed", "largest", "why"), [(8, 99, b"limit"), (4, 99, b"memory"), (8, 4, b"length")]
)
def test_why_files_are_sealed_is_told_once_and_before(allowed: int, largest: int, why: bytes) -> None:
    fds = [kernel.memory_file("test") for _ in range(2)]
    held = guardian_main.Held(0)
    held.files = {7: (fds[0], largest << 20), 9: (fds[1], largest << 20)}
    held.limit, held.allowed = 8 << 20, allowed << 20
    peer = Peer()
    os.write(fds[0], bytes(3 << 20))
    assert 0 < held.headroom(peer) < 8 << 20
    assert peer.said == []
    os.write(fds[0], bytes(2 << 20))
    os.write(fds[1], bytes(4 << 20))
    held.headroom(peer)
    held.headroom(peer)
    assert peer.said == [b"sealed " + why + b" 7 9"]
    assert all(kernel.growth_is_sealed(fd) for fd in fds)
    for fd in fds:
        os.close(fd)


def test_a_quarter_of_what_the_group_leaves_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "memory.max").write_text("100000000\n")
    (tmp_path / "memory.current").write_text("60000000\n")
    folders = [(str(tmp_path), "memory.max", "memory.current"), ("/nowhere", "memory.max", "memory.current")]
    monkeypatch.setattr(guardian_main, "cgroup_folders", lambda pid: folders)
    assert guardian_main.free_memory(1) == 40_000_000
    assert guardian_main.allowance(1, 64 << 20, 0) == 10_000_000
    assert guardian_main.allowance(1, 64 << 20, 8_000_000) == 12_000_000
    assert guardian_main.allowance(1, 1_000_000, 0) == 1_000_000
    monkeypatch.setattr(guardian_main, "available_memory", lambda: 20_000_000)
    assert guardian_main.allowance(1, 64 << 20, 0) == guardian_main.allowance(0, 64 << 20, 0) == 5_000_000
    monkeypatch.setattr(guardian_main, "available_memory", lambda: 1 << 40)
    (tmp_path / "memory.max").write_text("max\n")
    assert guardian_main.allowance(1, 64 << 20, 0) == 64 << 20


def test_groups_are_found_for_this_process() -> None:
    for folder, limit, usage in guardian_main.cgroup_folders(os.getpid()):
        assert folder.startswith("/sys/fs/cgroup")
        assert limit.startswith("memory.")
        assert usage.startswith("memory.")
