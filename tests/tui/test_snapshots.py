"""What the screens look like, as pictures: compared with those in `__snapshots__` (`--snapshot-update` renews)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from qmon.capture.following import MonitorState
from qmon.monitor.address import UnixAddress
from qmon.monitor.discovery import MonitorSocket, Vm
from qmon.packets.files.source import CaptureFile
from qmon.tui.app import QmonApp
from qmon.tui.panes.packets import PacketsPane
from qmon.tui.screens.chooser import ChooserScreen
from qmon.tui.screens.dashboard import DashboardScreen
from qmon.tui.screens.viewer import ViewerScreen
from tests.tui.apps import shown, type_text, until
from tests.tui.frames import START_NS, demo_traffic
from tests.tui.scripted import ScriptedWatch

SIZES = [(80, 24), (160, 50)]
Do = Callable[[Pilot[None]], Awaitable[None]]


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    end_s = START_NS // 10**9 + int(demo_traffic()[-1][0]) + 1
    monkeypatch.setattr("qmon.tui.screens.dashboard.this_second", lambda: end_s)


def _settled(*keys: str, fact: str = "", after: str = "") -> Do:
    """Wait for the first dissection, press keys, wait for a text."""

    async def do(pilot: Pilot[None]) -> None:
        await until(lambda: "Internet Protocol" in shown(pilot))
        await pilot.press(*keys)
        await type_text(pilot, after)
        await until(lambda: fact in shown(pilot))
        pilot.app.set_class(True, "-still")
        for field in pilot.app.screen.query(Input):
            field.cursor_blink = False
        await pilot.pause()

    return do


def _dashboard(watch: ScriptedWatch | None = None) -> QmonApp:
    if watch is None:
        watch = ScriptedWatch()
        watch.arrive()
    return QmonApp(DashboardScreen(watch))  # type: ignore[arg-type]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("name", "do"),
    [
        ("packets", _settled()),
        ("field", _settled("G", "enter", "j", "j", fact="Packet 490")),
        ("filter", _settled("slash", after="tcp prt", fact="syntax")),
        ("filtered", _settled("slash", "a", "r", "p", "enter", fact="2 of 490")),
        ("conversations", _settled("2", fact="spoke first")),
        ("usernet", _settled("3", fact="ESTABLISHED")),
        ("events", _settled("4", fact="u1 is captured")),
        ("monitor", _settled("5", fact="Talk to")),
        ("tree", _settled("t", "j", fact="virtio-net-pci")),
        ("help", _settled("question_mark", fact="Everywhere")),
        ("add", _settled("a", fact="leads into the guest")),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_dashboard(snap_compare: Any, size: tuple[int, int], name: str, do: Do) -> None:
    assert snap_compare(_dashboard(), terminal_size=size, run_before=do)


@pytest.mark.parametrize("size", [(60, 15), (120, 40)])
@pytest.mark.parametrize("keys", [(), ("g", "enter")], ids=["list", "packet"])
def test_other_sizes(snap_compare: Any, size: tuple[int, int], keys: tuple[str, ...]) -> None:
    async def do(pilot: Pilot[None]) -> None:
        await until(lambda: "490 packets" in shown(pilot))
        await pilot.press(*keys)
        await until(lambda: ("Ethernet II" if keys else "Echo (ping)") in shown(pilot))
        if keys:
            packets = pilot.app.screen.query_one(PacketsPane)
            # The packet's first layer is chosen, and its bytes are marked, once all of the packet is there.
            await until(lambda: packets.detail.has_focus and packets.hex_view.marked[1] > 0)
        await pilot.pause()

    assert snap_compare(_dashboard(), terminal_size=size, run_before=do)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("theme", ["qmon-light", "qmon-16-colours", "qmon-no-colours"])
def test_themes(snap_compare: Any, size: tuple[int, int], theme: str) -> None:
    app = _dashboard()
    app.theme = theme
    assert snap_compare(app, terminal_size=size, run_before=_settled())


@pytest.mark.parametrize("size", SIZES)
def test_leaving(snap_compare: Any, size: tuple[int, int]) -> None:
    assert snap_compare(_dashboard(), terminal_size=size, run_before=_settled("q", fact="not saved"))


@pytest.mark.parametrize("size", SIZES)
def test_lost(snap_compare: Any, size: tuple[int, int]) -> None:
    watch = ScriptedWatch()
    watch.arrive()
    watch.change(monitor=MonitorState.LOST, monitor_note="there is no such socket", taps=(), dropped=12)
    assert snap_compare(_dashboard(watch), terminal_size=size, run_before=_settled(fact="disconnected"))


@pytest.mark.parametrize("size", SIZES)
def test_silent(snap_compare: Any, size: tuple[int, int]) -> None:
    async def do(pilot: Pilot[None]) -> None:
        await until(lambda: "the guest is silent" in shown(pilot))

    assert snap_compare(_dashboard(ScriptedWatch()), terminal_size=size, run_before=do)


def _vm(pid: int, name: str | None, *monitors: MonitorSocket) -> Vm:
    return Vm(pid, 1, name, "pc-q35-7.2", "/usr/bin/qemu-system-x86_64", 0, (), monitors)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("count", [0, 3])
def test_chooser(
    snap_compare: Any, size: tuple[int, int], count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    vms = [
        _vm(4711, "web", MonitorSocket(UnixAddress("/run/web.sock"), "qmp", "free")),
        _vm(4712, "router", MonitorSocket(UnixAddress("/run/router.sock"), "qmp", "shared")),
        _vm(4713, None),
    ][:count]

    async def listed() -> list[Vm]:
        return list(vms)

    monkeypatch.setattr("qmon.tui.screens.chooser.listed", listed)

    async def do(pilot: Pilot[None]) -> None:
        await until(lambda: ("router" if count else "No VM is running here") in shown(pilot))

    assert snap_compare(QmonApp(ChooserScreen()), terminal_size=size, run_before=do)


@pytest.mark.parametrize("size", SIZES)
def test_viewer(snap_compare: Any, size: tuple[int, int], capture_file: Path) -> None:
    with CaptureFile(capture_file) as file:
        app = QmonApp(ViewerScreen(file, "trace.pcap"))
        assert snap_compare(app, terminal_size=size, run_before=_settled())
