"""VMs in Wireshark's interface list, with the real tshark."""

import asyncio
import os
import re
import select
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.lab import start_vm
from tests.lab.qemus import Qemu
from tests.lab.vm import LabVm

SPEED_TRIES = 7

# Another worker may run such a VM at the same time: extcap finds all of this host by their names.
NAME = f"traffic{os.getpid()}"


async def ran(*command: str) -> "subprocess.CompletedProcess[str]":
    """Run to the end, beside the event loop: it reads the VM's console, without which the VM would stand still."""
    return await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=90)


async def qmon(*words: str) -> "subprocess.CompletedProcess[str]":
    return await ran(sys.executable, "-m", "qmon", *words)


async def tshark(*words: str) -> "subprocess.CompletedProcess[str]":
    return await ran("tshark", *words)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of the test's own: Wireshark's configuration and its folder for capture programs are there."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_CONFIG_HOME", "WIRESHARK_CONFIG_DIR"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
async def vm(qemu_one: Qemu) -> AsyncIterator[LabVm]:
    async with start_vm(qemu_one, guest="ipxe", name=NAME) as running:
        yield running


async def test_who_waits_for_a_capture_that_fails_is_let_go(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    # As dumpcap does it: opened without waiting for the writer, whose end is then awaited.
    reading = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(reading, True)
    watch = select.poll()
    watch.register(reading, select.POLLIN)
    try:
        words = ("--capture", "--extcap-interface", "qmon-nobody-u1", "--fifo", str(fifo))
        assert (await qmon("extcap", *words)).returncode == 3
        assert [event for _, event in watch.poll(0)] == [select.POLLHUP]
    finally:
        os.close(reading)


async def test_start_stop_and_start_again(vm: LabVm, home: Path) -> None:
    installed = await qmon("extcap", "--install")
    assert installed.returncode == 0, installed.stderr
    assert f"qmon-{NAME}-u1" in installed.stdout
    assert re.search(rf"^\d+\. qmon-{NAME}-u1 \(", (await tshark("-D")).stdout, re.MULTILINE)
    for _ in range(2):
        seen = await tshark("-i", f"qmon-{NAME}-u1", "-c", "5", "-a", "duration:60")
        assert seen.returncode == 0, seen.stderr
        assert len(seen.stdout.splitlines()) == 5
        assert "Error" not in seen.stderr
        # The taps are gone, and the monitor is free.
        assert "filter-dump" not in await vm.hmp_raw("info network")
    removed = await qmon("extcap", "--uninstall")
    assert "removed" in removed.stderr
    assert "qmon" not in (await tshark("-D")).stdout
    assert not list(home.rglob("extcap/qmon"))


async def test_a_filter_and_the_dialogs_options(vm: LabVm, home: Path) -> None:
    assert (await qmon("extcap", "--install")).returncode == 0
    capture = home / "f.pcapng"
    options = (
        "-o",
        f"extcap.qmon.vm:{NAME}",
        "-o",
        "extcap.qmon.snaplen:60",
        "-o",
        "extcap.qmon.direction:out",
    )
    done = await tshark(
        "-i", "qmon", "-f", "udp port 69", *options, "-c", "3", "-a", "duration:60", "-w", str(capture)
    )
    assert done.returncode == 0, done.stderr
    fields = ("-T", "fields", "-e", "udp.dstport", "-e", "frame.cap_len", "-e", "frame.interface_name")
    lines = (await tshark("-r", str(capture), "-Y", "frame.encap_type == 1", *fields)).stdout.splitlines()
    assert len(lines) == 3
    for line in lines:
        port, length, _ = line.split("\t")
        assert port == "69"
        assert int(length) <= 60


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        ((), 2, "--install"),
        (("--install", "--uninstall"), 2, "contradict"),
        (("--extcap-interface", "qmon"), 2, "--capture"),
        (("--extcap-interface", "qmon", "--capture"), 2, "--fifo"),
        (
            ("--extcap-interface", "qmon-gone-u1", "--capture", "--fifo", "/nonexistent/f"),
            3,
            "is gone",
        ),
        (("--extcap-interface", "qmon", "--capture", "--fifo", "/nonexistent/f", "--vm", "gone"), 3, "gone"),
    ],
)
async def test_what_is_refused(words: tuple[str, ...], status: int, said: str) -> None:
    done = await qmon("extcap", *words)
    assert done.returncode == status
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("expression", "wrong"),
    [("tcp port 80", False), ("arp or icmp6", False), ("", False), ("tcp prot 80", True), ("(", True)],
)
async def test_a_filter_is_judged(expression: str, wrong: bool) -> None:
    """Wireshark takes any word as a complaint, and silence as consent."""
    done = await qmon("extcap", "--extcap-interface", "qmon", "--extcap-capture-filter", expression)
    assert done.returncode == 0
    assert bool(done.stdout.strip()) is wrong


def read_all(fifo: Path, started: threading.Event, enough: Callable[[bytes], bool]) -> bytes:
    """Be Wireshark: read from the FIFO, and leave when it is enough."""
    heard = b""
    with fifo.open("rb", buffering=0) as reader:
        while not enough(heard) and (piece := reader.read(65536)):
            heard += piece
            started.set()
    return heard


async def captured(vm: LabVm, fifo: Path, enough: Callable[[bytes], bool], *, quit_vm: bool) -> bytes:
    """Capture into a FIFO until its reader leaves or the VM quits; what was read."""
    os.mkfifo(fifo)
    words = ("extcap", "--extcap-interface", f"qmon-{NAME}-u1", "--capture", "--fifo", str(fifo))
    started = threading.Event()
    reading = asyncio.create_task(asyncio.to_thread(read_all, fifo, started, enough))
    capturing = asyncio.create_task(qmon(*words, "--extcap-version=4.0"))
    if quit_vm:
        assert await asyncio.to_thread(started.wait, 60)
        await vm.qmp_raw("quit")
    done = await capturing
    assert (done.returncode, done.stderr) == (0, "")
    return await reading


async def test_a_closed_fifo_is_a_normal_end(vm: LabVm, tmp_path: Path) -> None:
    heard = await captured(vm, tmp_path / "fifo", lambda heard: len(heard) > 1000, quit_vm=False)
    assert heard.startswith(b"\x0a\x0d\x0d\x0a")  # A section header (pcapng).
    assert "filter-dump" not in await vm.hmp_raw("info network")


async def test_the_end_of_the_vm_is_no_error(vm: LabVm, tmp_path: Path) -> None:
    heard = await captured(vm, tmp_path / "fifo", lambda _: False, quit_vm=True)
    assert heard.startswith(b"\x0a\x0d\x0d\x0a")


def test_listing_is_quick() -> None:
    """Against a bare interpreter of the same moment: the machine's own speed is taken out."""

    def best(*command: str) -> float:
        times = []
        for _ in range(SPEED_TRIES):
            start = time.perf_counter()
            subprocess.run([sys.executable, *command], capture_output=True, check=True, timeout=60)
            times.append(time.perf_counter() - start)
        return min(times)

    bare = best("-c", "import click, dataclasses, re, socket, threading")
    assert best("-m", "qmon", "extcap", "--extcap-interfaces") < 0.1 + 3 * bare
