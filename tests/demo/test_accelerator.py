"""KVM is used only where a guest's firmware was heard under it. Scripts stand for QEMU."""

from pathlib import Path

import pytest

from qmon.demo.accelerator import kvm_works


def works(tmp_path: Path, script: str, *, deadline_s: float = 5) -> bool:
    qemu = tmp_path / "qemu"
    qemu.write_text(f"#!/bin/sh\n{script}\n")
    qemu.chmod(0o755)
    return kvm_works([str(qemu)], deadline_s=deadline_s, device=Path("/dev/null"))


def test_a_guest_that_speaks(tmp_path: Path) -> None:
    assert works(tmp_path, "printf 'Sea'; sleep 0.1; printf 'BIOS (version x)'; exec sleep 60")


@pytest.mark.parametrize(
    "script",
    ["echo 'failed to initialize kvm' >&2; exit 1", "echo something else", "kill -SEGV $$"],
)
def test_a_qemu_that_fails(tmp_path: Path, script: str) -> None:
    assert not works(tmp_path, script)


def test_a_guest_that_hangs(tmp_path: Path) -> None:
    assert not works(tmp_path, "exec sleep 60", deadline_s=0.2)


def test_no_program_and_no_device(tmp_path: Path) -> None:
    assert not kvm_works(["/nonexistent/qemu"], device=Path("/dev/null"))
    assert not kvm_works(["true"], device=tmp_path / "kvm")


def test_the_probe_is_about_kvm(tmp_path: Path) -> None:
    assert works(tmp_path, '[ "$1 $2" = "-accel kvm" ] && echo SeaBIOS; exec sleep 60')
