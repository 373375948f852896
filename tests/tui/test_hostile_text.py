"""Names, events and packets full of markup and escapes are shown as they are, and do nothing."""

from __future__ import annotations

import unicodedata
from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from qmon.capture.vm import TapState
from qmon.monitor.hmp import Endpoint, UsernetConnection, UsernetStack
from qmon.network.model import Filter, Forward, Hub, HubPort, Netdev, Network, Nic
from qmon.snapshot import Snapshot, TimelineEntry
from qmon.tui.dialogs.confirm import ConfirmDialog, MessageDialog
from qmon.tui.network_lines import details, tree_lines
from tests.tui.apps import dashboard, shown, until
from tests.tui.frames import START_NS, Frame
from tests.tui.scripted import SNAPSHOT, ScriptedWatch

NASTY = (
    "[bold red]x[/]",
    "[@click=app.quit]q[/]",
    "[/]",
    "[",
    "\x1b[31;1mred\x1b]0;title\x07",
    "\x9b2J",
    "‮gnp",
    "a\r\nb\tc\0",
    "\ud800",
    "$primary %s {x}",
    "漢字[i]",
)
hostile = st.one_of(st.sampled_from(NASTY), st.text(st.characters(), max_size=20))


def _harmless(text: str) -> bool:
    return all(
        unicodedata.category(c) not in ("Cc", "Cs", "Zl", "Zp") and c not in "\u202e\u2066" for c in text
    )


def _snapshot(texts: list[str]) -> Snapshot:
    a, b, c, d, e, f = texts
    network = Network(
        netdevs=(
            Netdev(a, b, c, nic=d, filters=(Filter(e, f, a, ((b, c),)),)),
            Netdev(e, "user", f, hub=0, ghost=True),
            Netdev("loose" + f, b),
        ),
        nics=(Nic(d, e, f, a, path=b), Nic("other" + a, None, None, None)),
        hubs=(Hub(0, (HubPort(c, e), HubPort(d, None))),),
        not_understood=(a, f),
    )
    row = UsernetConnection(b, "HOST_FORWARD", None, 3, Endpoint(c, 1), Endpoint(d, 2), 0, 0)
    other = UsernetConnection(b, e, None, 3, Endpoint(c, None), Endpoint(f, 2), 0, 0)
    return replace(
        SNAPSHOT,
        name=a,
        address=b,
        qemu_version=c,
        run_state=d,
        monitor_note=e,
        network=network,
        usernet=(UsernetStack(a, None, (row, other), (f,)),),
        taps=(TapState(a, 0),),
        not_tapped=((e, f),),
        timeline=tuple(
            TimelineEntry(i, START_NS, kind, text) for i, (kind, text) in enumerate([(a, b), (c, d)])
        ),
    )


@given(st.lists(hostile, min_size=6, max_size=6))
def test_the_tree_and_its_details_are_plain(texts: list[str]) -> None:
    snapshot = _snapshot(texts)
    for line in tree_lines(snapshot):
        assert all(_harmless(content) for _, content in (*line.parts, line.mark))
        if line.subject is not None:
            assert all(map(_harmless, details(line.subject, snapshot).split("\n")))
    forward = Forward(*texts[:3], 1, texts[3], 2)
    assert all(map(_harmless, details(forward, snapshot).split("\n")))


def _frame(name: str) -> Frame:
    options = [("message-type", "discover"), ("hostname", name.encode("utf-8", "surrogatepass")), "end"]
    return (
        0.0,
        2,
        bytes(Ether() / IP(dst="1.2.3.4") / UDP(sport=68, dport=67) / BOOTP() / DHCP(options=options)),
    )


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(hostile, min_size=6, max_size=6))
async def test_every_pane_shows_it_as_text(texts: list[str]) -> None:
    watch = ScriptedWatch(_snapshot(texts), interfaces=(texts[0],))
    watch.session.replies = {"x": "\n".join(texts), "help": "\n".join(texts)}
    watch.arrive(tuple(_frame(name) for name in texts))
    async with dashboard(watch) as (pilot, screen, _):
        await until(lambda: screen.packets.detail.end_row > 0)
        for keys in (
            ["E"],
            ["enter", "E"],
            ["2"],
            ["3"],
            ["4"],
            ["5", "x", "enter"],
            ["escape", "t", "enter"],
        ):
            await pilot.press(*keys)
            await pilot.pause()
            assert all(map(_harmless, shown(pilot).split("\n")))
        await pilot.press("escape")
        for dialog in (MessageDialog(texts[0], texts[1], hint=texts[2]), ConfirmDialog(texts[3], texts)):
            pilot.app.push_screen(dialog)
            await until(lambda dialog=dialog: dialog.is_current)
            await pilot.pause()
            assert all(map(_harmless, shown(pilot).split("\n")))
            await pilot.press("escape")
            await until(lambda: screen.is_current)
        assert not pilot.app._exit


async def test_markup_is_shown_letter_by_letter() -> None:
    watch = ScriptedWatch(_snapshot([NASTY[0], NASTY[1], "[/]", NASTY[0], "x", "y"]))
    async with dashboard(watch) as (pilot, _screen, _):
        await until(lambda: "[bold red]x[/]" in shown(pilot))
        pilot.app.push_screen(MessageDialog(NASTY[0], NASTY[1], error=False))
        await until(lambda: NASTY[1] in shown(pilot))
        assert NASTY[0] in shown(pilot)
