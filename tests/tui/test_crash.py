"""A mistake in the dashboard: told in short, with a status, the terminal given back and the packets kept."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from qmon.packets.files.source import CaptureFile
from qmon.packets.store.packet_store import PacketStore
from qmon.tui.crash import failure, rescue
from tests.tui.scripted import ScriptedWatch
from tests.tui.tmux import terminal

_PROGRAM = """
import sys
from qmon.cli import main, output
from qmon.tui.panes.packet_list import PacketList
from qmon.tui.run import show_dashboard
from tests.tui.scripted import ScriptedWatch

def fail(self):
    raise KeyError("x" * 500)

PacketList.action_clock = fail
watch = ScriptedWatch()
watch.arrive()
main._invoked = lambda: output.run(show_dashboard(watch))
main.main()
"""


@pytest.mark.terminal
async def test_a_failing_dashboard_keeps_the_packets(runtime_directory: Path, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(_PROGRAM)
    root = Path(__file__).parents[2]
    words = ["env", f"PYTHONPATH={root}", f"TMPDIR={tmp_path}", "sh", "-c", f'cd {tmp_path}; exec "$0" "$@"']
    async with terminal(runtime_directory, [*words, sys.executable, str(program)]) as pane:
        await pane.shows("490 packets")
        await pane.keys("T")
        screen = await pane.shows("exit status 1", "the dashboard failed: KeyError", "490 packets")
        assert "Traceback" not in screen
        assert len(screen.strip().splitlines()) < 15
    (kept,) = tmp_path.glob("qmon-rescued-*.pcapng")
    with CaptureFile(kept) as file:
        assert sum(len(batch) for batch in iter(file.read_batch, None)) == 490
    (report,) = tmp_path.glob("qmon-failure-*.txt")
    assert "action_clock" in report.read_text() or "in fail" in report.read_text()


def test_the_message_names_the_place_and_a_file_with_the_rest() -> None:
    try:
        raise ValueError("too\nlong")
    except ValueError as error:
        told = failure(error)
    assert re.search(r"ValueError: too.*test_crash\.py:\d+", told.message, re.DOTALL)
    assert told.hint is not None
    path = Path(told.hint.rpartition(" ")[2])
    assert "raise ValueError" in path.read_text()
    path.unlink()


async def test_packets_go_where_they_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await rescue(PacketStore()) == ""
    monkeypatch.chdir(tmp_path)
    watch = ScriptedWatch()
    watch.arrive()
    watch.poll()
    assert "490 packets" in await rescue(watch.store)
    assert list(tmp_path.glob("qmon-rescued-*.pcapng"))
