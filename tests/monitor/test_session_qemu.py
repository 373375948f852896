"""The session with real QEMUs: what the fakes only pretend."""

import asyncio
import contextlib
import os
import signal
import socket
from pathlib import Path

import pytest

from qmon.errors import CannotAttach, Interrupted, Refused, TimedOut
from qmon.monitor import commands, processes
from qmon.monitor.address import Address, TcpAddress, UnixAddress
from qmon.monitor.session import Session, Version, attach
from tests.lab import start_vm
from tests.lab.conversations import STORIES, VM_ARGUMENTS
from tests.lab.qemus import Qemu
from tests.lab.qmp import QmpClient


@pytest.mark.parametrize("story", STORIES)
async def test_story(qemu: Qemu, story: str) -> None:
    """What is recorded in fixtures/ is what this QEMU says today."""
    async with start_vm(qemu, *VM_ARGUMENTS) as vm, await Session.attach(UnixAddress(vm.qmp[0])) as session:
        assert str(session.version) == qemu.full
        assert session.version >= Version(7, 0, 0)
        assert session.peer_pid == vm.pid
        await STORIES[story](session)


async def test_a_descriptor_arrives_as_the_number_that_is_told(qemu: Qemu) -> None:
    async with start_vm(qemu) as vm, await Session.attach(UnixAddress(vm.qmp[0])) as session:
        fd = os.memfd_create("qmon-test")
        added = await commands.add_fd(session, fd, opaque="x")
        os.close(fd)
        assert str(Path(f"/proc/{vm.pid}/fd/{added.fd}").readlink()).startswith("/memfd:qmon-test")


async def test_a_busy_monitor_names_its_client_and_leaves_nothing_pending(
    qemu: Qemu, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with start_vm(qemu) as vm:
        address = UnixAddress(vm.qmp[0])
        stranger = await QmpClient.connect(vm.qmp[0])
        with pytest.raises(CannotAttach) as busy:
            await Session.attach(address)
        assert f"it already has a client: pid {os.getpid()}" in busy.value.message
        assert "-qmp unix:" in str(busy.value.hint)
        clients = processes.clients_of(address)
        assert clients is not None
        assert (clients.connected, clients.pending) == (1, 0)
        # A client that leaves while we look is waited for.
        looked = asyncio.Event()

        def look(of: Address) -> processes.Clients | None:
            looked.set()
            return clients_of(of)

        clients_of = processes.clients_of
        monkeypatch.setattr(processes, "clients_of", look)
        attaching = asyncio.create_task(Session.attach(address))
        await looked.wait()
        await stranger.close()
        async with await attaching as session:
            assert await session.execute("query-name") == {"name": "lab"}


async def test_others_waiting_at_a_busy_monitor(qemu_one: Qemu) -> None:
    """A third client's connection would be refused with EAGAIN; we do not even try."""
    async with start_vm(qemu_one) as vm:
        address = UnixAddress(vm.qmp[0])
        with contextlib.ExitStack() as stack:
            for _ in range(5):
                waiting = stack.enter_context(socket.socket(socket.AF_UNIX))
                waiting.settimeout(0.2)
                with contextlib.suppress(BlockingIOError, TimeoutError):
                    waiting.connect(vm.qmp[0])
            with pytest.raises(CannotAttach, match="already has a client"):
                await Session.attach(address)
        async with await Session.attach(address) as session:
            assert await session.execute("query-name") == {"name": "lab"}


async def test_a_stopped_vm_is_said_to_be_stopped(qemu_one: Qemu) -> None:
    async with start_vm(qemu_one) as vm:
        async with await Session.attach(UnixAddress(vm.qmp[0])) as session:
            vm.send_signal(signal.SIGSTOP)
            with pytest.raises(TimedOut, match=f"the VM \\(pid {vm.pid}\\) is stopped") as late:
                await session.execute("query-status", timeout_s=0.2)
            assert f"kill -CONT {vm.pid}" in str(late.value.hint)
            vm.send_signal(signal.SIGCONT)
            assert (await session.execute("query-status"))["running"]
        vm.send_signal(signal.SIGSTOP)
        with pytest.raises(CannotAttach, match="stopped"):
            await Session.attach(UnixAddress(vm.qmp[0]), timeout_s=1)
        vm.send_signal(signal.SIGCONT)
        async with await Session.attach(UnixAddress(vm.qmp[0])) as session:
            assert (await session.execute("query-status"))["running"]


async def test_a_vm_that_waits_for_its_first_client(qemu_one: Qemu) -> None:
    words = "-chardev socket,id=m,path={directory}/wait.sock,server=on,wait=on -mon chardev=m,mode=control"
    async with start_vm(qemu_one, *words.split(), monitors=0, lab_monitor=False) as vm:
        path = vm.directory / "wait.sock"
        while not path.exists():  # noqa: ASYNC110 (QEMU tells nobody yet)
            await asyncio.sleep(0.01)
        async with await Session.attach(UnixAddress(str(path))) as session:
            assert (await session.execute("query-status"))["status"] == "running"


async def test_a_tcp_monitor(qemu: Qemu, unused_tcp_port: int) -> None:
    words = f"-qmp tcp:127.0.0.1:{unused_tcp_port},server=on,wait=off"
    async with start_vm(qemu, *words.split(), monitors=0) as vm:
        address = TcpAddress("localhost", unused_tcp_port)
        async with await Session.attach(address) as session, await Session.attach(address) as other:
            assert (session.shared, other.shared) == (False, True)
            assert await other.execute("query-name") == {"name": "lab"}
            for either in (session, other):
                assert not either.can_pass_descriptors
                with pytest.raises(Refused, match="cannot carry descriptors"):
                    await commands.add_fd(either, 0, opaque="x")
        async with await Session.attach(address, share=False):
            with pytest.raises(CannotAttach, match=f"pid {os.getpid()}"):
                await Session.attach(address, share=False)
        assert vm.running


async def test_a_pretty_monitor(qemu: Qemu) -> None:
    words = "-qmp-pretty unix:{directory}/pretty.sock,server=on,wait=off"
    async with start_vm(qemu, *VM_ARGUMENTS, *words.split(), monitors=0) as vm:
        address = UnixAddress(str(vm.directory / "pretty.sock"))
        async with await Session.attach(address) as session, await Session.attach(address) as other:
            assert other.shared
            await STORIES["look"](session)
            await STORIES["change"](other)


async def test_an_abstract_socket(qemu_one: Qemu) -> None:
    name = f"qmon-test-{os.getpid()}"
    words = f"-chardev socket,id=m,path={name},abstract=on,server=on,wait=off -mon chardev=m,mode=control"
    async with (
        start_vm(qemu_one, *words.split(), monitors=0),
        await Session.attach(UnixAddress(f"@{name}")) as session,
    ):
        assert await session.execute("query-name") == {"name": "lab"}
        with pytest.raises(CannotAttach, match="already has a client"):
            await Session.attach(UnixAddress(f"@{name}"), share=False)


async def test_a_human_monitor_is_recognised(qemu: Qemu) -> None:
    words = "-monitor unix:{directory}/hmp.sock,server=on,wait=off"
    async with start_vm(qemu, *words.split(), monitors=0) as vm:
        with pytest.raises(CannotAttach, match="human monitor"):
            await Session.attach(UnixAddress(str(vm.directory / "hmp.sock")))


async def test_a_killed_vm_interrupts_what_is_asked(qemu_one: Qemu) -> None:
    async with start_vm(qemu_one) as vm, await Session.attach(UnixAddress(vm.qmp[0])) as session:
        vm.send_signal(signal.SIGSTOP)
        asking = asyncio.create_task(session.execute("query-status"))
        await asyncio.sleep(0)  # It is sent as soon as it has its turn.
        vm.send_signal(signal.SIGKILL)
        with pytest.raises(Interrupted):
            await asking
        assert "closed" in await session.wait_lost()


async def test_a_session_is_not_carried_over_to_another_vm(qemu_one: Qemu) -> None:
    """A VM started anew at the same address is another VM: reconnecting is for whoever watches."""
    async with start_vm(qemu_one) as vm, await Session.attach(UnixAddress(vm.qmp[0])) as session:
        await session.execute("quit")
        await session.wait_lost()
        with pytest.raises(Interrupted, match="the monitor is gone"):
            await session.execute("query-status")


async def test_attach_finds_the_vm_by_its_address(qemu_one: Qemu) -> None:
    async with start_vm(qemu_one) as vm, attach(UnixAddress(vm.qmp[0])) as session:
        assert session.peer_pid == vm.pid
