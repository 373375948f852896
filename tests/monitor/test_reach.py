"""How a VM's monitor looks from another place: other files, another network, another user, another VM on its path."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

import qmon
from qmon.monitor import discovery
from qmon.monitor.address import UnixAddress
from qmon.monitor.discovery import Vm
from qmon.monitor.session import Session
from tests.lab import qemus, start_vm
from tests.lab.qemus import Qemu
from tests.lab.vm import LabVm

_UNSHARE = ("unshare",) if os.geteuid() == 0 else ("unshare", "--map-root-user")


def apart(qemu: Qemu, *words: str) -> Qemu:
    """The same QEMU in namespaces of its own, after a few words of shell."""
    if subprocess.run([*_UNSHARE, "--mount", "--net", "true"], check=False, capture_output=True).returncode:
        pytest.skip("this machine lets nobody make namespaces")
    return replace(qemu, argv=(*_UNSHARE, *words, *qemu.argv))


def seen(vm: LabVm) -> Vm:
    found = discovery.read_vm(vm.pid)
    assert found is not None
    return found


async def test_a_socket_among_other_files(qemu_one: Qemu, tmp_path: Path) -> None:
    script = f'mount -t tmpfs tmpfs {tmp_path} && exec "$@"'
    inside = apart(qemu_one, "--mount", "sh", "-c", script, "sh")
    path = tmp_path / "q.sock"
    async with start_vm(inside, "-qmp", f"unix:{path},server=on,wait=off", monitors=0) as vm:
        monitor = seen(vm).monitor
        assert monitor is not None
        assert monitor.address == UnixAddress(f"/proc/{vm.pid}/root{path}")
        assert not path.exists()
        async with await Session.attach(monitor.address, share=False) as session:
            assert (await session.execute("query-name"))["name"] == "lab"


async def test_another_network(qemu_one: Qemu) -> None:
    inside = apart(qemu_one, "--net")
    words = ("-qmp", "tcp:127.0.0.1:4444,server=on,wait=off")
    async with start_vm(inside, *words, lab_monitor=False) as vm:
        while len(seen(vm).monitors) < 2:
            pass
        by_path, by_port = sorted(seen(vm).monitors, key=lambda one: one.address is None)
        assert (by_path.address, by_path.state) == (UnixAddress(vm.qmp[0]), "free")
        assert by_port.reason == "its monitor listens at port 4444 in another network namespace"
        assert by_port.hint is not None
        assert f"nsenter --net=/proc/{vm.pid}/ns/net" in by_port.hint
        with closing(socket.socket(socket.AF_UNIX)) as client:
            # A socket that is bound already may not listen yet.
            while client.connect_ex(vm.qmp[0]):
                pass
            assert seen(vm).state == "busy"
            client.recv(1)
            assert seen(vm).state == "busy"


async def test_two_vms_on_one_path(qemu_one: Qemu, tmp_path: Path) -> None:
    words = ("-qmp", f"unix:{tmp_path}/q.sock,server=on,wait=off")
    async with start_vm(qemu_one, *words, monitors=0, lab_monitor=False, name="first") as first:
        while seen(first).state != "free":
            pass
        async with start_vm(qemu_one, *words, monitors=0, lab_monitor=False, name="second") as second:
            while seen(second).state != "free":
                pass
            assert seen(first).state == "none"
            assert f"was taken over by pid {second.pid}" in str(seen(first).reason)
            assert "one of its own" in str(seen(first).hint)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("-monitor", "unix:m.sock,server=on,wait=off"), "it has only a human monitor"),
        (("-qmp", "telnet:127.0.0.1:0,server=on,wait=off"), "telnet"),
        (("-qmp", "null"), "on null, not on a socket"),
        (
            ("-chardev", "socket,id=c,path=m.sock,server=on,wait=off,mux=on", "-mon", "c,mode=control"),
            "shares a socket with other devices (mux=on)",
        ),
    ],
)
async def test_monitors_of_no_use(words: tuple[str, ...], reason: str, qemu_one: Qemu) -> None:
    async with start_vm(qemu_one, *words, monitors=0, lab_monitor=False, name="odd one") as vm:
        while seen(vm).reason is None:
            pass
        assert reason in str(seen(vm).reason)
        assert "-qmp unix:/tmp/odd_one.qmp,server=on,wait=off" in str(seen(vm).hint)
        assert seen(vm).monitor is None


async def test_a_socket_that_was_removed(qemu_one: Qemu) -> None:
    async with start_vm(qemu_one) as vm:
        Path(vm.qmp[0]).unlink()
        assert seen(vm).state == "busy"  # What is left is the lab's own monitor.
        assert seen(vm).monitors[0].reason == f"its socket {vm.qmp[0]} is no longer there"


async def test_a_renamed_emulator(tmp_path: Path) -> None:
    system = qemus.system()
    if system is None:
        pytest.skip("no QEMU is installed here")
    # Some distributions build emulation in, others have it in a module that a moved binary does not find.
    module = next(Path("/usr/lib").glob("*/qemu/accel-tcg-x86_64.so"), None)
    env = {} if module is None else {"QEMU_MODULE_DIR": str(module.parent)}
    shutil.copy(system.argv[0], tmp_path / "emulator")
    odd = replace(
        system, argv=(str(tmp_path / "emulator"), "-L", "/usr/share/qemu", "-L", "/usr/share/seabios")
    )
    async with start_vm(odd, name="disguised", env=env) as vm:
        found = seen(vm)
        assert (found.name, found.binary, found.state) == ("disguised", "emulator", "free")


def as_nobody(pid: int) -> str:
    code = (
        "import sys; from qmon.monitor.discovery import read_vm; "
        "vm = read_vm(int(sys.argv[1])); print(vm.reason, vm.hint)"
    )
    with tempfile.TemporaryDirectory(prefix="qmon-nobody-", dir="/tmp") as place:
        # The checkout may lie where nobody else may look, as below /root.
        Path(place).chmod(0o755)
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(Path(qmon.__file__).parent, Path(place, "qmon"), ignore=ignored)
        python = os.path.realpath(sys.executable)
        done = subprocess.run(
            [
                *("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"),
                *(python, "-c", code, str(pid)),
            ],
            cwd="/",
            env={"PYTHONPATH": place, "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
async def test_another_user_is_told_who_can(qemu_one: Qemu) -> None:
    async with start_vm(qemu_one, lab_monitor=False) as vm:
        assert as_nobody(vm.pid).startswith(f"only root can reach its socket {vm.qmp[0]} Run qmon as root")
