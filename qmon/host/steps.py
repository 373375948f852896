"""Single deeds on the host's network, each as the command that does the same. Pure.

Owns their spelling, for people and for the journal. Must never do anything: that is `kernel`'s.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class HostStep:
    """One deed: `kind` is a function of `kernel`, `arguments` are what it takes, `text` is the command like it."""

    kind: str
    arguments: Mapping[str, Any]
    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Deed:
    """A step and what takes it back, in order; each of these may find that nothing is there to take back."""

    step: HostStep
    back: tuple[HostStep, ...] = ()


def add_tap(name: str, uid: int | None) -> Deed:
    """Make a tap; `uid` is who may use it beside root."""
    user = "" if uid is None else f" user {uid}"
    step = HostStep("add_tap", {"name": name, "uid": uid}, f"ip tuntap add dev {name} mode tap{user}")
    return Deed(step, (delete_link(name),))


def add_bridge(name: str, mac: str | None) -> Deed:
    """Make a bridge, with a hardware address of its own or the one given."""
    address = f" address {mac}" if mac else ""
    step = HostStep("add_bridge", {"name": name, "mac": mac}, f"ip link add {name}{address} type bridge")
    return Deed(step, (delete_link(name),))


def delete_link(name: str) -> HostStep:
    """Remove an interface; nothing where it is gone."""
    return HostStep("delete_link", {"name": name}, f"ip link delete {name}")


def set_master(name: str, bridge: str | None) -> HostStep:
    """Put an interface into a bridge, or take it out."""
    words = f"master {bridge}" if bridge else "nomaster"
    return HostStep("set_master", {"name": name, "bridge": bridge}, f"ip link set {name} {words}")


def set_up(name: str) -> HostStep:
    """Switch an interface on."""
    return HostStep("set_up", {"name": name}, f"ip link set {name} up")


def add_address(
    link: str, address: str, *, broadcast: str | None = None, label: str | None = None
) -> HostStep:
    """Give an interface an address with its prefix length; nothing where it has it."""
    extra = (f" broadcast {broadcast}" if broadcast else "") + (f" label {label}" if label else "")
    arguments = {"link": link, "address": address, "broadcast": broadcast, "label": label}
    return HostStep("add_address", arguments, f"ip address add {address}{extra} dev {link}")


def delete_address(link: str, address: str) -> HostStep:
    """Take an address from an interface; nothing where it does not have it."""
    arguments = {"link": link, "address": address}
    return HostStep("delete_address", arguments, f"ip address delete {address} dev {link}")


def add_route(link: str, route: Mapping[str, Any]) -> HostStep:
    """Set a route through an interface; `route` is `state.Route.fields`."""
    words = [
        f"{name} {value}"
        for name, value in route.items()
        if name not in ("dst", "family") and value is not None
    ]
    text = " ".join(
        ["ip", "-6" if route["family"] == 6 else "-4", "route replace", str(route["dst"]), "dev", link]
    )
    return HostStep("add_route", {"link": link, "route": dict(route)}, " ".join([text, *words]))


def sysctl(name: str, value: str) -> HostStep:
    """Set a sysctl, named with slashes below `/proc/sys`."""
    return HostStep("sysctl", {"name": name, "value": value}, f"sysctl -w {name}={value}")


def nft(ruleset: str) -> HostStep:
    """Feed nftables a ruleset, which it takes whole or not at all."""
    return HostStep("nft", {"ruleset": ruleset}, f"nft -f - <<'END'\n{ruleset.rstrip()}\nEND")


def delete_table(table: str) -> HostStep:
    """Remove a table of nftables'; nothing where it is gone."""
    return HostStep("delete_table", {"table": table}, f"nft delete table {table}")


def start(words: Sequence[str], pid_file: str) -> Deed:
    """Start a server that puts itself into the background and its pid into a file."""
    step = HostStep("start", {"words": list(words)}, shlex.join(words))
    stop = HostStep(
        "stop", {"pid_file": pid_file, "program": words[0]}, f"kill $(cat {shlex.quote(pid_file)})"
    )
    return Deed(step, (stop,))
