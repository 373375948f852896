"""The README's picture of the dashboard: made here, and true as long as these tests pass.

`QMON_WRITE_IMAGES=1 pytest tests/tui/test_readme_image.py` (or `make images`) draws it anew.
"""

from __future__ import annotations

import html
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest

from qmon.capture.vm import TapState
from qmon.network.model import Netdev, Network, Nic
from tests.tui.apps import dashboard, shown, until
from tests.tui.frames import START_NS, demo_traffic
from tests.tui.scripted import SNAPSHOT, ScriptedWatch

IMAGE = Path(__file__).parents[2] / "docs" / "images" / "dashboard.svg"
ROUNDS = 240


def _watch() -> ScriptedWatch:
    network = Network(
        netdevs=(Netdev("u1", "user", "net=10.0.2.0,restrict=off", nic="nic1"),),
        nics=(Nic("nic1", "virtio-net-pci", "52:54:00:12:34:56", "u1"),),
    )
    watch = ScriptedWatch(
        replace(SNAPSHOT, network=network, taps=(TapState("u1", 0),), not_tapped=()), interfaces=("u1",)
    )
    watch.arrive(demo_traffic(ROUNDS))
    return watch


def _words(svg: str) -> list[str]:
    found = re.findall(r"<text [^>]*>([^<]*)</text>", svg)
    return [words for text in found if (words := html.unescape(text).replace("\xa0", " ").strip())]


async def test_the_picture_shows_the_dashboard_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    end_s = START_NS // 10**9 + int(demo_traffic(ROUNDS)[-1][0]) + 1
    monkeypatch.setattr("qmon.tui.screens.dashboard.this_second", lambda: end_s)
    async with dashboard(_watch(), size=(140, 42)) as (pilot, screen, _):
        packets = screen.packets
        await until(lambda: "Internet Protocol" in shown(pilot))
        packets.packet_list.go_to_seq(packets.packet_list.end_row - 7)
        await until(lambda: "User-Agent: iPXE" in shown(pilot))
        packets.packet_list.top = packets.packet_list.end_row - packets.packet_list.page
        await pilot.press("enter")
        await pilot.press("G")
        await until(lambda: packets.hex_view.marked[1] > 0)
        await pilot.press("k")
        await pilot.pause()
        drawn = pilot.app.export_screenshot(title="qmon")
    if os.environ.get("QMON_WRITE_IMAGES"):
        IMAGE.parent.mkdir(parents=True, exist_ok=True)
        IMAGE.write_text(drawn)
    assert _words(IMAGE.read_text()) == _words(drawn)
