"""The quick look at every VM: complete where a monitor answers, never slow, never in anybody's way."""

import asyncio
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from qmon.export import extcap_vms
from qmon.export.extcap_vms import listed_vms
from qmon.monitor.address import UnixAddress
from qmon.monitor.discovery import MonitorSocket, Vm
from qmon.monitor.session import Session
from tests.lab import start_vm
from tests.lab.qemus import Qemu

GREETING = b'{"QMP": {"version": {}, "capabilities": []}}\r\n'
NETWORK = "n1: index=0,type=nic,model=e1000,macaddr=52:54:00:00:00:01\r\n \\ hot: index=0,type=user,net=10.0.2.0\r\n"


@contextmanager
def monitor(path: Path, talk: Callable[[socket.socket], None]) -> Iterator[None]:
    """A monitor that does what `talk` does with its first client."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()

        def serve() -> None:
            try:
                client, _ = listening.accept()
            except OSError:
                return  # The block has ended without a client.
            with client:
                talk(client)

        server = threading.Thread(target=serve)
        server.start()
        try:
            yield
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            server.join(10)
        assert not server.is_alive()


def until_left(client: socket.socket) -> None:
    while client.recv(4096):
        pass


def good(client: socket.socket, greeting: bytes = GREETING) -> None:
    client.sendall(greeting)
    with client.makefile("rb") as lines:
        request = json.loads(lines.readline())
        assert request["execute"] == "qmp_capabilities"
        answer = json.dumps({"return": {}, "id": request["id"]}).encode() + b"\r\n"
        client.sendall(answer + b'{"event": "RESUME", "timestamp": {}}\r\n')
        request = json.loads(lines.readline())
        assert request["execute"] == "human-monitor-command"
        answer = json.dumps({"return": NETWORK, "id": request["id"]}).encode() + b"\r\n"
        client.sendall(answer[:10])
        client.sendall(answer[10:])
        assert not lines.readline()


def vm_at(path: Path, monkeypatch: pytest.MonkeyPatch, *, state: str = "free") -> None:
    argv = ("qemu", "-netdev", "user,id=cold")
    sockets = (MonitorSocket(UnixAddress(str(path)), "qmp", state),)
    vm = Vm(7, 1, "web", "pc", "qemu", 0, argv, sockets)
    monkeypatch.setattr(extcap_vms, "list_vms", lambda: [vm])


def netdevs(answer_s: float = 10) -> tuple[tuple[str, str], ...]:
    return listed_vms(answer_s=answer_s)[0].netdevs


def test_a_monitor_that_answers(runtime_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vm_at(runtime_directory / "m", monkeypatch)
    with monitor(runtime_directory / "m", good):
        assert netdevs() == (("hot", "user, e1000"),)


LATE = b'{"return": {}}\r\n{"error": {"class": "GenericError", "desc": "no"}, "id": 7}\r\n'


def test_late_replies_to_a_client_that_left(runtime_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def talk(client: socket.socket) -> None:
        good(client, LATE + GREETING + LATE)

    vm_at(runtime_directory / "m", monkeypatch)
    with monitor(runtime_directory / "m", talk):
        assert netdevs() == (("hot", "user, e1000"),)


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b'{"a":' * 5000 + b"\n",
        b"SSH-2.0-OpenSSH\r\n",
        b"\x00\xff\n",
        b"[1, 2]\n",
        GREETING + b'{"error": {"class": "GenericError", "desc": "no"}}\n',
        GREETING + b'{"return": {}}\n',
        GREETING * 20_000,
        b"x" * (2 << 20),
    ],
)
def test_a_monitor_that_talks_nonsense(
    runtime_directory: Path, monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    def talk(client: socket.socket) -> None:
        try:
            client.sendall(said)
            client.shutdown(socket.SHUT_WR)
            until_left(client)
        except OSError:
            return  # The asker had heard enough.

    vm_at(runtime_directory / "m", monkeypatch)
    with monitor(runtime_directory / "m", talk):
        assert netdevs() == (("cold", "user"),)


def test_a_silent_monitor_is_left_after_the_deadline(
    runtime_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = threading.Event()

    def silent(client: socket.socket) -> None:
        until_left(client)
        left.set()

    vm_at(runtime_directory / "m", monkeypatch)
    with monitor(runtime_directory / "m", silent):
        assert netdevs(0.1) == (("cold", "user"),)
        assert left.wait(30)


@pytest.mark.parametrize("state", ["busy", "waiting"])
def test_a_monitor_that_is_not_ours_to_touch_is_not_touched(
    runtime_directory: Path, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    vm_at(runtime_directory / "m", monkeypatch, state=state)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(runtime_directory / "m"))
        listening.listen()
        listening.setblocking(False)
        assert netdevs() == (("cold", "user"),)
        with pytest.raises(BlockingIOError):
            listening.accept()


def test_a_monitor_that_is_gone(runtime_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vm_at(runtime_directory / "none", monkeypatch)
    assert netdevs() == (("cold", "user"),)


def test_a_vm_without_a_monitor_is_not_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extcap_vms, "list_vms", lambda: [Vm(7, 1, "web", "pc", "qemu", 0, ("qemu",), ())])
    assert listed_vms() == ()


async def test_a_real_vm_with_a_hot_plugged_netdev(qemu: Qemu) -> None:
    netdev = ("-netdev", "user,id=u1", "-device", "e1000,netdev=u1,id=n1")
    async with start_vm(qemu, *netdev, "-nic", "hubport,hubid=1,id=p1") as vm:
        await vm.qmp_raw("netdev_add", {"type": "user", "id": "hot"})
        found = await asyncio.to_thread(listed_vms, answer_s=10)
        ours = next(listed for listed in found if listed.vm.pid == vm.pid)
        assert ("u1", "user, e1000") in ours.netdevs
        assert ("hot", "user") in ours.netdevs
        # It went, and the monitor is free for others.
        async with await Session.attach(UnixAddress(vm.qmp[0])):
            found = await asyncio.to_thread(listed_vms, answer_s=10)
            shared = next(listed for listed in found if listed.vm.pid == vm.pid)
            assert shared.vm.state == "shared"
            assert shared.netdevs == ours.netdevs


def test_nothing_slow_is_imported() -> None:
    program = "import sys, qmon.export.extcap, qmon.export.extcap_vms, qmon.cli.extcap; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True
    )
    assert not {"asyncio", "numpy", "psutil", "qemu", "scapy", "textual"} & set(done.stdout.split())
