"""Tabs, tree, header and banner of the dashboard."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual import events
from textual.widgets import Input

from qmon.capture.following import MonitorState
from qmon.capture.vm import TapState
from qmon.packets.batch import Interface
from qmon.tui.panes.network import NetworkPane
from qmon.tui.screens.dashboard import DashboardScreen
from tests.tui.apps import dashboard, running, shown, type_text, until
from tests.tui.scripted import ScriptedWatch

SIZES = [(80, 24), (160, 50)]


@pytest.mark.parametrize("size", SIZES)
async def test_every_tab_opens_by_its_number_and_by_the_mouse(size: tuple[int, int]) -> None:
    async with dashboard(size=size) as (pilot, _screen, _):
        for key, fact in (
            ("2", "A (spoke first)"),
            ("3", "forward"),
            ("4", "u1 is captured"),
            ("5", "Talk to the VM's monitor"),
        ):
            await pilot.press(key)
            await until(lambda fact=fact: fact in shown(pilot))
        await pilot.click("TabBar", offset=(3, 0))
        await until(lambda: "Source" in shown(pilot))


async def test_the_header_tells_drops_in_numbers() -> None:
    async with dashboard() as (pilot, _screen, watch):
        await until(lambda: "490 packets" in shown(pilot))
        assert "0 dropped" in shown(pilot)
        watch.change(dropped=1234, taps=(TapState("u1", 0, dropped=1234),))
        await until(lambda: "1,234 dropped" in shown(pilot))
        assert "● 1 tap " in shown(pilot)
        assert "● 1,234 dropped" in shown(pilot)


async def test_a_lost_and_an_ended_vm_are_told_and_forgotten_when_it_is_back() -> None:
    async with dashboard() as (pilot, _screen, watch):
        watch.change(monitor=MonitorState.LOST, monitor_note="the VM is gone")
        await until(lambda: "reconnecting  (the VM is gone)" in shown(pilot))
        watch.change(monitor=MonitorState.CONNECTED, monitor_note="")
        await until(lambda: "trying to attach" not in shown(pilot))
        watch.change(monitor=MonitorState.ENDED)
        await until(lambda: "The VM has ended" in shown(pilot))


async def test_in_a_narrow_terminal_the_tree_comes_by_its_key_and_goes_by_esc() -> None:
    async with dashboard(size=(80, 24)) as (pilot, _screen, _):
        await until(lambda: "10.0.2.15" in shown(pilot))
        assert "virtio-net-pci" not in shown(pilot)
        await pilot.press("t")
        await until(lambda: "virtio-net-pci" in shown(pilot))
        await pilot.press("escape")
        await until(lambda: "virtio-net-pci" not in shown(pilot))


async def test_the_traffic_is_that_of_the_netdevs_there_are() -> None:
    watch = ScriptedWatch(interfaces=())
    async with dashboard(watch) as (pilot, _screen, _):
        # Before the first packet too: the header speaks of them.
        await until(lambda: "● 2 taps" in shown(pilot) and " t0  ▸ 0 B/s" in shown(pilot))
        for name in ("u1", "t0"):
            watch.store.add_interface(Interface(name))
        watch.arrive()
        network = watch.snapshot().network
        watch.change(taps=(TapState("u1", 0),), network=type(network)(network.netdevs[:1], network.nics))
        await until(lambda: "t0  ▸" not in shown(pilot))
        assert "u1  ▸" in shown(pilot)
        watch.change(taps=(), network=type(network)((), network.nics))
        await until(lambda: "Nothing is captured" in shown(pilot) and "○ no taps" in shown(pilot))


async def test_a_tree_that_does_not_fit_is_shown_whole_while_it_is_used() -> None:
    async with dashboard(size=(120, 30)) as (pilot, _screen, _):
        await until(lambda: "nic1" in shown(pilot))
        assert "spare" not in shown(pilot)
        await pilot.press("t")
        await until(lambda: "spare" in shown(pilot))
        await pilot.press("tab")
        await until(lambda: "spare" not in shown(pilot))


@pytest.mark.parametrize("size", [(90, 30), (120, 40)])
async def test_a_forward_is_shown_with_both_ports(size: tuple[int, int]) -> None:
    async with dashboard(size=size) as (pilot, _screen, __):
        await until(lambda: ":2222 → 10.0.2.15:22 " in shown(pilot))


async def test_taps_go_on_and_off_from_the_tree_without_a_question() -> None:
    async with dashboard() as (pilot, _screen, watch):
        await pilot.press("t", "j", "space")
        await until(lambda: ("untap", "u1") in watch.calls)
        watch.change(taps=(TapState("t0", 1),))
        await until(lambda: "● 1 tap " in shown(pilot))
        await pilot.press("t")
        await until(lambda: ("tap", "u1") in watch.calls)


async def test_the_tree_keeps_its_cursor_when_the_network_changes() -> None:
    async with dashboard() as (pilot, screen, watch):
        tree = screen.query_one(NetworkPane)
        await pilot.press("t", "G")
        assert tree.selected is not None
        assert tree.selected.id == "spare"
        network = watch.snapshot().network
        watch.change(network=type(network)(netdevs=network.netdevs[1:], nics=network.nics[1:]))
        await until(lambda: "nic1" not in shown(pilot))
        assert tree.selected.id == "spare"


async def test_details_of_a_netdev() -> None:
    async with dashboard() as (pilot, screen, _):
        await pilot.press("t", "j", "enter")
        await until(lambda: "net=10.0.2.0,restrict=off" in shown(pilot))
        await pilot.press("escape")
        await until(lambda: screen.is_current)


async def test_a_conversation_shows_its_packets() -> None:
    async with dashboard() as (pilot, _screen, _):
        await until(lambda: "490 packets" in shown(pilot))
        await pilot.press("2", "j", "enter")
        await until(lambda: "8 of 490 packets" in shown(pilot))


async def test_conversations_can_be_sorted() -> None:
    async with dashboard() as (pilot, _screen, _):
        await pilot.press("2")
        await until(lambda: "Bytes▾" in shown(pilot))
        await pilot.press("s")
        await until(lambda: "Packets▾" in shown(pilot))


async def test_usernet_rows_are_joined_with_what_was_captured() -> None:
    async with dashboard() as (pilot, _screen, _):
        await until(lambda: "490 packets" in shown(pilot))
        await pilot.press("3")
        await until(lambda: "10.0.2.15:40003" in shown(pilot))
        row = next(line for line in shown(pilot).splitlines() if "10.0.2.15:40003" in line)
        assert "ESTABLISHED" in row
        assert " 8 " in row
        await pilot.press("j", "enter")
        await until(lambda: "8 of 490 packets" in shown(pilot))


async def test_the_prompt_speaks_hmp_and_qmp() -> None:
    async with dashboard() as (pilot, _screen, watch):
        await pilot.press("colon")
        await type_text(pilot, "info status")
        await pilot.press("enter")
        await until(lambda: "VM status: running" in shown(pilot))
        await pilot.press("ctrl+t")
        await type_text(pilot, "query-status")
        await pilot.press("enter")
        await until(lambda: '"status": "running"' in shown(pilot))
        await type_text(pilot, "netdev_del [1]")
        await pilot.press("enter")
        await until(lambda: "neither a JSON object nor name=value" in shown(pilot))
        await pilot.press("up", "up", "enter")
        await until(lambda: watch.session.asked.count("query-status") == 2)
        await pilot.press("escape", "1")
        await until(lambda: "Source" in shown(pilot))


async def test_the_prompt_completes() -> None:
    async with dashboard() as (pilot, screen, _watch):
        await pilot.press("5", "ctrl+t")
        await until(lambda: screen.query_one("Prompt").suggester is not None)
        await type_text(pilot, "netdev_d")
        await until(lambda: screen.query_one("Prompt")._suggestion)
        await pilot.press("tab")
        assert screen.query_one("Prompt").value == "netdev_del"


async def test_replies_are_broken_anew_for_another_width() -> None:
    async with dashboard(size=(120, 30)) as (pilot, _screen, watch):
        watch.session.replies["info x"] = "begin\t" + "x" * 100 + " the end\r\n"
        await pilot.press("colon")
        await type_text(pilot, "info x")
        await pilot.press("enter")
        await until(lambda: "begin   xxx" in shown(pilot) and "the end" in shown(pilot))
        await pilot.resize_terminal(60, 24)
        await until(lambda: "begin   xxx" in shown(pilot) and "the end" in shown(pilot))


async def test_a_prompt_without_a_monitor_says_so() -> None:
    async with dashboard() as (pilot, _screen, watch):
        watch.session = None
        await pilot.press("colon", "x", "enter")
        await until(lambda: "The monitor is disconnected" in shown(pilot))


async def test_another_vm_is_asked_for() -> None:
    async with dashboard() as (pilot, screen, _):
        await until(lambda: "490 packets" in shown(pilot))
        await pilot.press("v")
        # What was captured would be gone: Esc keeps it, Enter agrees.
        await until(lambda: "490 captured packets are not saved" in shown(pilot))
        await pilot.press("escape")
        await until(lambda: "not saved" not in shown(pilot))
        assert not screen.again
        await pilot.press("v")
        await until(lambda: "490 captured packets are not saved" in shown(pilot))
        await pilot.press("enter")
        await until(lambda: screen.again)


async def test_q_asks_before_packets_are_lost_and_ctrl_c_does_not() -> None:
    async with dashboard() as (pilot, screen, _):
        await until(lambda: "490 packets" in shown(pilot))
        await pilot.press("q", "q")
        await until(lambda: "490 captured packets are not saved" in shown(pilot))
        await pilot.press("escape")
        await until(lambda: screen.is_current)
        await pilot.press("ctrl+c")
        await until(lambda: pilot.app._exit)
        assert not screen.again


async def test_q_can_save_first(tmp_path: Path) -> None:
    async with dashboard() as (pilot, screen, _):
        await until(lambda: "490 packets" in shown(pilot))
        await pilot.press("q", "w")
        await until(lambda: "Save packets" in shown(pilot))
        await pilot.press("escape")
        await until(lambda: screen.is_current)
        assert not pilot.app._exit
        await pilot.press("q", "w", "ctrl+u")
        await type_text(pilot, str(tmp_path / "kept.pcap"))
        await pilot.press("enter", "enter")
        await until(lambda: pilot.app._exit)
    assert (tmp_path / "kept.pcap").stat().st_size > 490


async def test_q_leaves_at_once_where_nothing_is_lost(tmp_path: Path) -> None:
    watch = ScriptedWatch()
    async with dashboard(watch) as (pilot, _, __):
        await pilot.press("q")
        await until(lambda: pilot.app._exit)
    watch = ScriptedWatch()
    watch.arrive()
    async with dashboard(watch) as (pilot, _screen, _):
        await until(lambda: "490 packets" in shown(pilot))
        await pilot.press("w", "ctrl+u")
        await type_text(pilot, str(tmp_path / "kept.pcap"))
        await pilot.press("enter", "enter")
        await until(lambda: "Saved 490 packets" in shown(pilot))
        await pilot.press("q")
        await until(lambda: pilot.app._exit)


async def test_a_vm_that_ends_with_qmon_is_asked_about_and_is_the_only_one() -> None:
    screen = DashboardScreen(ScriptedWatch(), owned=True)  # type: ignore[arg-type]
    async with running(screen) as pilot:
        await pilot.press("v", "q")
        await until(lambda: "it ends with qmon" in shown(pilot))
        assert "save first" not in shown(pilot)
        await pilot.press("y")
        await until(lambda: pilot.app._exit)


async def test_who_does_not_want_to_be_asked_is_not() -> None:
    watch = ScriptedWatch()
    watch.arrive()
    screen = DashboardScreen(watch, owned=True, confirm=False)  # type: ignore[arg-type]
    async with running(screen) as pilot:
        await until(lambda: "490 packets" in shown(pilot))
        await pilot.press("q")
        await until(lambda: pilot.app._exit)


async def test_ctrl_c_leaves_from_an_input_too() -> None:
    async with dashboard() as (pilot, _screen, _):
        await pilot.press("slash", "a", "ctrl+c")
        await until(lambda: pilot.app._exit)


@pytest.mark.parametrize("size", SIZES)
async def test_help_names_the_keys_of_where_one_is(size: tuple[int, int]) -> None:
    async with dashboard(size=size) as (pilot, _screen, _):
        await pilot.press("question_mark")
        await until(lambda: "Follow" in shown(pilot))
        await pilot.press("escape", "t", "question_mark")
        await until(lambda: "Start or stop capturing" in shown(pilot))


async def test_actions_are_found_by_name_and_done() -> None:
    async with dashboard() as (pilot, screen, _):
        await pilot.press("ctrl+p")
        await until(lambda: "Type a part of its name" in shown(pilot))
        assert "Focus" not in shown(pilot)
        await type_text(pilot, "add net")
        await until(lambda: "Filter packets" not in shown(pilot))
        await pilot.press("enter")
        await until(lambda: "a network without a card yet" in shown(pilot))
        await pilot.press("escape", "ctrl+p")
        await type_text(pilot, "light")
        await pilot.press("enter")
        await until(lambda: pilot.app.theme == "qmon-light")
        await pilot.press("ctrl+p")
        await type_text(pilot, "go to the net")
        await pilot.press("enter")
        await until(lambda: screen.query_one(NetworkPane).has_focus)


@pytest.mark.parametrize(("keys", "name"), [(":info", "#prompt"), ("/arp", "#filter")])
async def test_what_is_typed_at_once_finds_the_line_ready(keys: str, name: str) -> None:
    async with dashboard() as (pilot, screen, _):
        await until(lambda: "10.0.2.15" in shown(pilot))
        for character in keys:
            key = {":": "colon", "/": "slash"}.get(character, character)
            pilot.app.post_message(events.Key(key, character))
        await until(lambda: screen.query_one(name, Input).value == keys[1:])
