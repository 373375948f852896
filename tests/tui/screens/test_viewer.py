"""The viewer on captures that are not plain files, or ask for too much."""

import asyncio
import gzip
from dataclasses import replace
from pathlib import Path

import pytest

from qmon.packets.batch import Interface
from qmon.packets.files.pcapng_writer import PcapngWriter
from qmon.packets.files.source import CaptureFile
from qmon.tui.app import QmonApp
from qmon.tui.screens.viewer import ViewerScreen
from tests.packets.files.bombs import ALL
from tests.packets.files.test_source import FRAMES, pcap, pcapng
from tests.tui.apps import running, shown, until
from tests.tui.frames import batch, demo_traffic


async def loaded(path: Path) -> ViewerScreen:
    """Open a file in the viewer and wait until it has read all of it."""
    with CaptureFile(path, virtio_header=None) as file:
        screen = ViewerScreen(file, path.name)
        app = QmonApp(screen)
        async with app.run_test(size=(100, 30)) as pilot:
            async with asyncio.timeout(30):
                while not screen._loaded:
                    await pilot.pause()
            await pilot.press("j", "enter", "2", "3")
            await pilot.pause()
        assert not app.return_code
        return screen


@pytest.mark.parametrize("content", [pcap, pcapng])
async def test_a_gzipped_file_is_shown_as_a_plain_one_is(content: object, tmp_path: Path) -> None:
    assert callable(content)
    path = tmp_path / "capture.gz"
    path.write_bytes(gzip.compress(content()))
    screen = await loaded(path)
    assert screen.store.packets == len(FRAMES)
    assert screen.store.frame(1234) == FRAMES[1234]


@pytest.mark.parametrize("name", ["many_interfaces", "journal", "commented_packets", "statistics", "names"])
async def test_a_file_that_asks_for_much_is_shown_as_far_as_it_goes(name: str, tmp_path: Path) -> None:
    path = tmp_path / "bomb"
    path.write_bytes(ALL[name]())
    screen = await loaded(path)
    if name == "many_interfaces":
        assert "4096 interfaces" in screen._problem


async def test_help_lists_only_what_a_file_has(capture_file: Path) -> None:
    with CaptureFile(capture_file) as file:
        async with running(ViewerScreen(file, "trace.pcap")) as pilot:
            await until(lambda: "490 packets" in shown(pilot))
            await pilot.press("question_mark")
            await until(lambda: "Everywhere" in shown(pilot))
            said = shown(pilot)
            for live in ("Follow", "Pause", "netdev", "monitor", "VM", "live"):
                assert live not in said
            assert "Filter packets" in said


async def test_comments_on_packets_are_notes_and_lead_to_them(tmp_path: Path) -> None:
    path = tmp_path / "commented.pcapng"
    frames = replace(batch(demo_traffic()[:9]), comments=((4, "look [here]\nand here"),))
    with path.open("wb") as file:
        writer = PcapngWriter()
        file.write(writer.header() + writer.interface(Interface("u1")))
        file.write(writer.encode(frames))
    with CaptureFile(path) as capture:
        async with running(ViewerScreen(capture, path.name)) as pilot:
            await until(lambda: "9 packets" in shown(pilot))
            await pilot.press("3")
            await until(lambda: "look [here]" in shown(pilot) and "and here" in shown(pilot))
            await pilot.press("enter")
            await until(lambda: "Packet 5 " in shown(pilot))
