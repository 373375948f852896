"""The packet list, its dissection and its bytes, by keys and mouse."""

from __future__ import annotations

import pytest
from textual.widgets import Input

from qmon.tui.panes.filter_bar import FilterBar
from qmon.tui.panes.packets import PacketsPane
from qmon.tui.screens.dashboard import DashboardScreen
from tests.tui.apps import dashboard, shown, type_text, until
from tests.tui.frames import demo_traffic
from tests.tui.scripted import ScriptedWatch


def _pane(screen: DashboardScreen) -> PacketsPane:
    return screen.query_one(PacketsPane)


async def test_the_list_follows_until_the_cursor_is_moved() -> None:
    async with dashboard() as (pilot, screen, watch):
        packets = _pane(screen).packet_list
        await until(lambda: packets.end_row == len(demo_traffic()))
        assert packets.top + packets.page == packets.end_row
        watch.arrive(demo_traffic()[:5])
        await until(lambda: packets.end_row == len(demo_traffic()) + 5)
        assert packets.top + packets.page == packets.end_row
        await pilot.press("k")
        at = packets.cursor
        watch.arrive(demo_traffic()[:5])
        await until(lambda: packets.end_row == len(demo_traffic()) + 10)
        assert packets.cursor == at
        assert packets.top + packets.page == len(demo_traffic()) + 5
        await pilot.press("f")
        assert packets.top + packets.page == packets.end_row


async def test_while_the_list_follows_the_details_are_those_of_the_newest_packet() -> None:
    async with dashboard() as (pilot, screen, watch):
        await until(lambda: "Packet 490 " in shown(pilot) and "Type: echo-reply" in shown(pilot))
        watch.arrive(demo_traffic()[:4])
        await until(lambda: "Packet 494 " in shown(pilot))
        # What is looked into stays.
        await pilot.press("enter", "j")
        assert not _pane(screen).packet_list.follow
        watch.arrive(demo_traffic()[:4])
        await until(lambda: watch.store.packets == 498)
        await pilot.pause()
        assert "Packet 494 " in shown(pilot)
        await pilot.press("escape", "G")
        await until(lambda: "Packet 498 " in shown(pilot))
        watch.arrive(demo_traffic()[:4])
        await until(lambda: "Packet 502 " in shown(pilot))


async def test_a_low_terminal_shows_the_list_or_the_packet() -> None:
    async with dashboard(size=(60, 15)) as (pilot, screen, _):
        packets = _pane(screen).packet_list
        await until(lambda: packets.end_row == 490 and packets.page >= 8)
        await pilot.press("g", "enter")
        await until(lambda: "Internet Protocol Version 4" in shown(pilot))
        assert "Destinat" not in shown(pilot)
        await pilot.press("x")
        await until(lambda: "0000  ff ff" in shown(pilot))
        await pilot.press("escape")
        await until(lambda: "Destinat" in shown(pilot))


@pytest.mark.parametrize(
    ("keys", "row"),
    [
        (["g"], 0),
        (["g", "j", "j", "k"], 1),
        (["g", "down", "down", "up"], 1),
        (["G"], 489),
        (["home"], 0),
        (["end"], 489),
        (["g", "pagedown"], 26),
        (["g", "ctrl+d"], 13),
        (["G", "ctrl+u"], 476),
        (["G", "pageup"], 463),
    ],
)
async def test_keys_move_the_cursor(keys: list[str], row: int) -> None:
    async with dashboard() as (pilot, screen, _):
        packets = _pane(screen).packet_list
        await until(lambda: packets.end_row == 490)
        await pilot.press(*keys)
        distance = {"g": 0, "G": 489, "home": 0, "end": 489}[keys[0]] - row
        if abs(distance) > 1:
            halves = 2 if keys[1].startswith("ctrl") else 1
            row = (0 if row < 200 else 489) + (1 if row < 200 else -1) * round(packets.page / halves)
        assert packets.cursor == row
        assert packets.top <= row < packets.top + packets.page


async def test_pause_takes_in_nothing_new() -> None:
    async with dashboard() as (pilot, screen, watch):
        packets = _pane(screen).packet_list
        await until(lambda: packets.end_row == 490)
        await pilot.press("p")
        watch.arrive(demo_traffic()[:7])
        await until(lambda: watch.store.packets == 497)
        await pilot.pause()
        assert packets.end_row == 490
        assert "paused" in shown(pilot)
        await pilot.press("p")
        await until(lambda: packets.end_row == 497)


async def test_a_field_marks_its_bytes_and_a_byte_opens_its_field() -> None:
    async with dashboard() as (pilot, screen, _):
        pane = _pane(screen)
        await until(lambda: pane.detail.end_row > 0)
        await pilot.press("g", "enter")
        assert pane.detail.has_focus
        await until(lambda: pane.detail.selected is not None)
        await pilot.press("j")
        node = pane.detail.selected
        assert node is not None
        assert pane.hex_view.marked == (node.start, node.stop)
        await pilot.press("tab")
        assert pane.hex_view.has_focus
        await pilot.press("G")
        found = pane.detail.selected
        last = len(demo_traffic()[0][2]) - 1
        assert found is not None
        assert found.start is not None
        assert found.stop is not None
        assert found.start <= last < found.stop
        assert not found.children or all(not _holds(child, last) for child in found.children)
        await pilot.press("escape")
        assert pane.packet_list.has_focus


def _holds(node: object, offset: int) -> bool:
    start, stop = getattr(node, "start", None), getattr(node, "stop", None)
    return start is not None and stop is not None and start <= offset < stop


async def test_a_capture_filter_hides_what_does_not_match() -> None:
    async with dashboard() as (pilot, screen, watch):
        packets = _pane(screen).packet_list
        await until(lambda: packets.end_row == 490)
        await pilot.press("slash")
        await type_text(pilot, "tcp port 8080")
        await pilot.press("enter")
        await until(lambda: packets.end_row == 320)
        assert packets.has_focus
        assert "capture filter tcp port 8080" in shown(pilot)
        assert "320 of 490 packets" in shown(pilot)
        watch.arrive()
        await until(lambda: packets.end_row == 640)
        await pilot.press("escape")
        await until(lambda: packets.end_row == 980)


async def test_a_wrong_filter_says_why_and_changes_nothing() -> None:
    async with dashboard() as (pilot, screen, _):
        pane = _pane(screen)
        await until(lambda: pane.packet_list.end_row == 490)
        await pilot.press("slash")
        await type_text(pilot, "tcp prt")
        await until(lambda: "syntax error" in shown(pilot))
        await pilot.press("enter")
        assert pane.query_one(FilterBar).display
        await pilot.press("escape")
        assert not pane.query_one(FilterBar).display
        assert pane.packet_list.end_row == 490


async def test_a_wrong_filter_is_marked_where_it_goes_wrong() -> None:
    async with dashboard() as (pilot, _screen, _):
        await pilot.press("slash")
        await type_text(pilot, "tcp prt 80")
        await until(lambda: "▲ syntax error at 'prt'" in shown(pilot))
        lines = shown(pilot).splitlines()
        at = next(number for number, line in enumerate(lines) if "▲" in line)
        assert lines[at].index("▲") == lines[at - 1].index("prt 80")
        assert "Enter: apply · Esc: cancel" in lines[at - 1]
        await pilot.press("ctrl+u")
        await type_text(pilot, " tcp port ")
        await until(lambda: "▲ something is missing at its end" in shown(pilot))


async def test_a_long_wrong_filter_in_a_small_terminal() -> None:
    async with dashboard(size=(60, 15)) as (pilot, screen, _):
        await pilot.press("slash")
        await type_text(pilot, "host 10.0.2.15 and port 80 or prt 443")
        await until(lambda: "▲ unknown port 'prt'" in shown(pilot))
        assert "▲" in shown(pilot)
        await pilot.press("enter")
        assert not _pane(screen).packet_list.rows.filtering


async def test_a_filter_can_be_typed_from_every_tab_and_esc_goes_back() -> None:
    async with dashboard() as (pilot, screen, _):
        await pilot.press("2", "slash")
        await until(lambda: "Capture filter" in shown(pilot))
        await pilot.press("escape")
        await until(lambda: "A (spoke first)" in shown(pilot))
        await pilot.press("slash")
        await type_text(pilot, "arp")
        await pilot.press("enter")
        await until(lambda: "2 of 490 packets" in shown(pilot))
        assert screen.open_pane is screen.packets


async def test_earlier_filters_come_back() -> None:
    async with dashboard() as (pilot, screen, _):
        pane = _pane(screen)
        for expression in ("arp", "icmp"):
            await pilot.press("slash", "ctrl+u")
            await type_text(pilot, expression)
            await pilot.press("enter")
        await pilot.press("slash", "up", "up")
        assert pane.query_one(Input).value == "arp"


async def test_matches_can_be_marked_and_visited() -> None:
    async with dashboard() as (pilot, screen, _):
        packets = _pane(screen).packet_list
        await until(lambda: packets.end_row == 490)
        await pilot.press("n")
        await until(lambda: "There is no filter" in shown(pilot))
        _pane(screen).set_filter("arp")
        await pilot.press("m", "g")
        assert packets.end_row == 490
        await pilot.press("n")
        assert packets.selected_seq == 5
        assert "●" in shown(pilot)
        await pilot.press("n")
        assert packets.selected_seq == 6
        await pilot.press("N")
        assert packets.selected_seq == 5


async def test_nothing_matches() -> None:
    async with dashboard() as (pilot, screen, _):
        _pane(screen).set_filter("port 9")
        await until(lambda: "No packet matches port 9" in shown(pilot))


async def test_wheel_click_and_scroll_bar() -> None:
    async with dashboard() as (pilot, screen, _):
        packets = _pane(screen).packet_list
        await until(lambda: packets.end_row == 490)
        top = packets.top
        await pilot._post_mouse_events([_wheel_up()], "#packet-list", offset=(20, 5))
        assert packets.top == top - 3
        assert not packets.follow
        await pilot.click("#packet-list", offset=(20, 5))
        assert packets.cursor == packets.top + 4
        await pilot.click("#packet-list", offset=(packets.size.width - 1, 1))
        assert packets.top == 0


def _wheel_up() -> type:
    from textual.events import MouseScrollUp

    return MouseScrollUp


async def test_time_of_day_or_since_the_first_packet() -> None:
    async with dashboard() as (pilot, _, __):
        await until(lambda: "12:00:21.510600" in shown(pilot))
        await pilot.press("T")
        assert "21.510600" in shown(pilot)
        assert "12:00:21.510600" not in shown(pilot)


async def test_why_there_are_no_packets() -> None:
    async with dashboard(ScriptedWatch()) as (pilot, _, watch):
        await until(lambda: "the guest is silent" in shown(pilot))
        watch.change(run_state="paused")
        await until(lambda: "No packets yet: the VM is paused" in shown(pilot))
        watch.change(taps=(), not_tapped=(("u1", "Vhost is not supported"),))
        await until(lambda: "u1: Vhost is not supported" in shown(pilot))
