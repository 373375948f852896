"""VMs of this host found by looking alone, on real QEMUs."""

import os
import socket
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from qmon.errors import CannotAttach
from qmon.monitor import discovery
from qmon.monitor.address import Name, Pid, TcpAddress, UnixAddress
from qmon.monitor.discovery import MonitorSocket, Vm
from qmon.monitor.session import Session
from tests.lab import start_vm
from tests.lab.qemus import Qemu
from tests.lab.vm import LabVm


def seen(vm: LabVm) -> Vm:
    found = [one for one in discovery.list_vms() if one.pid == vm.pid]
    assert len(found) == 1
    return found[0]


def qmp(vm: LabVm) -> MonitorSocket:
    monitor = seen(vm).monitor
    assert monitor is not None
    return monitor


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


async def test_a_vm_as_it_is_started_by_hand(qemu: Qemu) -> None:
    async with start_vm(qemu, name="hand[made]", machine="q35") as vm:
        found = seen(vm)
        assert (found.name, found.machine, found.uid) == ("hand[made]", "q35", os.getuid())
        assert found.binary == "qemu-system-x86_64"
        assert (found.state, found.reason, found.hint) == ("free", None, None)
        assert qmp(vm).address == UnixAddress(vm.qmp[0])
        assert found.is_running()
        # The lab's own monitor is held by this very process.
        held = found.monitors[1]
        assert (held.state, held.holder_pid) == ("busy", os.getpid())
    assert not found.is_running()


SPELLINGS: dict[str, tuple[tuple[str, ...], Callable[[Path], str]]] = {
    "relative": (("-qmp", "unix:rel.sock,server,nowait"), lambda here: f"unix:{here}/rel.sock"),
    "pretty": (("-qmp-pretty", "unix:p.sock,server=on,wait=off"), lambda here: f"unix:{here}/p.sock"),
    "configuration": (("-readconfig", "vm.cfg"), lambda here: f"unix:{here}/c.sock"),
    "abstract": (
        (
            "-chardev",
            "socket,id=c,abstract=on,path=qmon-abstract-{pid},server=on,wait=off",
            "-mon",
            "c,mode=control",
        ),
        lambda here: f"unix:@qmon-abstract-{os.getpid()}",
    ),
    "padded": (
        (
            "-chardev",
            "socket,id=c,abstract=on,tight=off,path=qmon-padded-{pid},server=on,wait=off",
            "-mon",
            "c,mode=control",
        ),
        lambda here: f"unix:@qmon-padded-{os.getpid()},tight=off",
    ),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
async def test_monitors_in_other_spellings(spelling: str, qemu_one: Qemu, tmp_path: Path) -> None:
    words, expected = SPELLINGS[spelling]
    config = tmp_path / "vm.cfg"
    config.write_text(
        '[chardev "c"]\n backend = "socket"\n path = "c.sock"\n server = "on"\n wait = "off"\n'
        '[mon "m"]\n mode = "control"\n chardev = "c"\n'
    )
    words = tuple(w.replace("vm.cfg", str(config)).replace("{pid}", str(os.getpid())) for w in words)
    async with start_vm(qemu_one, *words, monitors=0) as vm:
        monitors = {str(one.address): one for one in seen(vm).monitors}
        assert expected(vm.directory) in monitors
        address = monitors[expected(vm.directory)].address
        assert address is not None
        assert monitors[expected(vm.directory)].state == "free"
        async with await Session.attach(address, share=False) as session:
            assert session.peer_pid == vm.pid


async def test_tcp(qemu_one: Qemu) -> None:
    port = free_port()
    async with start_vm(qemu_one, "-qmp", f"tcp:127.0.0.1:{port},server=on,wait=off", monitors=0) as vm:
        addresses = {one.address: one for one in seen(vm).monitors}
        assert addresses[TcpAddress("127.0.0.1", port)].state == "free"
        with closing(socket.create_connection(("127.0.0.1", port))) as client:
            client.recv(1)
            held = next(one for one in seen(vm).monitors if one.address == TcpAddress("127.0.0.1", port))
            assert (held.state, held.holder_pid) == ("busy", os.getpid())


def test_a_descriptor_that_was_handed_over(qemu_one: Qemu, tmp_path: Path) -> None:
    path = str(tmp_path / "handed.sock")
    with closing(socket.socket(socket.AF_UNIX)) as listener:
        listener.bind(path)
        listener.listen(1)
        os.set_inheritable(listener.fileno(), True)
        words = (
            *qemu_one.argv,
            *("-nodefaults", "-display", "none", "-accel", "tcg", "-m", "16", "-name", "handed"),
            *("-chardev", f"socket,id=c,fd={listener.fileno()},server=on,wait=off", "-mon", "c,mode=control"),
        )
        pid = os.posix_spawn(words[0], words, {**os.environ, **qemu_one.env})
        try:
            while (found := discovery.read_vm(pid)) is None or found.monitor is None:
                pass
            assert found.monitor.address == UnixAddress(path)
            assert (found.name, found.state) == ("handed", "free")
        finally:
            os.kill(pid, 9)
            os.waitpid(pid, 0)


async def test_busy_names_the_holder(qemu_one: Qemu) -> None:
    async with start_vm(qemu_one, name="busy-one") as vm:
        with closing(socket.socket(socket.AF_UNIX)) as client:
            client.connect(vm.qmp[0])
            client.recv(1)
            found = seen(vm)
            assert found.state == "busy"
            assert found.reason is not None
            assert f"pid {os.getpid()}" in found.reason
            assert found.hint is not None
            assert "-qmp unix:/tmp/busy-one.qmp" in found.hint
        assert seen(vm).state in ("busy", "free")


async def test_shared_is_what_a_qmon_holds(qemu_one: Qemu) -> None:
    async with start_vm(qemu_one) as vm, await Session.attach(UnixAddress(vm.qmp[0])):
        assert seen(vm).state == "shared"
        assert seen(vm).reason is None


async def test_a_vm_that_waits_is_not_touched(qemu: Qemu) -> None:
    words = ("-qmp", "unix:wait.sock,server=on")
    async with start_vm(qemu, *words, monitors=0, lab_monitor=False) as vm:
        path = vm.directory / "wait.sock"
        while not path.exists():
            pass
        assert [seen(vm).state for _ in range(3)] == ["waiting"] * 3
        # It waits for its first client, and has not been given one by being looked at.
        async with await Session.attach(UnixAddress(str(path)), share=False) as session:
            assert (await session.execute("query-status"))["status"] == "running"
        # QEMU may take a moment to notice that its client has left.
        while seen(vm).state != "free":
            pass


async def test_without_a_monitor_the_option_is_told(qemu_one: Qemu) -> None:
    async with start_vm(qemu_one, monitors=0, lab_monitor=False, name="mute") as vm:
        found = seen(vm)
        assert (found.monitor, found.state) == (None, "none")
        assert found.hint is not None
        assert "-qmp unix:/tmp/mute.qmp,server=on,wait=off" in found.hint
        with pytest.raises(CannotAttach, match="without a monitor socket"):
            discovery.resolve(Pid(vm.pid))


async def test_targets(qemu_one: Qemu) -> None:
    name = f"twin-{os.getpid()}"
    async with start_vm(qemu_one, name=name) as first:
        assert discovery.resolve(Name(name)).address == UnixAddress(first.qmp[0])
        assert discovery.resolve(Pid(first.pid)).address == UnixAddress(first.qmp[0])
        by_path = discovery.resolve(UnixAddress(first.qmp[0]))
        assert by_path.vm is not None
        assert by_path.vm.pid == first.pid
        async with start_vm(qemu_one, name=name) as second:
            with pytest.raises(CannotAttach) as several:
                discovery.resolve(Name(name))
            assert f"pid:{first.pid}" in str(several.value)
            assert f"pid:{second.pid}" in str(several.value)
            with pytest.raises(CannotAttach, match="several VMs are running"):
                discovery.resolve(None)
    with pytest.raises(CannotAttach, match="no VM named"):
        discovery.resolve(Name(name))
    with pytest.raises(CannotAttach, match="is not a QEMU process"):
        discovery.resolve(Pid(os.getpid()))


def test_wrappers_are_not_vms() -> None:
    assert discovery.read_vm(os.getpid()) is None
    words = (sys.executable, "-c", "input()", "qemu-system-x86_64", "-qmp", "unix:x,server=on")
    read_end, write_end = os.pipe()
    pid = os.posix_spawn(words[0], words, dict(os.environ), file_actions=[(os.POSIX_SPAWN_DUP2, read_end, 0)])
    try:
        while not Path(f"/proc/{pid}/cmdline").read_bytes():
            pass
        assert discovery.read_vm(pid) is None
    finally:
        os.close(write_end)
        os.close(read_end)
        os.waitpid(pid, 0)
    assert discovery.read_vm(pid) is None
