"""What changed in a VM's network during a capture: told by the qmon that did it, or found by comparing two looks.

Owns the words for both, and which of what was found has been told already. Must never ask the VM anything.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from qmon.capture.describe import present_netdevs, present_nics
from qmon.monitor.commandline import split_options
from qmon.monitor.events import Event
from qmon.monitor.hmp import UsernetStack
from qmon.monitor.kinds import link_set
from qmon.network.inspect import forwards
from qmon.network.model import Forward, Network
from qmon.network.rule import EVERY_HOST, Key
from qmon.text import plain

# Takes a kind of note ("change": by a qmon, "seen": by anybody else), its text and its time (UTC ns, None: now).
Say = Callable[[str, str, int | None], None]

_FORWARD = re.compile(r"(tcp|udp|):([^:]*):([0-9]{1,5})(?:-.*)?")


@dataclass(frozen=True, slots=True)
class _Found:
    """A difference between two looks; `name` is an id, or the forward itself."""

    what: str
    name: str | Forward
    came: bool
    text: str


@dataclass(slots=True)
class _Told:
    """A change that a qmon told of. `name` None: an id of QEMU's choice.

    `silent`: finding it tells nothing new. `lasting`: it comes true when the guest lets it. `awaited`: only what is
    found says it all, so that it is told then, as of `time_ns`.
    """

    text: str
    what: str = ""
    name: str | Key | None = None
    came: bool = True
    silent: bool = True
    lasting: bool = False
    awaited: bool = False
    time_ns: int | None = None

    def explains(self, found: _Found) -> bool:
        if (self.what, self.came) != (found.what, found.came):
            return False
        if isinstance(self.name, Key) and isinstance(found.name, Forward):
            if self.name.host_port == 0:
                return self.name.protocol == found.name.protocol
            return self.name.matches(found.name)
        return self.name is None or self.name == found.name


class NetworkChanges:
    """Tells of each change once: at its time where a qmon told of it, else when it was found."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._told: list[_Told] = []

    def hear(self, event: Event) -> None:
        """Take what `Monitor.on_change` delivers."""
        told = _told(event)
        if told is not None:
            told.time_ns = event.time_ns or None
            if not told.awaited:
                self._say("change", plain(told.text), told.time_ns)
            self._told.append(told)

    def looking(self, *what: str) -> Callable[[], None]:
        """Call this before a look at `what`, and what it returns after: told changes must have shown by then."""
        shown = [told for told in self._told if told.what in (*what, "") and not told.lasting]

        def looked() -> None:
            over = [told for told in self._told if any(told is one for one in shown)]
            self._told = [told for told in self._told if not any(told is one for one in shown)]
            for told in over:
                if told.awaited:
                    self._say("change", plain(told.text), told.time_ns)

        return looked

    def compare(self, before: Network, after: Network) -> None:
        """Tell of netdevs and NICs that came and went."""
        for what, old, new in (
            ("netdev", present_netdevs(before), present_netdevs(after)),
            ("NIC", present_nics(before), present_nics(after)),
        ):
            self._find(
                _Found(what, name, True, f"{what} {name} ({new[name]}) appeared")
                for name in new
                if name not in old
            )
            self._find(
                _Found(what, name, False, f"{what} {name} ({old[name]}) is gone")
                for name in old
                if name not in new
            )

    def compare_forwards(self, before: tuple[UsernetStack, ...], after: tuple[UsernetStack, ...]) -> None:
        """Tell of forwards that came and went on netdevs that stayed; with a netdev go its forwards."""
        stayed = {stack.netdev for stack in before} & {stack.netdev for stack in after}
        old, new = forwards(before), forwards(after)
        for came, those, others in ((True, new, frozenset(old)), (False, old, frozenset(new))):
            self._find(
                _Found("forward", one, came, f"{_spelt(one)} {'appeared' if came else 'is gone'}")
                for one in those
                if one not in others and one.netdev in stayed
            )

    def _find(self, differences: Iterable[_Found]) -> None:
        for found in differences:
            told = next((one for one in self._told if one.explains(found)), None)
            if told is None:
                self._say("seen", plain(found.text), None)
                continue
            self._told.remove(told)
            if told.awaited and isinstance(found.name, Forward):
                self._say("change", plain(f"{_spelt(found.name)} was added by qmon"), told.time_ns)
            elif not told.silent:
                self._say("change", plain(found.text), None)


def _spelt(one: Forward) -> str:
    host, guest = f"{one.host_address}:{one.host_port}", f"{one.guest_address}:{one.guest_port}"
    return f"forward {one.protocol} {host} to {guest} on {one.netdev}"


# What a qmon told: a command of QMP, or a line of HMP


def link_of(event: Event) -> tuple[str, bool] | None:
    """Return the NIC or netdev whose link an event of `Monitor.on_change` tells of, and whether it is up now."""
    data = event.data
    found = link_set(data.get("command"), data.get("arguments"), str(data.get("reply") or ""))
    return None if found is None or found[1] is None else (found[0], found[1])


def _told(event: Event) -> _Told | None:
    command, arguments = event.data.get("command"), event.data.get("arguments")
    if not isinstance(command, str) or not isinstance(arguments, dict):
        return None
    if command == "human-monitor-command":
        return _told_by_line(str(arguments.get("command-line")), str(event.data.get("reply", "")))
    return _told_by_command(command, {name: str(value) for name, value in arguments.items()})


def _told_by_command(command: str, arguments: Mapping[str, str]) -> _Told | None:
    name = arguments.get("id")
    if command == "set_link":
        up = arguments.get("up") == "True"
        return _Told(f"the link of {arguments.get('name')} was set {'up' if up else 'down'} by qmon")
    if command == "netdev_add":
        return _Told(f"netdev {name} ({arguments.get('type')}) was added by qmon", "netdev", name)
    if command == "netdev_del":
        return _Told(f"netdev {name} was removed by qmon", "netdev", name, came=False)
    if command == "device_add" and "netdev" in arguments:
        text = f"NIC {name or arguments.get('driver')} was plugged into {arguments['netdev']} by qmon"
        return _Told(text, "NIC", name)
    if command == "device_del":
        text = f"qmon asked the guest to release {name}"
        return _Told(text, "NIC", name, came=False, silent=False, lasting=True)
    return None


def _told_by_line(line: str, reply: str) -> _Told | None:
    command, *words = line.split() or [""]
    if command in ("hostfwd_add", "hostfwd_remove") and words:
        return _told_of_forward(command == "hostfwd_add", words, reply)
    if reply or not words:
        return None  # HMP answers at length only where it refuses.
    if command == "set_link" and len(words) > 1:
        return _told_by_command("set_link", {"name": words[0], "up": str(words[1] == "on")})
    if command in ("netdev_add", "device_add"):
        return _told_by_command(command, split_options(words[0], "type" if command[0] == "n" else "driver"))
    return _told_by_command(command, {"id": words[0]})


def _told_of_forward(came: bool, words: list[str], reply: str) -> _Told | None:
    if reply if came else not reply.endswith(" removed"):
        return None
    text = f"forward {words[-1]}{f' on {words[0]}' if len(words) > 1 else ''}"
    text += f" was {'added' if came else 'removed'} by qmon"
    match = _FORWARD.fullmatch(words[-1])
    if match is None:
        return _Told(text)
    key = Key(match[1] or "tcp", match[2] or EVERY_HOST, int(match[3]))
    # With port 0 the kernel chose one, which the next look tells.
    return _Told(text, "forward", key, came=came, awaited=came and key.host_port == 0)
