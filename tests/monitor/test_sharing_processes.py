"""One monitor of a real QEMU shared by several processes: joining, hand-over on every way a holder can end."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections import deque
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from tests.lab import start_vm
from tests.lab.qemus import Qemu
from tests.lab.vm import LabVm

VM = ("-netdev", "user,id=u1")


class Worker:
    """A qmon in a process of its own; see worker.py."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.told: deque[dict[str, Any]] = deque()

    async def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        async with asyncio.timeout(20):
            line = await self.process.stdout.readline()
        assert line, "the worker ended"
        message: dict[str, Any] = json.loads(line)
        return message

    async def answer(self) -> dict[str, Any]:
        while True:
            message = await self._read()
            if "result" in message or "error" in message:
                return message
            self.told.append(message)

    async def wait_told(self, **content: Any) -> None:
        while content not in self.told:
            self.told.append(await self._read())
        self.told.remove(content)

    async def ask(self, *request: Any) -> dict[str, Any]:
        self.send(*request)
        return await self.answer()

    def send(self, *request: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(request).encode() + b"\n")

    async def result(self, *request: Any) -> Any:
        answer = await self.ask(*request)
        assert "result" in answer, answer
        return answer["result"]


@asynccontextmanager
async def started(vm: LabVm) -> AsyncIterator[Worker]:
    """A worker on the VM's only free monitor, not yet attached."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.monitor.worker",
        vm.qmp[0],
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield Worker(process)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


@asynccontextmanager
async def workers(vm: LabVm, number: int) -> AsyncIterator[list[Worker]]:
    """Workers attached one after another: the first holds the monitor."""
    async with AsyncExitStack() as stack:
        made = []
        for _ in range(number):
            worker = await stack.enter_async_context(started(vm))
            assert await worker.answer() == {"result": "attached"}
            made.append(worker)
        yield made


async def test_three_qmons_on_one_monitor(qemu: Qemu) -> None:
    async with start_vm(qemu, *VM) as vm, workers(vm, 3) as (first, second, third):
        assert await first.result("state") == {"shared": False, "holder": None, "vm": vm.pid}
        for other in (second, third):
            assert await other.result("state") == {"shared": True, "holder": first.process.pid, "vm": vm.pid}
            assert await other.result("execute", "query-name") == {"name": "lab"}
        passed = [
            await worker.result("pass_descriptor", f"w{n}") for n, worker in enumerate((first, second, third))
        ]
        sets = await vm.qmp_raw("query-fdsets")
        assert {(s["fdset-id"], s["fds"][0]["fd"], s["fds"][0]["opaque"]) for s in sets} == {
            (fdset, fd, f"w{n}") for n, (fdset, fd) in enumerate(passed)
        }
        refused = await third.ask("execute", "netdev_del", {"id": "none"})
        assert refused["error"] == "Refused"
        assert "Device 'none' not found" in refused["message"]
        await second.result("execute", "stop")
        for worker in (first, second, third):
            await worker.wait_told(event="STOP")


async def test_a_killed_holder_is_followed_by_another(qemu: Qemu) -> None:
    async with start_vm(qemu, *VM) as vm, workers(vm, 3) as (first, second, third):
        first.process.kill()
        states = [await worker.result("state") for worker in (second, third)]
        while {state["shared"] for state in states} != {True, False}:
            states = [await worker.result("state") for worker in (second, third)]
        new, other = (second, third) if not states[0]["shared"] else (third, second)
        await new.wait_told(handover=None)
        await other.wait_told(handover=new.process.pid)
        for worker in (second, third):
            assert await worker.result("execute", "query-name") == {"name": "lab"}
            assert len(await worker.result("pass_descriptor", "after")) == 2
        await vm.qmp_raw("stop")
        for worker in (second, third):
            await worker.wait_told(event="STOP")


async def test_a_holder_that_leaves_hands_over_what_was_not_sent(qemu_one: Qemu) -> None:
    """With commands under way all the time, an orderly end interrupts none of them."""
    async with start_vm(qemu_one, *VM) as vm, workers(vm, 3) as (first, second, third):
        for _ in range(300):
            for worker in (second, third):
                worker.send(
                    "execute", "qom-set", {"path": "/machine", "property": "suppress-vmdesc", "value": True}
                )
        first.send("close")
        answers = [await worker.answer() for worker in (second, third) for _ in range(300)]
        assert answers == [{"result": {}}] * 600
        assert await first.answer() == {"result": "closed"}
        assert {(await worker.result("state"))["shared"] for worker in (second, third)} == {True, False}


async def test_an_interrupted_holder_hands_over(qemu_one: Qemu) -> None:
    async with start_vm(qemu_one, *VM) as vm, workers(vm, 2) as (first, second):
        first.process.send_signal(signal.SIGINT)
        await second.wait_told(handover=None)
        assert (await second.result("state"))["shared"] is False
        assert await second.result("execute", "query-name") == {"name": "lab"}


async def test_a_stopped_holder_is_named(qemu_one: Qemu) -> None:
    async with start_vm(qemu_one, *VM) as vm, workers(vm, 2) as (first, second):
        first.process.send_signal(signal.SIGSTOP)
        late = await second.ask("execute_within", "query-name", 0.3)
        assert late["error"] == "TimedOut"
        assert f"pid {first.process.pid}" in late["message"]
        assert f"kill -CONT {first.process.pid}" in late["message"]
        async with started(vm) as third:
            refused = await third.answer()
        assert refused["error"] == "CannotAttach"
        assert f"pid {first.process.pid}" in refused["message"]
        assert "stopped" in refused["message"]
        first.process.send_signal(signal.SIGCONT)
        assert await second.result("execute", "query-name") == {"name": "lab"}


async def test_many_that_start_at_once_agree_on_one_holder(qemu_one: Qemu) -> None:
    async with start_vm(qemu_one, *VM) as vm, AsyncExitStack() as stack:
        made = [await stack.enter_async_context(started(vm)) for _ in range(6)]
        for worker in made:
            assert await worker.answer() == {"result": "attached"}
        states = [await worker.result("state") for worker in made]
        holders = [
            worker.process.pid for worker, state in zip(made, states, strict=True) if not state["shared"]
        ]
        assert len(holders) == 1
        assert {state["holder"] for state in states} == {None, holders[0]}


async def test_all_learn_that_the_vm_has_ended(qemu_one: Qemu) -> None:
    async with start_vm(qemu_one, *VM) as vm, workers(vm, 3) as made:
        vm.send_signal(signal.SIGKILL)
        for worker in made:
            assert "closed by the other side" in await worker.result("wait_lost")
            gone = await worker.ask("execute", "query-name")
            assert gone["error"] == "Interrupted"


async def test_killed_one_after_another(qemu_one: Qemu) -> None:
    async with start_vm(qemu_one, *VM) as vm, workers(vm, 5) as made:
        left = list(made)
        while len(left) > 1:
            states = {worker: await worker.result("state") for worker in left}
            holder = next(worker for worker, state in states.items() if not state["shared"])
            os.kill(holder.process.pid, signal.SIGKILL)
            left.remove(holder)
            for worker in left:
                assert (await worker.result("execute", "query-status"))["status"] == "running"
                assert (await worker.result("state"))["holder"] != holder.process.pid
        assert (await left[0].result("state"))["shared"] is False
