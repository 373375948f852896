"""A tap that is cancelled at any of its commands leaves nothing in the VM."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from qmon.capture.vm import VmCapture
from qmon.monitor.address import UnixAddress
from qmon.monitor.session import Session
from tests.lab import start_vm
from tests.lab.qemus import Qemu
from tests.lab.vm import LabVm

NIC = ("-netdev", "user,id=u1", "-device", "virtio-net-pci,id=nic1,netdev=u1")


class CancelsAt:
    """Cancels a task when the session is asked for the n-th time."""

    def __init__(self, session: Session, at: int) -> None:
        self.asked = 0
        self.task: asyncio.Task[Any] | None = None
        self._ask, self._at = session._ask, at

    async def __call__(self, command: str, arguments: Mapping[str, object], **more: Any) -> Any:
        self.asked += 1
        if self.asked == self._at and self.task is not None:
            self.task.cancel()
        return await self._ask(command, arguments, **more)


async def left_behind(vm: LabVm) -> list[str]:
    objects = [one["name"] for one in await vm.qmp_raw("qom-list", {"path": "/objects"})]
    chardevs = [one["label"] for one in await vm.qmp_raw("query-chardev")]
    fdsets = [f"fdset {one['fdset-id']}" for one in await vm.qmp_raw("query-fdsets")]
    return [one for one in (*objects, *chardevs, *fdsets) if "qmon" in one or one.startswith("fdset")]


async def test_cancelled_at_each_command(qemu_one: Qemu, monkeypatch: pytest.MonkeyPatch) -> None:
    at = 0
    async with start_vm(qemu_one, *NIC) as vm:
        while True:
            at += 1
            async with await Session.attach(UnixAddress(vm.qmp[0])) as session:
                watcher = CancelsAt(session, at)
                monkeypatch.setattr(session, "_ask", watcher)
                async with VmCapture(session) as capture:
                    watcher.task = asyncio.create_task(capture.tap("u1"))
                    await asyncio.wait([watcher.task])
                    through = not watcher.task.cancelled()
            assert await left_behind(vm) == []
            if through:
                break
    assert at > 8
