"""One VM watched: its network as a tree, its traffic, and everything else under tabs.

Owns the arrangement and the drawing rate. Must never ask the VM anything: snapshots say how things stand, and
changes go through `dialogs.changing`.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Input, Static

from qmon import text
from qmon.capture.following import MonitorState
from qmon.snapshot import Snapshot
from qmon.tui.dialogs.changing import ChangeDialogs
from qmon.tui.dialogs.leaving import Choice, LeaveDialog
from qmon.tui.moment import Moment, Pane
from qmon.tui.panes.conversations import ConversationsPane
from qmon.tui.panes.events import EventsPane
from qmon.tui.panes.header import Part, amount
from qmon.tui.panes.key_bar import KeyBar
from qmon.tui.panes.monitor import MonitorPane
from qmon.tui.panes.network import NetworkPane
from qmon.tui.panes.packets import PacketsPane
from qmon.tui.panes.traffic import TrafficPane
from qmon.tui.panes.usernet import UsernetPane
from qmon.tui.screens.tabbed import TabbedScreen

if TYPE_CHECKING:
    from qmon.watch import Watch

# The tree stands at the left of the traffic where there is this room, else it comes by its key.
BESIDE_COLUMNS, BESIDE_LINES = 90, 30
WIDE_TREE, TREE = 44, 36
LOW = 20
ROOMY = 100


class DashboardScreen(TabbedScreen):
    """The dashboard on a `Watch` that is already entered; `again` says that the user wants another VM.

    `owned` tells that the VM ends with qmon; without `confirm` leaving is not asked about.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a", "add", "Add", tooltip="Add a netdev, NIC or forward"),
        Binding("t", "network", "Network", tooltip="Go to the network tree"),
        Binding("colon", "monitor", "Monitor", key_display=":", tooltip="Type a monitor line", priority=True),
        Binding("v", "other_vm", "VMs", show=False, tooltip="Choose another VM"),
        Binding("r", "look", "Refresh", show=False, tooltip="Refresh"),
        Binding("q", "leave", "Quit"),
        Binding("ctrl+q", "leave", "Quit", show=False),
    ]

    def __init__(self, watch: Watch, *, owned: bool = False, confirm: bool = True) -> None:
        store = watch.store
        self._network = NetworkPane(id="network")
        self._traffic = TrafficPane(store, id="traffic")
        self._banner = Static("", id="banner", markup=False)
        self._conversations = ConversationsPane(store, id="conversations")
        self._usernet = UsernetPane(store, id="usernet")
        self._events = EventsPane(id="events")
        self._monitor = MonitorPane(lambda: self.watch_vm.session, self._monitor_line_sent, id="monitor")
        super().__init__(
            PacketsPane(store, live=True, id="packets"),
            {
                "Conversations": self._conversations,
                "Usernet": self._usernet,
                "Events": self._events,
                "Monitor": self._monitor,
            },
        )
        self.watch_vm = watch
        self._owned = owned
        self._confirm = confirm
        self.again = False
        self.changes = ChangeDialogs(self, watch)
        self._snapshot: Snapshot | None = None
        self._drawn: tuple[int, Pane | None] = (0, None)

    def compose(self) -> ComposeResult:
        """Make header, tree, traffic, tabs and panes."""
        yield self.header
        yield self._banner
        with Vertical(id="body"):
            yield self._network
            yield self._traffic
            yield from self.compose_tabs()
        yield KeyBar()

    def on_resize(self) -> None:
        """Share out the room anew."""
        self._arrange()

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """Show all of the tree while it is used, and only then."""
        self._use_tree(event.widget is self._network)

    def _arrange(self) -> None:
        """Give the packets the whole width: tree and traffic are above them, the tree over them while it is used."""
        width, height = self.size
        lines = self._network.end_row + self._network.heading_height
        beside = width >= BESIDE_COLUMNS and height >= BESIDE_LINES
        band = min(max(lines, 6), height // 4) if beside else 2 if height >= LOW else 1
        tree = WIDE_TREE if width >= 110 or not beside else TREE
        used = self.has_class("-tree")
        self._network.display = beside or used
        self._network.styles.width = min(tree, width)
        self._network.styles.height = max(band, lines) if beside and used else band if beside else "100%"
        self._network.styles.max_height = "100%"
        self._traffic.styles.height = band
        self._traffic.styles.padding = (0, 0, 0, tree if beside else 0)

    # Drawing

    def take_in(self) -> None:
        """Put what was captured where it is kept."""
        self.watch_vm.poll()

    def tick(self) -> None:
        """Take in new packets and the state of things, and draw what changed."""
        came, snapshot, second = self.watch_vm.poll(), self.watch_vm.snapshot(), this_second()
        pane = self.open_pane
        busy = pane is self.packets and self.packets.busy
        if not (came or busy) and (second, pane) == self._drawn and snapshot == self._snapshot:
            return
        version = None if self._snapshot is None else self._snapshot.version
        self._snapshot, self._drawn = snapshot, (second, pane)
        now = Moment(second, snapshot, waiting=_why_no_packets(snapshot))
        for one in (self._network, self._traffic, pane):
            one.show(now)
        if snapshot.version != version:
            self._arrange()
        self._show_header(snapshot)
        self._show_banner(snapshot)

    def _show_header(self, now: Snapshot) -> None:
        running = now.run_state == "running"
        left: list[Part] = [
            ("strong", text.plain(now.name or (f"pid {now.pid}" if now.pid else now.address)))
        ]
        left += [("dim", f"QEMU {text.plain(now.qemu_version)}")]
        if now.monitor is MonitorState.CONNECTED:
            left.append(("good" if running else "warn", text.plain(now.run_state)))
        else:
            left.append(("bad", str(now.monitor)))
        live = sum(tap.reason is None for tap in now.taps)
        right: list[Part] = [
            ("recording", f"● {live} tap{'' if live == 1 else 's'}") if live else ("dim", "○ no taps")
        ]
        right += [("text", f"{now.packets:,} packets"), ("text", amount(now.bytes))]
        # Where there is little room, that nothing was dropped need not be said.
        if now.dropped or self.size.width >= ROOMY:
            right.append(("bad" if now.dropped else "dim", f"{now.dropped:,} dropped"))
        self.header.show(left, right)

    def _show_banner(self, now: Snapshot) -> None:
        banner = self._banner
        shown = now.monitor is not MonitorState.CONNECTED
        if shown:
            what = {
                MonitorState.LOST: "The monitor is disconnected; reconnecting",
                MonitorState.ENDED: "The VM has ended · "
                + ("" if self._owned else "v: choose another VM · ")
                + "q: quit",
            }[now.monitor]
            note = text.plain(now.monitor_note)
            banner.update(f" {what}" + (f"  ({note})" if note else ""))
        if banner.display != shown:
            banner.display = shown

    # Keys

    def save_name(self) -> str:
        """Name a file after the VM."""
        return self.watch_vm.snapshot().name or "vm"

    def _monitor_line_sent(self, line: str) -> None:
        self.watch_vm.log("monitor", line)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Leave a colon to the line it is typed into, and a VM of our own to itself."""
        if action == "monitor" and isinstance(self.focused, Input):
            return False
        if action == "other_vm" and self._owned:
            return False
        return super().check_action(action, parameters)

    def action_monitor(self) -> None:
        """Type a monitor line."""
        self.open_tab("Monitor")

    def action_network(self) -> None:
        """Go to the network tree; over the rest where there is no room beside it."""
        self._use_tree(True)
        self.set_focus(self._network)

    def _use_tree(self, use: bool) -> None:
        self.set_class(use, "-tree")
        self._arrange()

    @on(NetworkPane.Left)
    def action_leave_network(self) -> None:
        """Go back from the tree."""
        self.set_focus(self.open_pane.entry)

    def action_leave(self) -> None:
        """Quit, once the user has agreed to what is lost by it."""
        self.ask(self._leave("Quit", "quit"))

    def action_other_vm(self) -> None:
        """Go back to the list of VMs, once the user has agreed to lose what was captured."""
        self.ask(self._leave("Choose another VM", "choose", again=True))

    async def _leave(self, title: str, word: str, *, again: bool = False) -> None:
        unsaved = self.watch_vm.store.next_seq - self.saved
        losses = []
        if self._owned and self.watch_vm.snapshot().monitor is not MonitorState.ENDED:
            losses.append("qmon has started this VM: it ends with qmon.")
        if unsaved:
            losses.append(f"{unsaved:,} captured packet{' is' if unsaved == 1 else 's are'} not saved.")
        if losses and self._confirm:
            dialog = LeaveDialog(title, losses, leave=word, can_save=unsaved > 0)
            choice = await self.app.push_screen_wait(dialog)
            if choice is None or (choice is Choice.SAVE_FIRST and not await self._save()):
                return
        self.again = again
        self.app.exit()

    def action_look(self) -> None:
        """Ask for the network now."""
        self.watch_vm.refresh()

    def action_add(self) -> None:
        """Add a netdev, NIC or forward."""
        self.changes.add(self._network.selected if self._network.has_focus else None)

    @on(NetworkPane.Asked)
    def _asked(self, event: NetworkPane.Asked) -> None:
        event.stop()
        self.changes.asked(event.what, event.line)

    @on(ConversationsPane.Picked)
    @on(UsernetPane.Picked)
    def _conversation_picked(self, event: ConversationsPane.Picked | UsernetPane.Picked) -> None:
        self.open_tab("Packets")
        self.packets.set_filter(event.expression)


def this_second() -> int:
    """Return the second that runs now, since the epoch; tests put another clock here."""
    return int(time.time())


def _why_no_packets(now: Snapshot) -> tuple[str, ...]:
    if any(tap.reason is None for tap in now.taps):
        if now.run_state != "running":
            return ("No packets yet: the VM is " + text.plain(now.run_state), "To start it, type  : cont")
        return (
            "No packets yet: the guest is silent",
            "To make its NICs announce themselves, type  : announce_self",
        )
    if not now.network.netdevs:
        return ("This VM has no netdev", "a: add one")
    reasons = tuple(f"{text.plain(name)}: {text.plain(why)}" for name, why in now.not_tapped)
    return ("Nothing is captured", "t: network tree · Space there: capture a netdev", *reasons)
