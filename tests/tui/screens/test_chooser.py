"""Choosing a VM."""

from __future__ import annotations

import pytest

from qmon.monitor.address import UnixAddress
from qmon.monitor.discovery import MonitorSocket, Vm
from qmon.tui.screens.chooser import ChooserScreen
from tests.tui.apps import running, shown, until


def _vm(pid: int, name: str, state: str = "free") -> Vm:
    monitors = () if state == "none" else (MonitorSocket(UnixAddress(f"/run/{name}"), "qmp", state),)
    return Vm(pid, 1, name, "pc", "qemu-system-x86_64", 0, (), monitors)


@pytest.fixture
def vms(monkeypatch: pytest.MonkeyPatch) -> list[Vm]:
    here: list[Vm] = []

    async def listed() -> list[Vm]:
        return list(here)

    monkeypatch.setattr("qmon.tui.screens.chooser.listed", listed)
    monkeypatch.setattr("qmon.tui.screens.chooser.LOOK_EVERY_S", 0.05)
    return here


async def test_one_of_several(vms: list[Vm]) -> None:
    vms += [_vm(1, "a", "none"), _vm(2, "b"), _vm(3, "c", "shared")]
    screen = ChooserScreen()
    async with running(screen) as pilot:
        await until(lambda: "3 VMs here" in shown(pilot))
        await pilot.press("j", "enter")
        assert screen.chosen == UnixAddress("/run/c")


async def test_one_that_cannot_be_attached_says_why(vms: list[Vm]) -> None:
    vms += [_vm(1, "a", "none"), _vm(2, "b")]
    screen = ChooserScreen()
    async with running(screen) as pilot:
        await until(lambda: "2 VMs here" in shown(pilot))
        await pilot.press("k", "enter")
        await until(lambda: "Cannot attach" in shown(pilot))
        assert screen.chosen is None


async def test_a_vm_that_starts_while_one_waits_is_taken(vms: list[Vm]) -> None:
    screen = ChooserScreen()
    async with running(screen) as pilot:
        await until(lambda: "No VM is running here" in shown(pilot))
        vms.append(_vm(7, "new"))
        await until(lambda: screen.chosen == UnixAddress("/run/new"))


async def test_a_problem_is_told_and_nothing_is_taken_by_itself(vms: list[Vm]) -> None:
    vms.append(_vm(7, "new"))
    screen = ChooserScreen("cannot attach: [busy]")
    async with running(screen) as pilot:
        await until(lambda: "cannot attach: [busy]" in shown(pilot))
        assert screen.chosen is None
        await pilot.press("q")
