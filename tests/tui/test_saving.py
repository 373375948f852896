"""Packets out of the dashboard: into a file, and into Wireshark."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from qmon.packets.files.source import CaptureFile
from qmon.tui.dialogs.form import FormDialog
from tests.tui.apps import dashboard, shown, until


def _count(path: Path) -> int:
    """Return how many packets a file holds; its last one may be half-written."""
    with CaptureFile(path) as file:
        total = 0
        while (batch := file.read_batch()) is not None:
            total += len(batch)
        return total


async def _fill(pilot: Pilot[None], path: Path) -> None:
    """Give the file's name and say that the form is filled in."""
    await until(lambda: isinstance(pilot.app.screen, FormDialog))
    inputs = pilot.app.screen.query(Input)
    inputs.first().value = str(path)
    pilot.app.screen.set_focus(inputs.last())
    await pilot.press("enter")


@pytest.mark.parametrize("name", ["all.pcapng", "all.pcap"])
async def test_all_packets(tmp_path: Path, name: str) -> None:
    async with dashboard() as (pilot, _screen, _):
        await until(lambda: "490 packets" in shown(pilot))
        await pilot.press("w")
        await _fill(pilot, tmp_path / name)
        await until(lambda: "Saved 490 packets to" in shown(pilot))
    assert _count(tmp_path / name) == 490


async def test_what_the_filter_lets_through(tmp_path: Path) -> None:
    async with dashboard() as (pilot, screen, _):
        await until(lambda: "490 packets" in shown(pilot))
        screen.packets.set_filter("arp")
        await pilot.press("w")
        await _fill(pilot, tmp_path / "arp.pcapng")
        await until(lambda: "Saved 2 packets to" in shown(pilot))
    assert _count(tmp_path / "arp.pcapng") == 2


async def test_a_file_that_exists_is_kept_and_the_dialog_says_so(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    async with dashboard() as (pilot, _screen, _):
        await pilot.press("w")
        await _fill(pilot, tmp_path / "mine")
        await until(lambda: "exists" in shown(pilot))
        await pilot.press("escape")
    assert (tmp_path / "mine").read_text() == "mine"


async def test_wireshark_gets_what_was_and_what_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, seen = tmp_path / "wireshark", tmp_path / "seen.pcapng"
    program.write_text(f"#!/bin/sh\nexec /bin/cat > {seen}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    async with dashboard() as (pilot, _, watch):
        await until(lambda: "490 packets" in shown(pilot))
        await pilot.press("W")
        await until(lambda: seen.exists() and _count(seen) == 490)
        watch.arrive()
        await until(lambda: _count(seen) == 980)


async def test_no_wireshark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    async with dashboard() as (pilot, _, __):
        await pilot.press("W")
        await until(lambda: "Wireshark is not installed" in shown(pilot))


async def test_a_name_that_can_be_none_is_refused_in_the_dialog() -> None:
    async with dashboard() as (pilot, _screen, _):
        await until(lambda: "490 packets" in shown(pilot))
        await pilot.press("w")
        await _fill(pilot, Path("~nobody-of-that-name/x.pcapng"))
        await until(lambda: "cannot save as" in shown(pilot))
