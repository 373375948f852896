"""Changing the VM: what is asked, what is sent, what is told, on a fake of the network's commands."""

from __future__ import annotations

from typing import Any

import pytest
from textual.widgets import Input

from qmon.errors import Refused
from qmon.network import change
from qmon.tui.dialogs.box import hint_of
from tests.tui.apps import dashboard, shown, type_text, until

Calls = list[tuple[str, tuple[Any, ...]]]


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """Stand in for every change: plans say their name, deeds are written down."""
    calls: Calls = []

    def plan(name: str) -> Any:
        async def planned(session: Any, *words: Any, **options: Any) -> tuple[str, ...]:
            return (f"{name} {' '.join(map(str, words))}",)

        return planned

    def deed(name: str) -> Any:
        async def done(session: Any, *words: Any, **options: Any) -> None:
            calls.append((name, words))

        return done

    for name in ("set_link", "unplug", "remove_netdev", "remove_forwards", "add_forwards", "add_nic"):
        monkeypatch.setattr(change, f"plan_{name}", plan(name))
        monkeypatch.setattr(change, name, deed(name))
    return calls


@pytest.mark.parametrize(
    ("keys", "asked", "call"),
    [
        (["t", "l"], "Set the link of nic1 down", ("set_link", ("nic1", False))),
        (["t", "j", "j", "j", "l"], "Set the link of nic2 up", ("set_link", ("nic2", True))),
        (["t", "d"], "Unplug the NIC nic1", ("unplug", ("nic1",))),
        (["t", "j", "d"], "Remove the netdev u1", ("remove_netdev", ("u1",))),
        (["t", "G", "d"], "Remove the netdev spare", ("remove_netdev", ("spare",))),
        (
            ["t", "j", "j", "d"],
            "Remove the forward of 127.0.0.1:2222",
            ("remove_forwards", ("127.0.0.1:2222",)),
        ),
    ],
)
async def test_nothing_is_sent_before_it_is_confirmed(
    keys: list[str], asked: str, call: tuple[str, tuple[Any, ...]], sent: Calls
) -> None:
    async with dashboard() as (pilot, screen, watch):
        await pilot.press(*keys)
        await until(lambda: asked in shown(pilot))
        assert f"{call[0]} {' '.join(map(str, call[1]))}" in shown(pilot)
        await pilot.press("escape")
        await until(lambda: screen.is_current)
        assert sent == []
        await pilot.press(keys[-1])
        await until(lambda: asked in shown(pilot))
        await pilot.press("enter")
        await until(lambda: sent == [call])
        await until(lambda: ("refresh",) in watch.calls)
        if call[0] == "set_link":
            await until(lambda: ("note_link", *call[1]) in watch.calls)


async def test_a_forward_is_added(sent: Calls) -> None:
    async with dashboard() as (pilot, _, __):
        await pilot.press("a", "f")
        await until(lambda: "Add forward" in shown(pilot))
        await type_text(pilot, "8022:22")
        await pilot.press("enter")
        await type_text(pilot, "u1")
        await pilot.press("enter")
        await until(lambda: "add_forwards 8022:22" in shown(pilot))
        await pilot.press("y")
        await until(lambda: sent == [("add_forwards", ("8022:22",))])


async def test_what_is_wrong_with_an_addition_is_told_in_the_form(
    sent: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(session: Any, spec: str) -> tuple[str, ...]:
        raise Refused(f"no [such] model: {spec}")

    monkeypatch.setattr(change, "plan_add_nic", refuse)
    async with dashboard() as (pilot, screen, _):
        await pilot.press("a", "i")
        # The values are there to be taken: the next free id, and the only netdev without a NIC.
        await until(lambda: "virtio-net-pci,id=nic3,netdev=spare" in shown(pilot))
        await pilot.press("ctrl+u")
        await type_text(pilot, "abc")
        await pilot.press("enter")
        await until(lambda: "no [such] model: abc" in shown(pilot))
        await pilot.press("escape")
        await until(lambda: screen.is_current)
        assert sent == []


async def test_a_change_that_fails_is_told_in_full(sent: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(session: Any, *words: Any) -> None:
        raise Refused("the guest does not let go [x]", hint="reset it")

    monkeypatch.setattr(change, "set_link", refuse)
    async with dashboard() as (pilot, _, watch):
        await pilot.press("t", "l")
        await until(lambda: "Set the link" in shown(pilot))
        await pilot.press("enter")
        await until(lambda: "the guest does not let go [x]" in shown(pilot) and "reset it" in shown(pilot))
        assert any(call[:2] == ("log", "change") and "failed" in call[2] for call in watch.calls)


async def test_without_a_monitor_nothing_can_be_changed(sent: Calls) -> None:
    async with dashboard() as (pilot, _, watch):
        watch.session = None
        await pilot.press("t", "l")
        await until(lambda: "the monitor is disconnected" in shown(pilot))


async def test_lines_without_a_subject_say_so(sent: Calls) -> None:
    async with dashboard() as (pilot, _, __):
        await pilot.press("t", "j", "l")
        await until(lambda: "Only a NIC has a link" in shown(pilot))


async def test_a_forward_is_proposed_for_the_netdev_that_is_chosen_in_the_tree(sent: Calls) -> None:
    async with dashboard() as (pilot, screen, _):
        await pilot.press("t", "G", "a", "f")
        await until(lambda: "Add forward" in shown(pilot))
        fields = list(pilot.app.screen.query(Input))
        assert [one.value for one in fields] == ["", "spare"]
        await pilot.press("escape")
        await until(lambda: screen.is_current)


@pytest.mark.parametrize(
    ("hint", "shown_hint"),
    [
        ("qmon unplug nic1", ""),
        ("`qmon nic models` lists those", ""),
        ("say which with --netdev ID", ""),
        ("Leave fd= out and let QEMU open the device itself.", None),
        ("Start the VM with -qmp unix:PATH,server=on,wait=off.", None),
        (None, ""),
    ],
)
def test_hints_for_a_shell_are_left_out(hint: str | None, shown_hint: str | None) -> None:
    assert hint_of(Refused("no", hint=hint)) == (hint if shown_hint is None else shown_hint)
