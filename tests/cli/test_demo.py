"""`qmon demo` without the dashboard, on real QEMUs."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.test_run import program, qemu_of, running, until
from tests.lab.qemus import Qemu

# What a new user is to find in the demo's traffic, in Wireshark's words.
EVERYTHING = {"DHCP", "ARP", "ICMPv6", "TFTP", "DNS", "HTTP", "TCP", "HTTP/JSON"}


def demo(*words: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "qmon", "demo", "--accel", "tcg", *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def protocols(capture: Path) -> set[str]:
    words = ["tshark", "-r", str(capture), "-T", "fields", "-e", "_ws.col.Protocol"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    return set(done.stdout.split())


def test_its_traffic_has_everything(qemu: Qemu, tmp_path: Path, runtime_directory: Path) -> None:
    capture = tmp_path / "demo.pcapng"
    with demo("--headless", "-w", str(capture), "--qemu", program(qemu, tmp_path)) as ran:
        until(lambda: capture.exists() and protocols(capture) >= EVERYTHING, timeout_s=90)
        ran.send_signal(signal.SIGINT)
        _, said = ran.communicate(timeout=30)
    assert ran.returncode == 0, said
    assert "0 dropped" in said
    assert not list(runtime_directory.glob("qmon-vm-*"))
    # Both netdevs are there under their own names.
    words = ["tshark", "-r", str(capture), "-T", "fields", "-e", "frame.interface_name"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True)
    assert {"u1", "u2"} <= set(done.stdout.split())


def test_it_ends_after_its_time(qemu_one: Qemu, tmp_path: Path) -> None:
    start = time.monotonic()
    with demo("--headless", "--duration", "0.5", "--qemu", program(qemu_one, tmp_path)) as ran:
        out, said = ran.communicate(timeout=60)
    assert (ran.returncode, out) == (0, "")
    assert time.monotonic() - start > 0.5
    assert "qmon --vm" in said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_nothing_is_left_however_it_ends(
    qemu_one: Qemu, tmp_path: Path, runtime_directory: Path, number: signal.Signals
) -> None:
    with demo("--headless", "--qemu", program(qemu_one, tmp_path)) as ran:
        assert ran.stderr is not None
        assert "starting" in ran.stderr.readline()
        assert "qmon --vm" in ran.stderr.readline()
        qemu = qemu_of(ran.pid)
        assert qemu is not None
        ran.send_signal(number)
        ran.communicate(timeout=30)
    assert ran.returncode == (-number if number == signal.SIGKILL else 0)
    until(lambda: not running(qemu))
    until(lambda: not list(runtime_directory.glob("qmon-vm-*")))


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("--duration", "5"), 2, "--headless"),
        (("-w", "f"), 2, "--headless"),
        (("--headless", "--duration", "0"), 2, "duration"),
        (("--headless", "--qemu", "/nonexistent/qemu"), 1, "nstall"),
    ],
)
def test_what_is_refused(words: tuple[str, ...], status: int, said: str) -> None:
    with demo(*words) as ran:
        _, errors = ran.communicate(timeout=60)
    assert ran.returncode == status
    assert said in errors
    assert "Traceback" not in errors


def test_a_file_that_cannot_be_written(qemu_one: Qemu, tmp_path: Path, runtime_directory: Path) -> None:
    with demo("--headless", "-w", "/nonexistent/f", "--qemu", program(qemu_one, tmp_path)) as ran:
        _, errors = ran.communicate(timeout=60)
    assert ran.returncode != 0
    assert "/nonexistent/f" in errors
    assert "Traceback" not in errors
    assert not list(runtime_directory.glob("qmon-vm-*"))
