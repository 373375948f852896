"""The installed qmon in a real terminal, on a real VM."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.lab import Qemu, start_vm
from tests.lab.vm import LabVm
from tests.tui.tmux import Terminal, cpu_s, ended, seconds_until_end, terminal

pytestmark = pytest.mark.terminal
QMON = str(Path(sys.executable).with_name("qmon"))
END_WITHIN_S = 2.0


@pytest.fixture
async def vm(qemu_one: Qemu) -> AsyncIterator[LabVm]:
    async with start_vm(qemu_one, guest="ipxe", name="vm[bold]") as vm:
        yield vm


async def _ours(vm: LabVm) -> list[str]:
    objects = await vm.qmp_raw("qom-list", {"path": "/objects"})
    return [entry["name"] for entry in objects if entry["name"].startswith("qmon-")]


async def _no_tap_is_left(vm: LabVm) -> None:
    deadline = time.monotonic() + 5
    while left := await _ours(vm):
        assert time.monotonic() < deadline, left
        await asyncio.sleep(0.02)


async def test_packets_a_filter_and_the_way_out(vm: LabVm, runtime_directory: Path) -> None:
    async with terminal(runtime_directory, [QMON, "--vm", str(vm.qmp[0])]) as pane:
        await pane.shows("vm[bold]", "● 1 tap", "nic1", "follow", "TFTP", "Internet Protocol Version 4")
        assert len(await _ours(vm)) == 2
        await pane.keys("/")
        await pane.shows("Capture filter")
        await pane.type("udp port 69")
        await pane.shows("udp port 69")
        await pane.keys("Enter")
        await pane.shows("capture filter udp port 69", "Read Request")
        await pane.keys("q")
        await pane.shows("not saved")
        await pane.keys("Enter")
        assert await pane.status() == 0
    assert await _ours(vm) == []


@pytest.mark.parametrize("way", ["SIGTERM", "SIGHUP", "SIGINT", "ctrl-c", "kill-session", "terminal killed"])
async def test_every_end_is_quick_and_leaves_no_tap(vm: LabVm, runtime_directory: Path, way: str) -> None:
    async with terminal(runtime_directory, [QMON, "--vm", str(vm.qmp[0])]) as pane:
        await pane.shows("● 1 tap", "TFTP")
        await _end(pane, way)
        assert await seconds_until_end(pane.pid) < END_WITHIN_S * _slack()
    await _no_tap_is_left(vm)


def _slack() -> float:
    """Return how much slower than an idle machine this one is at present."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


async def _end(pane: Terminal, way: str) -> None:
    if way.startswith("SIG"):
        os.kill(pane.pid, signal.Signals[way])
    elif way == "ctrl-c":
        await pane.keys("C-c")
    elif way == "kill-session":
        await pane.tmux("kill-session")
    else:
        server = int(await pane.tmux("display", "-p", "#{pid}"))
        os.kill(server, signal.SIGKILL)


async def test_a_hang_up_that_is_ignored_does_not_leave_it_spinning(
    vm: LabVm, runtime_directory: Path
) -> None:
    command = ["sh", "-c", 'trap "" HUP; exec "$0" "$@"', QMON, "--vm", str(vm.qmp[0])]
    async with terminal(runtime_directory, command) as pane:
        await pane.shows("● 1 tap", "TFTP")
        await pane.tmux("kill-session")
        assert await seconds_until_end(pane.pid) < END_WITHIN_S * _slack()
    await _no_tap_is_left(vm)


async def test_an_idle_dashboard_costs_next_to_nothing(qemu_one: Qemu, runtime_directory: Path) -> None:
    options = ("-netdev", "user,id=u1", "-device", "e1000,netdev=u1,id=nic1,romfile=")
    async with (
        start_vm(qemu_one, *options) as vm,
        terminal(runtime_directory, [QMON, "--vm", str(vm.qmp[0])]) as pane,
    ):
        await pane.shows("● 1 tap", "silent")
        await asyncio.sleep(2)
        before = cpu_s(pane.pid)
        await asyncio.sleep(5)
        # The aim is 1 %, seen on an idle machine; this notices only what is grossly wrong.
        assert (cpu_s(pane.pid) - before) / 5 < 0.06


async def test_it_tells_when_the_vm_ends_and_leaves_in_order_then_too(
    vm: LabVm, runtime_directory: Path
) -> None:
    async with terminal(runtime_directory, [QMON, "--vm", str(vm.qmp[0])]) as pane:
        await pane.shows("● 1 tap", "TFTP")
        await pane.keys(":")
        await pane.shows("(qemu)")
        await pane.type("quit")
        await pane.keys("Enter")
        await pane.shows("ends the VM at once")
        await pane.keys("Enter")
        await pane.shows("is disconnected; reconnecting")
        await pane.keys("C-c")
        assert await pane.status() == 0


async def test_a_capture_file(capture_file: Path, runtime_directory: Path) -> None:
    async with terminal(runtime_directory, [QMON, "view", str(capture_file)], size=(80, 24)) as pane:
        await pane.shows("trace.pcap", "490 packets", "DHCP Discover", "Internet Protocol Version 4")
        await pane.keys("G")
        await pane.shows("Packet 490")
        await pane.keys("q")
        assert await pane.status() == 0


@pytest.mark.parametrize("terminal_type", ["xterm", "linux", "vt220"])
@pytest.mark.parametrize("no_color", [False, True])
async def test_poor_terminals(
    capture_file: Path, runtime_directory: Path, terminal_type: str, no_color: bool
) -> None:
    environment = ["env", f"TERM={terminal_type}", "COLORTERM="] + (["NO_COLOR=1"] if no_color else [])
    async with terminal(
        runtime_directory, [*environment, QMON, "view", str(capture_file)], size=(80, 24)
    ) as pane:
        await pane.shows("490 packets", "DHCP Discover")
        await pane.keys("q")
        assert await pane.status() == 0


async def test_without_a_terminal_it_says_so(capture_file: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        QMON, "view", str(capture_file), stdin=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate()
    assert process.returncode == 2
    assert b"needs a terminal" in said
    assert ended(process.pid)
