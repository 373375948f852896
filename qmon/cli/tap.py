"""`qmon tap`: taps of this host listed, made and removed."""

from __future__ import annotations

import os
import pwd

import click

from qmon.cli import output as out
from qmon.cli.groups import CommandGroup
from qmon.errors import UsageError
from qmon.host import journal, state, taps
from qmon.host.steps import HostStep
from qmon.text import plain


@click.group(
    cls=CommandGroup,
    epilog="Making and removing needs root and pyroute2 (pip install 'qmon[host]').\n\n\b\nExamples:\n"
    "  sudo qmon tap add tap0 --bridge br0\n"
    "  sudo qmon tap add tap0 --nat 10.99.0.0/24\n"
    "  qmon plug tap,id=t1,ifname=tap0,script=no,downscript=no --nic virtio-net-pci\n"
    "  sudo qmon tap rm tap0",
)
def tap() -> None:
    """Taps of this host: list, make, remove."""


def dry_run_option(command: click.decorators.FC) -> click.decorators.FC:
    """Give a click command of the host's side `--dry-run`."""
    return click.option(
        "--dry-run", is_flag=True, help="Print the commands that do the same; change nothing."
    )(command)


def show(steps: list[HostStep], output: str) -> None:
    """Print commands that do the same as these steps."""
    if output == "json":
        out.document({"commands": [str(step) for step in steps]})
    else:
        for step in steps:
            out.data(str(step))


@tap.command("ls")
@out.output_option
def list_taps(output: str) -> None:
    """List the host's taps, and which VM has each open."""
    found = state.taps()
    holders = _holders() if found else {}
    if output == "json":
        out.document({"taps": [_record(one, holders.get(one.name)) for one in found]})
    elif found:
        rows = [
            (
                one.name,
                holders.get(one.name, (None, None))[1],
                one.bridge,
                _owner(one),
                "yes" if one.carrier else "no",
            )
            for one in found
        ]
        out.table(("TAP", "VM", "BRIDGE", "USER", "CARRIER"), rows)
    else:
        out.talk("This host has no tap.")


def _holders() -> dict[str, tuple[int, str]]:
    from qmon.monitor.discovery import list_vms

    return {name: (vm.pid, vm.name or f"pid:{vm.pid}") for vm in list_vms() for name in state.taps_of(vm.pid)}


def _record(one: state.Tap, holder: tuple[int, str] | None) -> dict[str, object]:
    return {
        "name": one.name,
        "vm": holder[1] if holder else None,
        "pid": holder[0] if holder else None,
        "bridge": one.bridge,
        "uid": one.owner,
        "carrier": one.carrier,
    }


def _owner(one: state.Tap) -> str | None:
    if one.owner is None:
        return None
    try:
        return pwd.getpwuid(one.owner).pw_name
    except KeyError:
        return str(one.owner)


@tap.command(
    epilog="With --nat the host has the network's first address, forwards for this tap and the interface of its "
    "default route only, and masquerades by a table of nftables' of its own; a dnsmasq, if there is one, gives "
    "addresses. `qmon tap rm` takes all of it back."
)
@click.argument("name")
@click.option("--bridge", metavar="BR", help="Put it into this bridge.")
@click.option("--nat", metavar="NET", help="Give it this IPv4 network, masqueraded to the outside.")
@click.option("--user", metavar="U", help="Who may use it beside root.  [default: who called sudo]")
@dry_run_option
@out.output_option
def add(name: str, bridge: str | None, nat: str | None, user: str | None, dry_run: bool, output: str) -> None:
    """Make a tap, for QEMU's -netdev tap,ifname=NAME."""
    if bridge and nat:
        raise UsageError("--bridge and --nat exclude each other: in a bridge, the bridge has the network")
    network = taps.nat_plan(nat) if nat else None
    deeds = taps.plan_add(name, uid=_uid(user), bridge=bridge, nat=network)
    if dry_run:
        show(taps.texts(deeds), output)
        return
    journal.carry_out(name, deeds)
    spec = f"tap,id=ID,ifname={name},script=no,downscript=no"
    if output == "json":
        out.document({"tap": name, "netdev": spec, "dhcp": bool(network and network.dhcp)})
        return
    out.talk(f"{name} is there: {spec}")
    if network is not None and not network.dhcp:
        out.talk(
            f"there is no dnsmasq here: give the guest an address of {network.network}, gateway {network.host}"
        )


def _uid(user: str | None) -> int | None:
    if user is None:
        sudo = os.environ.get("SUDO_UID", "")
        return int(sudo) if sudo.isdecimal() else None
    try:
        return int(user) if user.isdecimal() else pwd.getpwnam(user).pw_uid
    except KeyError:
        raise UsageError(f"there is no user '{plain(user)}'") from None


@tap.command("rm")
@click.argument("name")
@dry_run_option
@out.output_option
def remove(name: str, dry_run: bool, output: str) -> None:
    """Remove a tap, and what was made for it."""
    record = taps.plan_remove(name)
    if dry_run:
        show(list(record.back), output)
        return
    journal.carry_back(name, record)
    if output == "json":
        out.document({"tap": name})
    else:
        out.talk(f"{name} is removed")
