"""`qmon run` on a real QEMU: from the first packet to the last status."""

import os
import pty
import shlex
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.lab.qemus import Qemu

# qmon's own import of the lab's environment is asked for by a script that stands for QEMU.
SMALL = ("-accel", "tcg", "-machine", "pc,graphics=off", "-m", "64", "-nodefaults", "-display", "none")
NETDEV = ("-netdev", "user,id=u1", "-device", "virtio-net-pci,netdev=u1")


@pytest.fixture
def qemu_program(qemu_one: Qemu, tmp_path: Path) -> str:
    return program(qemu_one, tmp_path)


def program(qemu: Qemu, directory: Path) -> str:
    """One word that runs a QEMU of the lab."""
    path = directory / "qemu-of-the-lab"
    settings = " ".join(f"{name}={shlex.quote(value)}" for name, value in qemu.env.items())
    path.write_text(f'#!/bin/sh\nexec env {settings} {shlex.join(qemu.argv)} "$@"\n')
    path.chmod(0o755)
    return str(path)


def qmon_run(*words: str, **options: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "qmon", "run", *words]
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, **{"text": True, **streams, **options})  # type: ignore[call-overload, no-any-return]


def until(fact: Callable[[], object], *, timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while not fact():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def qemu_of(pid: int) -> int | None:
    """The pid of the QEMU that a qmon has started."""
    for child in children(pid):
        if Path(f"/proc/{child}/exe").readlink().name.startswith(("qemu", "ld-")):
            return child
    return None


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def hmp(socket: Path, line: str) -> None:
    """Send one line to a VM's own HMP socket."""
    subprocess.run(
        ["socat", "-t5", "-", f"UNIX-CONNECT:{socket}"], input=line + "\n", text=True, timeout=30, check=True
    )


def frames(capture: Path) -> list[str]:
    """Every Ethernet frame of a file, in hex, by an independent reader."""
    words = [
        "tshark",
        "-r",
        str(capture),
        "-Y",
        "frame.encap_type == 1",
        "-T",
        "fields",
        "-e",
        "frame.len",
        "-e",
    ]
    done = subprocess.run([*words, "_ws.col.Info"], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.splitlines()


def test_the_first_packet_is_in_the_capture(qemu: Qemu, tmp_path: Path, runtime_directory: Path) -> None:
    mine, independent = tmp_path / "mine.pcapng", tmp_path / "independent.pcap"
    monitor = runtime_directory / "own"
    dump = ("-object", f"filter-dump,id=i,netdev=u1,file={independent}")
    users = ("-monitor", f"unix:{monitor},server=on,wait=off")
    words = [*SMALL, *NETDEV, *dump, *users]
    with qmon_run("--netdev", "u1", "-w", str(mine), "--", program(qemu, tmp_path), *words) as ran:
        # iPXE asks for a lease; there is nothing more for it to do.
        until(lambda: independent.exists() and independent.stat().st_size > 3000)
        hmp(monitor, "quit")
        _, said = ran.communicate(timeout=30)
    assert ran.returncode == 0, said
    assert frames(mine) == frames(independent)
    assert "0 dropped" in said
    assert not list(runtime_directory.glob("qmon-vm-*"))


def test_qemus_failure_is_shown_and_returned(qemu_program: str, tmp_path: Path) -> None:
    with qmon_run("-w", str(tmp_path / "f"), "--", qemu_program, "-netdev", "bogus,id=x") as ran:
        _, said = ran.communicate(timeout=60)
    assert ran.returncode == 1
    assert "bogus" in said
    assert "Traceback" not in said
    assert not (tmp_path / "f").exists()


def test_a_qemu_that_does_not_get_the_options_is_told(qemu_program: str, tmp_path: Path) -> None:
    script = f"exec -a qemu-of-mine {qemu_program} -M none -display none"
    with qmon_run("-w", str(tmp_path / "f"), "--", "bash", "-c", script) as ran:
        _, said = ran.communicate(timeout=60)
    assert ran.returncode == 3
    assert "its options were not passed on" in said


def test_a_program_that_does_not_exist(tmp_path: Path) -> None:
    with qmon_run("-w", str(tmp_path / "f"), "--", "/nonexistent/qemu", *SMALL) as ran:
        _, said = ran.communicate(timeout=60)
    assert ran.returncode == 127
    assert "/nonexistent/qemu" in said


def test_help_of_qemus_passes_through(qemu_program: str, tmp_path: Path) -> None:
    with qmon_run("-w", str(tmp_path / "f"), "--", qemu_program, "-version") as ran:
        out, _ = ran.communicate(timeout=60)
    assert ran.returncode == 0
    assert "QEMU emulator version" in out


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("-w", "f", "--", "qemu", "-daemonize"), 1, "status"),
        (("--", "qemu", "-curses"), 2, "terminal"),
        (("--netdev", "u1", "--all", "-w", "f", "--", "qemu"), 2, "contradict"),
        (("-w", "f"), 2, "Missing argument"),
    ],
)
def test_what_is_refused(words: Sequence[str], status: int, said: str, tmp_path: Path) -> None:
    with qmon_run(*words, cwd=tmp_path) as ran:
        _, errors = ran.communicate(timeout=60)
    assert ran.returncode == status
    assert said in errors
    assert "Traceback" not in errors


def test_a_vm_option_is_wrong_usage() -> None:
    command = [sys.executable, "-m", "qmon", "--vm", "x", "run", "--", "qemu"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode == 2
    assert "of its own" in done.stderr


def test_a_netdev_that_is_not_there_ends_the_vm(
    qemu_program: str, tmp_path: Path, runtime_directory: Path
) -> None:
    words = ("--netdev", "nosuch", "-w", str(tmp_path / "f"), "--", qemu_program, *SMALL, *NETDEV)
    with qmon_run(*words) as ran:
        _, said = ran.communicate(timeout=60)
    assert ran.returncode == 1
    assert "nosuch" in said
    assert not list(runtime_directory.glob("qmon-vm-*"))


def test_a_file_that_cannot_be_written_ends_the_vm(qemu_program: str, runtime_directory: Path) -> None:
    with qmon_run("-w", "/nonexistent/f", "--", qemu_program, *SMALL, *NETDEV) as ran:
        _, said = ran.communicate(timeout=60)
    assert ran.returncode != 0
    assert "/nonexistent/f" in said
    assert not list(runtime_directory.glob("qmon-vm-*"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_qmons_end_is_the_vms(
    qemu_program: str, tmp_path: Path, runtime_directory: Path, number: signal.Signals
) -> None:
    capture = tmp_path / "f.pcapng"
    with qmon_run("-w", str(capture), "--", qemu_program, *SMALL, *NETDEV) as ran:
        until(lambda: capture.exists() and capture.stat().st_size > 1500)
        qemu = qemu_of(ran.pid)
        assert qemu is not None
        ran.send_signal(number)
        _, said = ran.communicate(timeout=30)
    assert ran.returncode == 0, said
    assert not running(qemu)
    assert frames(capture)
    assert not list(runtime_directory.glob("qmon-vm-*"))


def test_a_killed_qmon_takes_the_vm_along(qemu_program: str, tmp_path: Path, runtime_directory: Path) -> None:
    with qmon_run("-w", str(tmp_path / "f"), "--", qemu_program, *SMALL, *NETDEV) as ran:
        until(lambda: (tmp_path / "f").exists())
        qemu = qemu_of(ran.pid)
        assert qemu is not None
        ran.kill()
        ran.communicate(timeout=30)
    until(lambda: not running(qemu))
    until(lambda: not list(runtime_directory.glob("qmon-vm-*")))


def test_a_killed_vms_status_is_returned(qemu_program: str, tmp_path: Path) -> None:
    capture = tmp_path / "f.pcapng"
    with qmon_run("-w", str(capture), "--", qemu_program, *SMALL, *NETDEV) as ran:
        until(lambda: capture.exists() and capture.stat().st_size > 1500)
        qemu = qemu_of(ran.pid)
        assert qemu is not None
        os.kill(qemu, signal.SIGKILL)
        _, said = ran.communicate(timeout=30)
    assert ran.returncode == 128 + signal.SIGKILL
    assert "killed" in said
    assert frames(capture)


def test_the_users_own_pause_is_respected(qemu_program: str, tmp_path: Path, runtime_directory: Path) -> None:
    monitor = runtime_directory / "own"
    users = ("-S", "-monitor", f"unix:{monitor},server=on,wait=off")
    capture = tmp_path / "f.pcapng"
    with qmon_run("-w", str(capture), "--", qemu_program, *SMALL, *NETDEV, *users) as ran:
        until(lambda: capture.exists() and capture.stat().st_size > 0)
        words = ["socat", "-t2", "-", f"UNIX-CONNECT:{monitor}"]
        done = subprocess.run(words, input="info status\n", capture_output=True, text=True, timeout=30)
        assert "paused" in done.stdout
        hmp(monitor, "quit")
        ran.communicate(timeout=30)
    assert ran.returncode == 0


def test_a_capture_on_stdout_has_it_alone(qemu_program: str, tmp_path: Path) -> None:
    """What QEMU prints goes to the standard error then; a reader that leaves is a normal end."""
    words = ("-w", "-", "--", qemu_program, *SMALL, *NETDEV, "-monitor", "stdio")
    with qmon_run(*words, stdin=subprocess.PIPE) as ran:
        assert ran.stdout is not None
        reader = subprocess.Popen(
            ["tshark", "-l", "-r", "-", "-c", "2", "-Y", "dhcp"],
            stdin=ran.stdout,
            stdout=subprocess.PIPE,
            text=True,
        )
        ran.stdout.close()
        with reader:
            read, _ = reader.communicate(timeout=60)
        assert "DHCP" in read
        assert ran.stderr is not None
        assert "(qemu)" in ran.stderr.read()
    assert ran.returncode == 0


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    ours, theirs = pty.openpty()
    yield ours, theirs
    for end in (ours, theirs):
        os.close(end)


def test_the_terminal_is_the_vms_and_comes_back(
    qemu_program: str, tmp_path: Path, terminal: tuple[int, int]
) -> None:
    """-nographic keeps its meaning: the console and, behind ctrl-a c, the monitor QEMU has without ours."""
    ours, theirs = terminal
    before = termios.tcgetattr(theirs)
    capture = tmp_path / "f.pcapng"
    words = (
        "-w",
        str(capture),
        "--",
        qemu_program,
        "-accel",
        "tcg",
        "-m",
        "64",
        "-vga",
        "none",
        "-nographic",
    )
    heard = b""
    with qmon_run(
        *words, *NETDEV, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True, text=False
    ) as ran:
        while b"SeaBIOS" not in heard:
            heard += os.read(ours, 4096)
        assert termios.tcgetattr(theirs) != before
        os.write(ours, b"\x01c")
        while b"(qemu)" not in heard:
            heard += os.read(ours, 4096)
        os.write(ours, b"quit\n")
        until(lambda: ran.poll() is not None)
    assert ran.returncode == 0
    assert termios.tcgetattr(theirs) == before
