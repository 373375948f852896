"""What the user asks to be done to the VM, from the question to the outcome.

Owns the order: ask, show the commands that will be sent, send, tell. Must never send what was not confirmed (a tap
is what the dashboard was opened for, and needs no question).
"""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from textual.screen import Screen

from qmon import text
from qmon.errors import QmonError, Refused
from qmon.monitor.commands import Command
from qmon.network import change, hazards
from qmon.network.model import Forward, Netdev, Nic
from qmon.network.options import parse_netdev
from qmon.network.steps import spelt
from qmon.tui.app import QmonApp
from qmon.tui.dialogs.box import hint_of
from qmon.tui.dialogs.confirm import ConfirmDialog, MessageDialog
from qmon.tui.dialogs.form import Field, FormDialog
from qmon.tui.dialogs.menu import Choice, MenuDialog
from qmon.tui.network_lines import TreeLine, details

if TYPE_CHECKING:
    from qmon.monitor.protocol import Monitor
    from qmon.watch import Watch

UNPLUG_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Intent:
    """A change that was thought through: what to ask, what will be sent, and how to do it."""

    question: str
    commands: tuple[Command, ...]
    act: Callable[[Monitor], Awaitable[object]]
    done: str | Callable[[object], str]
    warning: str = ""
    patience: str = ""


_ADDITIONS = (
    Choice("b", "netdev and NIC", "a network card and the network behind it"),
    Choice("n", "netdev", "a network without a card yet"),
    Choice("i", "NIC", "a network card on a netdev that is there"),
    Choice("f", "forward", "a port of the host that leads into the guest"),
)
_NETDEV, _NIC = "Netdev, as for QEMU's -netdev", "NIC, as for QEMU's -device"
_NOT_HERE = {"link": "Only a NIC has a link", "remove": "Nothing here can be removed"}


class ChangeDialogs:
    """Questions about a change, and the doing of it; every method starts a worker of the screen and returns at once."""

    def __init__(self, screen: Screen[Any], watch: Watch) -> None:
        self._screen = screen
        self._watch = watch

    def _session(self) -> Monitor:
        session = self._watch.session
        if session is None:
            raise Refused("the monitor is disconnected", hint="the dashboard reconnects by itself")
        return session

    @property
    def _app(self) -> QmonApp:
        app = self._screen.app
        assert isinstance(app, QmonApp)
        return app

    def _start(self, work: Awaitable[None], what: str) -> None:
        """Start something that asks in dialogs."""
        self._app.ask(self._screen, self._told(work, what))

    async def _told(self, work: Awaitable[None], what: str) -> None:
        """Await something; show in full why it failed."""
        try:
            await work
        except QmonError as problem:
            self._watch.log("change", f"{what}: failed: {problem.message}")
            dialog = MessageDialog(what, problem.message, hint=hint_of(problem))
            await self._app.push_screen_wait(dialog)

    async def _carry_out(self, intent: Intent) -> None:
        """Ask, send, tell."""
        commands = spelt(intent.commands)
        dialog = ConfirmDialog(intent.question, commands, warning=intent.warning)
        agreed = await self._app.push_screen_wait(dialog)
        self._app.asked()
        if not agreed:
            return
        if intent.patience:
            self._screen.notify(text.plain(intent.patience), markup=False)
        for command in commands:
            self._watch.log("change", command)
        try:
            result = await intent.act(self._session())
        finally:
            self._watch.refresh()
        said = intent.done if isinstance(intent.done, str) else intent.done(result)
        self._watch.log("change", said)
        self._screen.notify(text.plain(said), markup=False)

    # Adding

    def add(self, at: TreeLine | None = None) -> None:
        """Ask what to add, and add it; what is proposed suits the line of the tree that is chosen."""
        self._start(self._add(_netdev_of(at)), "Add to the VM")

    async def _add(self, chosen: str | None) -> None:
        kind = await self._app.push_screen_wait(MenuDialog("Add", _ADDITIONS))
        forms: dict[str | None, Callable[[], FormDialog[Intent]]] = {
            "b": self._both,
            "n": self._netdev,
            "i": lambda: self._nic(chosen),
            "f": lambda: self._forward(chosen),
        }
        form = forms.get(kind)
        if form is None:
            return
        intent = await self._app.push_screen_wait(form())
        if intent is not None:
            await self._carry_out(intent)

    def _both(self) -> FormDialog[Intent]:
        async def check(values: Sequence[str]) -> Intent:
            netdev, nic = values
            return Intent(
                "Add a netdev and a NIC on it",
                await change.plan_plug(self._session(), netdev, nic),
                lambda session: change.plug(session, netdev, nic, between=self._tap_before_use),
                "The NIC is plugged in",
                await self._netdev_warning(netdev),
            )

        nic = Field(_NIC, "virtio-net-pci,id=nic2", f"virtio-net-pci,id={self._free_id('nic')}")
        return FormDialog("Add netdev and NIC", (self._new_netdev(), nic), check, hints=_PLUG_HINTS)

    def _new_netdev(self) -> Field:
        return Field(_NETDEV, "user,id=u2", f"user,id={self._free_id('u')}")

    def _free_id(self, stem: str) -> str:
        """Return the first of stem1, stem2, … that nothing in the network has."""
        network = self._watch.snapshot().network
        taken = {netdev.id for netdev in network.netdevs} | {nic.id for nic in network.nics}
        return next(name for number in itertools.count(1) if (name := f"{stem}{number}") not in taken)

    async def _netdev_warning(self, spec: str) -> str:
        arguments = parse_netdev(spec, await self._session().schema())
        network = self._watch.snapshot().network
        ghost = hazards.ghost_warning(network, str(arguments.get("id")))
        return "\n".join([*filter(None, [ghost]), *hazards.warnings(arguments)])

    async def _tap_before_use(self, netdev: str) -> None:
        """Tap a netdev before its NIC is there, so that its first frame is seen too."""
        try:
            await self._watch.tap(netdev)
        except QmonError as problem:
            self._watch.log("tap", f"{netdev} is not captured: {problem.message}")

    def _netdev(self) -> FormDialog[Intent]:
        async def check(values: Sequence[str]) -> Intent:
            commands = await change.plan_add_netdev(self._session(), values[0])
            return Intent(
                "Add a netdev",
                commands,
                lambda session: change.add_netdev(session, values[0]),
                "Added the netdev",
                await self._netdev_warning(values[0]),
            )

        return FormDialog("Add netdev", (self._new_netdev(),), check, hints=_NETDEV_HINTS)

    def _nic(self, chosen: str | None) -> FormDialog[Intent]:
        async def check(values: Sequence[str]) -> Intent:
            commands = await change.plan_add_nic(self._session(), values[0])
            return Intent(
                "Add a NIC",
                commands,
                lambda session: change.add_nic(session, values[0]),
                "The NIC is plugged in",
            )

        free = [
            one.id for one in self._watch.snapshot().network.netdevs if one.nic is None and one.hub is None
        ]
        netdev = chosen if chosen in free else free[0] if len(free) == 1 else None
        on = f",netdev={text.plain(netdev)}" if netdev else ""
        spec = f"virtio-net-pci,id={self._free_id('nic')}{on}"
        field = Field(_NIC, "virtio-net-pci,id=nic2,netdev=u2", spec)
        return FormDialog("Add NIC", (field,), check)

    def _forward(self, chosen: str | None) -> FormDialog[Intent]:
        async def check(values: Sequence[str]) -> Intent:
            rule, netdev = values[0], values[1] or None
            return Intent(
                "Forward a port of the host",
                await change.plan_add_forwards(self._session(), rule, netdev=netdev),
                lambda session: change.add_forwards(session, rule, netdev=netdev),
                _forwarded,
            )

        users = [one.id for one in self._watch.snapshot().network.netdevs if one.type == "user"]
        proposed = chosen if chosen in users else users[0] if users else ""
        label = f"Netdev ({', '.join(map(text.plain, users)) or 'of type user'})"
        netdev = Field(label, "u1", text.plain(proposed))
        rule = Field("Forward: [HOST:]HOST-PORT:GUEST-PORT[/udp]", "2222:22")
        return FormDialog("Add forward", (rule, netdev), check, hints=_FORWARD_HINTS)

    # From the tree

    def asked(self, what: str, line: TreeLine) -> None:
        """Do what was asked for at a line of the tree."""
        subject = line.subject
        if what == "tap":
            self._tap(line)
        elif what == "details":
            self._details(line)
        elif what == "link" and isinstance(subject, Nic):
            self._start(self._link(subject), f"Link of {text.plain(subject.id)}")
        elif what == "remove" and subject is not None:
            self._start(self._remove(subject), f"Remove {line.kind} {line.id}")
        else:
            self._screen.notify(_NOT_HERE[what], timeout=3)

    def _tap(self, line: TreeLine) -> None:
        netdev = _netdev_of(line)
        if netdev is None:
            self._screen.notify("There is no netdev here to capture", timeout=3)
            return
        live = {tap.netdev for tap in self._watch.snapshot().taps if tap.reason is None}
        deed = self._watch.untap(netdev) if netdev in live else self._watch.tap(netdev)
        self._screen.run_worker(self._told(deed, f"Tap {text.plain(netdev)}"), group="taps")

    def _details(self, line: TreeLine) -> None:
        if line.subject is not None:
            title = text.plain(f"{line.kind} {line.id}")
            dialog = MessageDialog(title, details(line.subject, self._watch.snapshot()), error=False)
            self._app.push_screen(dialog)

    async def _link(self, nic: Nic) -> None:
        up = nic.link_up is False
        word = "up" if up else "down"
        commands = await change.plan_set_link(self._session(), nic.id, up)

        async def act(session: Monitor) -> None:
            await change.set_link(session, nic.id, up)
            self._watch.note_link(nic.id, up)

        warning = (
            "" if up else "The guest sees its cable unplugged; nothing passes until the link is up again."
        )
        question = f"Set the link of {nic.id} {word}"
        await self._carry_out(Intent(question, commands, act, f"The link of {nic.id} is {word}", warning))

    async def _remove(self, subject: Nic | Netdev | Forward) -> None:
        session = self._session()
        if isinstance(subject, Nic):
            commands = await change.plan_unplug(session, subject.id)
            both = any(str(command).startswith("netdev_del") for command in commands)
            intent = Intent(
                f"Unplug the NIC {subject.id}" + (f" and remove {subject.netdev}" if both else ""),
                commands,
                lambda session: change.unplug(session, subject.id, timeout_s=UNPLUG_TIMEOUT_S),
                f"Unplugged {subject.id}",
                "The guest must release it, which only a running operating system does.",
                f"Waiting up to {UNPLUG_TIMEOUT_S:.0f} s for the guest to release {subject.id}",
            )
        elif isinstance(subject, Netdev):
            used = subject.nic is not None
            intent = Intent(
                f"Remove the netdev {subject.id}",
                await change.plan_remove_netdev(session, subject.id, force=used),
                lambda session: change.remove_netdev(session, subject.id, force=used),
                f"Removed {subject.id}",
                f"{subject.nic} is plugged into it: the NIC stays, dead, until it is unplugged."
                if used
                else "",
            )
        else:
            intent = await self._forward_removal(session, subject)
        await self._carry_out(intent)

    async def _forward_removal(self, session: Monitor, forward: Forward) -> Intent:
        suffix = "/udp" if forward.protocol.lower() == "udp" else ""
        rule = f"{forward.host_address or '*'}:{forward.host_port}{suffix}"
        return Intent(
            f"Remove the forward of {rule} on {forward.netdev}",
            await change.plan_remove_forwards(session, rule, netdev=forward.netdev),
            lambda session: change.remove_forwards(session, rule, netdev=forward.netdev),
            f"Removed the forward of {rule}",
        )


def _netdev_of(line: TreeLine | None) -> str | None:
    """Return the netdev that a line of the tree is about."""
    subject = None if line is None else line.subject
    return subject.id if isinstance(subject, Netdev) else subject.netdev if subject else None


def _forwarded(result: object) -> str:
    if not (isinstance(result, tuple) and result and isinstance(result[0], Forward)):
        return "The port is forwarded"
    one, more = result[0], len(result) - 1
    said = f"{one.host_address}:{one.host_port} is forwarded to {one.guest_address}:{one.guest_port}"
    return f"{said}, and {more} more" if more else said


_PLUG_HINTS = (
    "If the NIC is refused, the netdev is removed again.",
    "On boards like q35 a free PCIe port is chosen for it.",
)
_NETDEV_HINTS = (
    "For example: user,id=u2,hostfwd=tcp:127.0.0.1:2222-:22",
    "or: tap,id=t0,ifname=tap0,script=no,downscript=no",
)
_FORWARD_HINTS = ("Without HOST only this host can connect (127.0.0.1). Port 0 lets the kernel choose one.",)
