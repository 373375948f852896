"""What qmon's package promises: commands load only what they need, and every file of it is packed."""

import json
import os
import subprocess
import sys
import tomllib
from importlib.metadata import distribution
from pathlib import Path

import pytest

from qmon import __version__
from qmon.cli.main import _COMMANDS, LazyGroup
from tests.lab import LabVm, Qemu, start_vm

ROOT = Path(__file__).parent.parent
HEAVY = {"scapy", "textual", "textual_plot"}

# Runs the program in a process of its own and leaves the names of all loaded modules in a file.
_DRIVER = """
import atexit, json, sys
from pathlib import Path

def leave(path=sys.argv[1]):
    Path(path).write_text(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))

atexit.register(leave)
sys.argv = ["qmon", *sys.argv[2:]]
from qmon.cli.main import main
main()
"""


def _loaded(directory: Path, *words: str) -> tuple[set[str], subprocess.CompletedProcess[str]]:
    """Run `qmon WORDS`; the top-level modules it had loaded at its end."""
    names = directory / "modules.json"
    done = subprocess.run(
        [sys.executable, "-c", _DRIVER, str(names), *words], capture_output=True, text=True, timeout=60
    )
    assert names.exists(), done.stderr
    return set(json.loads(names.read_text())), done


def test_the_version_costs_next_to_nothing(tmp_path: Path) -> None:
    loaded, done = _loaded(tmp_path, "--version")
    assert done.stdout == f"qmon {__version__}\n"
    assert not loaded & (HEAVY | {"numpy", "qemu", "psutil", "asyncio", "cypcap"})


def test_the_help_loads_no_command(tmp_path: Path) -> None:
    loaded, done = _loaded(tmp_path, "--help")
    assert all(name in done.stdout for name, _, _ in _COMMANDS)
    assert not loaded & (HEAVY | {"numpy", "qemu", "psutil", "cypcap"})


def test_listing_vms_loads_no_packets(tmp_path: Path) -> None:
    loaded, done = _loaded(tmp_path, "ls", "-o", "json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["schema_version"] == 1
    assert not loaded & (HEAVY | {"numpy", "cypcap"})


async def _one_vm_command(vm: LabVm, directory: Path, *words: str) -> set[str]:
    import asyncio

    loaded, done = await asyncio.to_thread(_loaded, directory, "--vm", vm.qmp[0], *words)
    assert done.returncode == 0, done.stderr
    return loaded


async def test_the_monitor_and_a_recording_load_neither_scapy_nor_textual(
    qemu_one: Qemu, tmp_path: Path
) -> None:
    file = str(tmp_path / "packets.pcapng")
    async with start_vm(qemu_one, guest="ipxe") as vm:
        assert not await _one_vm_command(vm, tmp_path, "hmp", "info name") & (HEAVY | {"numpy"})
        assert not await _one_vm_command(vm, tmp_path, "info", "network") & (HEAVY | {"numpy"})
        assert (
            not await _one_vm_command(vm, tmp_path, "dump", "--netdev", "u1", "-c", "3", "-w", file) & HEAVY
        )
    assert not _loaded(tmp_path, "read", file)[0] & HEAVY


@pytest.mark.parametrize("name", [name for name, _, _ in _COMMANDS])
def test_every_command_in_the_help_is_there(name: str) -> None:
    import click

    command = LazyGroup().get_command(click.Context(click.Command("qmon")), name)
    assert command is not None
    assert command.help


def test_every_file_of_the_package_is_packed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    patterns = project["tool"]["setuptools"]["package-data"]["qmon"]
    package = ROOT / "qmon"
    packed = {path for pattern in patterns for path in package.glob(pattern)}
    for path in package.rglob("*"):
        if path.is_dir() or "__pycache__" in path.parts:
            continue
        if path.suffix == ".py":
            assert (path.parent / "__init__.py").exists(), f"{path.parent} is no package"
        else:
            assert path in packed, f"{path} matches no pattern of package-data"


def test_the_installed_program_is_this_one() -> None:
    assert distribution("qmon").version == __version__
    assert os.access(Path(sys.executable).with_name("qmon"), os.X_OK)


def test_ci_runs_make_test_and_nothing_else() -> None:
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    assert lines[0] == "#!/bin/sh"
    assert [line for line in lines[1:] if line.strip()] == [lines[-1]]
    assert lines[-1].endswith("make test")
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
