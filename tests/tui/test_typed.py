"""Keys that come faster than what they open: each is for what the keys before it have opened."""

from __future__ import annotations

from typing import Any

import pytest
from textual import events
from textual.pilot import Pilot
from textual.widgets import Input

from qmon.network import change
from qmon.tui.app import QmonApp
from qmon.tui.screens.dashboard import DashboardScreen
from tests.tui.apps import dashboard, shown, until
from tests.tui.scripted import ScriptedWatch

_NAMES = {":": "colon", "/": "slash", "\r": "enter", "\t": "tab", "\x1b": "escape", "?": "question_mark"}


def at_once(pilot: Pilot[None], keys: str) -> None:
    """Have all keys come before anything is done with the first."""
    for character in keys:
        pilot.app.post_message(events.Key(_NAMES.get(character, character), character))


@pytest.fixture
def changes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Stand in for what would be sent to a VM."""
    done: list[tuple[Any, ...]] = []

    async def plan(session: Any, *words: Any, **options: Any) -> tuple[str, ...]:
        return (f"planned {words}",)

    async def act(session: Any, *words: Any, **options: Any) -> None:
        done.append(words)

    for name in ("set_link", "add_forwards"):
        monkeypatch.setattr(change, f"plan_{name}", plan)
        monkeypatch.setattr(change, name, act)
    return done


@pytest.mark.parametrize("size", [(80, 24), (160, 50)])
async def test_the_tree_and_its_keys(size: tuple[int, int], changes: list[tuple[Any, ...]]) -> None:
    async with dashboard(size=size) as (pilot, _, __):
        at_once(pilot, "tl")
        await until(lambda: "Set the link of nic1 down" in shown(pilot))
        at_once(pilot, "y")
        await until(lambda: changes == [("nic1", False)])


async def test_a_whole_change(changes: list[tuple[Any, ...]]) -> None:
    async with dashboard() as (pilot, screen, _):
        following = screen.packets.packet_list.follow
        at_once(pilot, "af8022:22\r\ry")
        await until(lambda: changes == [("8022:22",)])
        await until(lambda: screen.is_current)
        assert screen.packets.packet_list.follow == following


async def test_lines_of_the_monitor_one_behind_the_other() -> None:
    async with dashboard() as (pilot, screen, watch):
        at_once(pilot, ":info status\rinfo network\rinfo")
        await until(lambda: screen.query_one("#prompt", Input).value == "info")
        await until(lambda: watch.session.asked[-2:] == ["info status", "info network"])


async def test_a_filter_and_what_comes_behind_it() -> None:
    async with dashboard() as (pilot, screen, _):
        at_once(pilot, "/arp\rG\r")
        await until(lambda: screen.packets.detail.has_focus)
        assert screen.packets.packet_list.rows.expression == "arp"


async def test_help_opens_and_closes_and_the_next_key_is_for_the_list() -> None:
    async with dashboard() as (pilot, screen, _):
        at_once(pilot, "?\x1b2")
        await until(lambda: "A (spoke first)" in shown(pilot))
        assert screen.is_current


async def test_keys_typed_before_there_is_a_screen() -> None:
    watch = ScriptedWatch()
    watch.arrive()
    screen = DashboardScreen(watch)  # type: ignore[arg-type]
    app = QmonApp(screen)
    app.post_message(events.Key("2", "2"))
    async with app.run_test(size=(80, 24)) as pilot:
        await until(lambda: "A (spoke first)" in shown(pilot))
