"""`qmon demo` and `qmon run` with the dashboard, in a real terminal: the VM is there, and goes with it."""

import asyncio
import os
import re
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.cli.test_run import NETDEV, program, qemu_of
from tests.lab.qemus import Qemu
from tests.tui.tmux import Terminal, ended, terminal

pytestmark = pytest.mark.terminal
QMON = str(Path(sys.executable).with_name("qmon"))
CONSOLE = ("-accel", "tcg", "-m", "64", "-vga", "none", "-nographic")


async def all_gone(runtime_directory: Path, *pids: int) -> None:
    deadline = time.monotonic() + 15
    while not all(map(ended, pids)) or list(runtime_directory.glob("qmon-vm-*")):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


async def qemu_in(pane: Terminal) -> int:
    deadline = time.monotonic() + 15
    while (qemu := qemu_of(pane.pid)) is None:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
    return qemu


async def test_the_demo_shows_traffic_and_ends_with_q(
    qemu_one: Qemu, tmp_path: Path, runtime_directory: Path
) -> None:
    words = [QMON, "demo", "--accel", "tcg", "--qemu", program(qemu_one, tmp_path)]
    async with terminal(runtime_directory, words) as pane:
        await pane.shows("qmon-demo", "● 2 taps", "u1", "u2", "Bootstrap Protocol (DHCP)")
        qemu = await qemu_in(pane)
        await pane.keys("q")
        await pane.shows("it ends with qmon", "not saved")
        await pane.keys("Enter")
        assert await pane.status() == 0
    await all_gone(runtime_directory, qemu)


@pytest.mark.parametrize("way", ["SIGTERM", "SIGHUP", "SIGKILL", "kill-session"])
async def test_nothing_of_the_demo_is_left(
    qemu_one: Qemu, tmp_path: Path, runtime_directory: Path, way: str
) -> None:
    words = [QMON, "demo", "--accel", "tcg", "--qemu", program(qemu_one, tmp_path)]
    async with terminal(runtime_directory, words) as pane:
        await pane.shows("● 2 taps")
        qemu = await qemu_in(pane)
        if way == "kill-session":
            await pane.tmux("kill-session")
        else:
            os.kill(pane.pid, signal.Signals[way])
        await all_gone(runtime_directory, pane.pid, qemu)


async def test_run_puts_the_console_on_a_pty(qemu_one: Qemu, tmp_path: Path, runtime_directory: Path) -> None:
    words = [QMON, "run", "--", program(qemu_one, tmp_path), *CONSOLE, *NETDEV]
    async with terminal(runtime_directory, words) as pane:
        await pane.shows("● 1 tap", "DHCP")
        await pane.keys("4")
        screen = await pane.shows("is on /dev/pts/")
        console = re.search(r"is on (/dev/pts/\d+)", screen)
        assert console
        assert Path(console[1]).is_char_device()
        qemu = await qemu_in(pane)
        await pane.keys("q")
        await pane.shows("it ends with qmon", "not saved")
        await pane.keys("Enter")
        assert await pane.status() == 0
    await all_gone(runtime_directory, qemu)


async def test_the_end_of_the_vm_is_told_and_its_status_returned(
    qemu_one: Qemu, tmp_path: Path, runtime_directory: Path
) -> None:
    words = ["env", "QMON_NO_CONFIRM=1", QMON, "run", "--", program(qemu_one, tmp_path), *CONSOLE, *NETDEV]
    async with terminal(runtime_directory, words) as pane:
        await pane.shows("● 1 tap")
        os.kill(await qemu_in(pane), signal.SIGKILL)
        await pane.keys("4")
        await pane.shows("QEMU ended with status 137")
        await pane.keys("q")
        assert await pane.status() == 137


async def test_a_qemu_that_fails_is_told_without_a_dashboard(
    qemu_one: Qemu, tmp_path: Path, runtime_directory: Path
) -> None:
    words = [QMON, "run", "--", program(qemu_one, tmp_path), "-netdev", "bogus,id=x"]
    async with terminal(runtime_directory, words) as pane:
        await pane.shows("bogus")
        assert await pane.status() == 1


async def test_the_users_own_pause_is_respected(
    qemu_one: Qemu, tmp_path: Path, runtime_directory: Path
) -> None:
    words = [QMON, "run", "--", program(qemu_one, tmp_path), *CONSOLE, *NETDEV, "-S"]
    async with terminal(runtime_directory, words) as pane:
        await pane.shows("● 1 tap")
        await pane.keys("4")
        screen = await pane.shows("paused by -S")
        assert "RESUME" not in screen
        await pane.keys("q")
        await pane.shows("it ends with qmon")
        await pane.keys("Enter")
        assert await pane.status() == 0


async def test_a_netdev_that_is_not_there_ends_the_vm(
    qemu_one: Qemu, tmp_path: Path, runtime_directory: Path
) -> None:
    words = [QMON, "run", "--netdev", "nosuch", "--", program(qemu_one, tmp_path), *CONSOLE, *NETDEV]
    async with terminal(runtime_directory, words) as pane:
        await pane.shows("no netdev nosuch", "u1")
        assert await pane.status() == 1
    await all_gone(runtime_directory)
