"""KVM is used only where a guest's firmware came to booting under it. Scripts stand for QEMU."""

import shlex
from pathlib import Path

import pytest

from qmon.demo.accelerator import kvm_works
from tests.lab.qemus import Qemu


def works(tmp_path: Path, script: str, *, deadline_s: float = 5) -> bool:
    qemu = tmp_path / "qemu"
    qemu.write_text(f"#!/bin/sh\n{script}\n")
    qemu.chmod(0o755)
    return kvm_works([str(qemu)], deadline_s=deadline_s, device=Path("/dev/null"))


def test_a_guest_that_speaks(tmp_path: Path) -> None:
    assert works(
        tmp_path, "printf 'SeaBIOS (version x) Boot'; sleep 0.1; printf 'ing from ROM...'; exec sleep 60"
    )


@pytest.mark.parametrize(
    "script",
    ["echo 'failed to initialize kvm' >&2; exit 1", "echo SeaBIOS", "kill -SEGV $$"],
)
def test_a_qemu_that_fails(tmp_path: Path, script: str) -> None:
    assert not works(tmp_path, script)


def test_a_guest_that_hangs(tmp_path: Path) -> None:
    assert not works(tmp_path, "echo SeaBIOS; exec sleep 60", deadline_s=0.2)


def test_no_program_and_no_device(tmp_path: Path) -> None:
    assert not kvm_works(["/nonexistent/qemu"], device=Path("/dev/null"))
    assert not kvm_works(["true"], device=tmp_path / "kvm")


def test_the_probe_is_about_kvm(tmp_path: Path) -> None:
    assert works(tmp_path, '[ "$1 $2" = "-accel kvm" ] && echo Booting from ROM; exec sleep 60')


async def test_a_real_guest_says_the_word(qemu: Qemu, tmp_path: Path) -> None:
    """Under emulation, which every machine has: what the probe waits for is what a guest prints."""
    settings = " ".join(f"{name}={shlex.quote(value)}" for name, value in qemu.env.items())
    emulated = f'shift 2; exec env {settings} {shlex.join(qemu.argv)} -accel tcg "$@"'
    assert works(tmp_path, emulated, deadline_s=60)
