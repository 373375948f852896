"""A QEMU of our own: ended with us however we end, its directory with it.

Any program stands for QEMU here.
"""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from qmon.errors import QmonError
from qmon.launch.process import OwnedQemu

STUBBORN = (
    "import signal, time; signal.signal(15, signal.SIG_IGN); print('ready', flush=True); time.sleep(60)"
)
OWNER = """
import sys, time
from qmon.launch.process import OwnedQemu
with OwnedQemu() as owned:
    owned.start(sys.argv[1:], quiet=True)
    print(owned.pid, owned.directory, flush=True)
    time.sleep(60)
"""


def until(fact: Callable[[], bool], *, timeout_s: float = 10) -> None:
    deadline = time.monotonic() + timeout_s
    while not fact():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_it_ends_in_order_and_leaves_nothing() -> None:
    with OwnedQemu() as owned:
        directory = owned.directory
        assert directory.stat().st_mode & 0o777 == 0o700
        assert owned.status is None
        owned.start(["sleep", "60"], quiet=True)
        assert running(owned.pid)
        assert owned.status is None
        assert f"pid {owned.pid}" in repr(owned)
    assert owned.status == 128 + signal.SIGTERM
    assert not directory.exists()


def test_it_may_never_be_started() -> None:
    with OwnedQemu() as owned:
        assert owned.directory.is_dir()
    assert not owned.directory.exists()


def test_what_is_deaf_to_sigterm_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qmon.launch.process.GRACE_S", 0.2)
    with OwnedQemu() as owned:
        owned.start([sys.executable, "-c", STUBBORN], quiet=True)
        until(lambda: "ready" in owned.last_words())
    assert owned.status == 128 + signal.SIGKILL


async def test_its_own_end_is_awaited_and_its_status_known() -> None:
    with OwnedQemu() as owned:
        owned.start(["sh", "-c", "echo sorry >&2; sleep 0.2; exit 7"], quiet=True)
        async with asyncio.timeout(10):
            assert await owned.wait() == 7
            assert await owned.wait() == 7
        assert owned.last_words() == "sorry"


async def test_an_ended_wait_leaves_the_process_alone() -> None:
    with OwnedQemu() as owned:
        owned.start(["sleep", "60"], quiet=True)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await owned.wait()
        assert running(owned.pid)


@pytest.mark.parametrize(("program", "status"), [("/nonexistent/qemu", 127), ("/etc", 126)])
async def test_a_program_that_cannot_be_started(program: str, status: int) -> None:
    with OwnedQemu() as owned:
        owned.start([program], quiet=True)
        assert await owned.wait() == status
        assert owned.last_words().startswith(program)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_a_killed_owner_takes_its_qemu_and_directory_along(number: int) -> None:
    command = [sys.executable, "-c", OWNER, "sleep", "60"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        pid, directory = owner.stdout.readline().split()
        assert running(int(pid))
        owner.send_signal(number)
    until(lambda: not running(int(pid)))
    until(lambda: not Path(directory).exists())


def test_a_killed_owners_stubborn_qemu_is_killed_by_the_guardian() -> None:
    owner_code = OWNER.replace(
        "import sys, time", "import sys, time, qmon.launch.process as p; p.GRACE_S = 0.3"
    )
    command = [sys.executable, "-c", owner_code, sys.executable, "-c", STUBBORN]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        pid, directory = owner.stdout.readline().split()
        until(lambda: "ready" in Path(directory, "qemu.log").read_text())
        owner.kill()
    until(lambda: not running(int(pid)))
    until(lambda: not Path(directory).exists())


def test_a_whole_group_killed_leaves_no_directory() -> None:
    command = [sys.executable, "-c", OWNER, "sleep", "60"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as owner:
        assert owner.stdout is not None
        pid, directory = owner.stdout.readline().split()
        os.killpg(owner.pid, signal.SIGKILL)
    until(lambda: not running(int(pid)))
    until(lambda: not Path(directory).exists())


def test_signals_python_ignores_are_not_ignored_in_qemu() -> None:
    with OwnedQemu() as owned:
        owned.start(["sh", "-c", "grep SigIgn /proc/self/status; sleep 60"], quiet=True)
        until(lambda: "SigIgn" in owned.last_words())
        ignored = int(owned.last_words().split()[1], 16)
        assert not ignored & (1 << (signal.SIGPIPE - 1))


def test_a_long_runtime_directory_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = tmp_path / ("x" * 120)
    long.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(long))
    with OwnedQemu() as owned:
        assert long not in owned.directory.parents
    assert not list(long.iterdir())


def test_nowhere_to_put_the_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    with pytest.raises(QmonError, match="Permission denied"), OwnedQemu():
        raise AssertionError
