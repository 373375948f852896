"""`qmon wireshark` on a real VM; tshark, which reads the same stream, stands for the window."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.lab import start_vm
from tests.lab.qemus import Qemu
from tests.lab.vm import LabVm


@pytest.fixture
async def vm(qemu_one: Qemu) -> AsyncIterator[LabVm]:
    async with start_vm(qemu_one, guest="ipxe", name="traffic") as running:
        yield running


def window(directory: Path, script: str) -> dict[str, str]:
    """An environment in which a script is Wireshark."""
    program = directory / "wireshark"
    program.write_text(f'#!/bin/sh\nout="{directory}/out"\n{script}\n')
    program.chmod(0o755)
    return {**os.environ, "PATH": f"{directory}:{os.environ['PATH']}"}


async def wireshark(
    vm: LabVm, environment: dict[str, str], *words: str
) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "qmon", "--vm", vm.qmp[0], "wireshark", *words]
    # Beside the event loop: it reads the VM's console, without which the VM would stand still.
    return await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, timeout=90, env=environment
    )


async def test_the_packets_are_live_and_closing_it_ends_the_capture(vm: LabVm, tmp_path: Path) -> None:
    environment = window(tmp_path, 'echo "$@" >"$out.args"; exec tshark -l -r - -c 5 >"$out" 2>/dev/null')
    done = await wireshark(vm, environment, "--netdev", "u1", "udp", "port", "69")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out.args").read_text() == "-k -i -\n"
    lines = (tmp_path / "out").read_text().splitlines()
    assert len(lines) == 5
    assert all("TFTP" in line or "Syslog" in line for line in lines)
    assert "filter-dump" not in await vm.hmp_raw("info network")


async def test_without_a_screen_wiresharks_own_words_are_shown(vm: LabVm, tmp_path: Path) -> None:
    environment = window(tmp_path, "echo qt.qpa.xcb: could not connect to display >&2; exit 134")
    done = await wireshark(vm, environment, "--netdev", "u1")
    assert done.returncode == 1
    assert "could not connect to display" in done.stderr
    assert "Traceback" not in done.stderr


async def test_closing_it_is_noticed_while_nothing_comes(vm: LabVm, tmp_path: Path) -> None:
    await vm.qmp_raw("stop")
    done = await wireshark(vm, window(tmp_path, "head -c 4 >/dev/null"), "--netdev", "u1")
    assert done.returncode == 0, done.stderr
    assert "filter-dump" not in await vm.hmp_raw("info network")


async def test_none_installed(vm: LabVm) -> None:
    done = await wireshark(vm, {**os.environ, "PATH": "/nonexistent"}, "--netdev", "u1")
    assert done.returncode == 1
    assert "nstall" in done.stderr
    assert "filter-dump" not in await vm.hmp_raw("info network")


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("--netdev", "nosuch"), 1, "nosuch"),
        (("--netdev", "u1", "tcp", "prot", "80"), 2, "prot"),
        (("-s", "0"), 2, "-s"),
    ],
)
async def test_what_is_refused(
    vm: LabVm, tmp_path: Path, words: tuple[str, ...], status: int, said: str
) -> None:
    environment = window(tmp_path, 'touch "$out"; cat >/dev/null')
    done = await wireshark(vm, environment, *words)
    assert done.returncode == status
    assert said in done.stderr
    assert not (tmp_path / "out").exists()
