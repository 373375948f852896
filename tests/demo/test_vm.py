"""The demo's VM, on real QEMUs: it makes traffic, and leaves nothing."""

import re
import socket
from pathlib import Path

import pytest

from qmon.demo.vm import DemoVm, arguments
from qmon.errors import QmonError
from qmon.monitor.address import UnixAddress
from qmon.monitor.session import Session
from tests.lab.qemus import Qemu


def script_for_qemu(directory: Path, text: str) -> list[str]:
    path = directory / "qemu"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return [str(path)]


def test_a_comma_in_a_path_stays_one_value(tmp_path: Path) -> None:
    words = arguments(Path("/tmp/a,b"), Path("/tmp/a,b/tftp"), "tcg", paused=False)
    assert any("path=/tmp/a,,b/qmp.sock" in word for word in words)
    assert any("tftp=/tmp/a,,b/tftp" in word for word in words)


def test_only_a_paused_vm_is_paused() -> None:
    assert "-S" in arguments(Path("/x"), Path("/x"), "kvm", paused=True)
    assert "-S" not in arguments(Path("/x"), Path("/x"), "kvm", paused=False)


async def test_several_run_side_by_side(qemu_one: Qemu, runtime_directory: Path) -> None:
    with (
        DemoVm(qemu=qemu_one.argv, env=qemu_one.env, accel="tcg", paused=True) as one,
        DemoVm(qemu=qemu_one.argv, env=qemu_one.env, accel="tcg", paused=True) as other,
    ):
        assert one.process.monitor != other.process.monitor
        ports = set()
        for vm in (one, other):
            async with await Session.attach(UnixAddress(str(vm.process.monitor))) as session:
                usernet = await session.hmp("info usernet")
                ports.add(re.search(r"HOST_FORWARD\]\s+\d+\s+127\.0\.0\.1\s+(\d+)", usernet)[1])  # type: ignore[index]
        assert len(ports) == 2
        assert len(list(runtime_directory.glob("qmon-vm-*"))) == 2
    assert one.process.status == other.process.status == 0
    assert not list(runtime_directory.glob("qmon-vm-*"))
    for port in ports:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", int(port)), timeout=5)


def test_a_missing_boot_rom_names_the_package(qemu_one: Qemu, tmp_path: Path) -> None:
    words = " ".join((*(f"{name}={value}" for name, value in qemu_one.env.items()), *qemu_one.argv))
    qemu = script_for_qemu(tmp_path, f'exec env {words} -global virtio-net-pci.romfile=nosuch.rom "$@"')
    with pytest.raises(QmonError, match="boot ROM") as caught, DemoVm(qemu=qemu, accel="tcg"):
        raise AssertionError
    assert "nstall" in str(caught.value.hint)


def test_another_failure_of_qemus_is_told(tmp_path: Path) -> None:
    qemu = script_for_qemu(tmp_path, "echo network backend 'user' is not compiled in >&2; exit 1")
    with pytest.raises(QmonError, match="status 1") as caught, DemoVm(qemu=qemu, accel="tcg"):
        raise AssertionError
    assert "not compiled in" in str(caught.value.hint)


def test_a_qemu_that_opens_no_monitor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qmon.demo.vm.START_S", 0.3)
    qemu = script_for_qemu(tmp_path, "exec sleep 60")
    with pytest.raises(QmonError, match="no monitor"), DemoVm(qemu=qemu, accel="tcg"):
        raise AssertionError


def test_where_kvm_does_not_work_the_guest_is_emulated(
    qemu_one: Qemu, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qmon.demo.accelerator.kvm_works", lambda _: False)
    with DemoVm(qemu=qemu_one.argv, env=qemu_one.env, paused=True) as vm:
        assert vm.accel == "tcg"
        assert "tcg" in repr(vm)
