"""Taps made and removed: alone, in a bridge, or with a network of their own that is masqueraded.

Owns what each needs. Must never let the host forward for interfaces that have no part in it.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from ipaddress import IPv4Network, ip_network

from qmon.errors import Refused, UsageError
from qmon.host import journal, state, steps
from qmon.host.journal import Record
from qmon.host.steps import Deed, HostStep
from qmon.text import plain

_LONGEST_NAME = 15
_FORWARDING = "net/ipv4/conf/{}/forwarding"


@dataclass(frozen=True, slots=True)
class NatPlan:
    """A masqueraded network: the host's address in it, the way out, and whether a DHCP server can be had."""

    network: IPv4Network
    host: str
    uplink: str
    dhcp: bool


def check_name(name: str) -> str:
    """Return a name if the kernel takes it for an interface (net/core/dev.c, dev_valid_name)."""
    if not 0 < len(name.encode()) <= _LONGEST_NAME or set(name) & set("/: \t\n") or name in (".", ".."):
        raise UsageError(
            f"'{plain(name)}' cannot be an interface's name",
            hint=f"at most {_LONGEST_NAME} characters, without spaces, ':' and '/'",
        )
    return name


def nat_plan(text: str) -> NatPlan:
    """Read the network that a tap is to have; UsageError says what it may be, `Refused` that there is no way out."""
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        network = None
    if not isinstance(network, IPv4Network) or network.prefixlen > 29:
        raise UsageError(
            f"'{plain(text)}' is not a network for guests",
            hint="give an IPv4 network of /29 or larger, such as 10.99.0.0/24",
        )
    uplink = state.default_device()
    if uplink is None:
        raise Refused("this host has no default route: there is nothing to masquerade to")
    return NatPlan(network, str(network[1]), uplink, shutil.which("dnsmasq") is not None)


def plan_add(
    name: str, *, uid: int | None, bridge: str | None = None, nat: NatPlan | None = None
) -> tuple[Deed, ...]:
    """Return what makes a tap; `Refused` where it cannot be made."""
    if state.exists(check_name(name)):
        raise Refused(f"there is an interface '{plain(name)}' already")
    if bridge is not None and all(one.name != bridge for one in state.bridges()):
        raise Refused(f"there is no bridge '{plain(bridge)}'", hint=f"qmon bridge add {plain(bridge)}")
    deeds = [steps.add_tap(name, uid)]
    if bridge is not None:
        deeds.append(Deed(steps.set_master(name, bridge)))
    if nat is not None:
        deeds.append(Deed(steps.add_address(name, f"{nat.host}/{nat.network.prefixlen}")))
    deeds.append(Deed(steps.set_up(name)))
    if nat is not None:
        deeds += _masquerading(name, nat)
    return tuple(deeds)


def plan_remove(name: str) -> Record:
    """Return what removes a tap and all that was made for it; `Refused` if it is no tap, or a VM has it open."""
    tap = next((one for one in state.taps() if one.name == name), None)
    if tap is None:
        raise Refused(f"there is no tap '{plain(name)}'", hint="`qmon tap ls` lists them")
    if tap.carrier:
        raise Refused(
            f"the tap {plain(name)} is in use", hint="`qmon tap ls` says by which VM: unplug its NIC first"
        )
    try:
        return journal.read(journal.made(name))
    except OSError:  # Not made by qmon.
        return Record((), (steps.delete_link(name),))


def _masquerading(name: str, nat: NatPlan) -> list[Deed]:
    table = f"inet qmon-{name}"
    was_off = state.sysctl(_FORWARDING.format(nat.uplink)) == "0"
    # The table stands before the host forwards anything.
    deeds = [Deed(steps.nft(_ruleset(table, name, nat, closed=was_off)), (steps.delete_table(table),))]
    deeds.append(Deed(steps.sysctl(_FORWARDING.format(name), "1")))
    if was_off:
        forwarding = _FORWARDING.format(nat.uplink)
        deeds.append(Deed(steps.sysctl(forwarding, "1"), (steps.sysctl(forwarding, "0"),)))
    return [*deeds, _dhcp(name, nat)] if nat.dhcp else deeds


def _ruleset(table: str, tap: str, nat: NatPlan, *, closed: bool) -> str:
    """Return the table: out through the uplink only, in only what belongs to it."""
    # Where the uplink forwarded nothing before, it goes on forwarding nothing else.
    only = f'\n    iifname "{nat.uplink}" oifname != "{tap}" drop' if closed else ""
    return f"""\
add table {table}
delete table {table}
table {table} {{
  chain forward {{
    type filter hook forward priority filter; policy accept;
    iifname "{tap}" oifname != "{nat.uplink}" drop
    oifname "{tap}" ct state established,related accept
    oifname "{tap}" drop{only}
  }}
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr {nat.network} oifname "{nat.uplink}" masquerade
  }}
}}
"""


def _dhcp(name: str, nat: NatPlan) -> Deed:
    pid_file = str(journal.DIRECTORY / f"dnsmasq-{name}.pid")
    last = str(nat.network[-2])
    words = [
        "dnsmasq",
        "--conf-file=/dev/null",
        f"--interface={name}",
        "--except-interface=lo",
        "--bind-interfaces",
        f"--dhcp-range={nat.network[2]},{last},12h",
        "--dhcp-authoritative",
        "--leasefile-ro",
        f"--pid-file={pid_file}",
    ]
    return steps.start(words, pid_file)


def texts(deeds: tuple[Deed, ...]) -> list[HostStep]:
    """Return the steps of a plan."""
    return [deed.step for deed in deeds]
