"""`qmon bridge`: bridges of this host listed, made and removed."""

from __future__ import annotations

import select
import sys
from collections.abc import Callable

import click

from qmon.cli import output as out
from qmon.cli.groups import CommandGroup
from qmon.cli.tap import dry_run_option, show
from qmon.errors import Refused
from qmon.host import bridges, journal, state

_CONFIRM_WITHIN_S = journal.CONFIRM_S - 2


@click.group(
    cls=CommandGroup,
    epilog="Making and removing needs root and pyroute2 (pip install 'qmon[host]').\n\n\b\nExamples:\n"
    "  sudo qmon bridge add br0                   # guests among themselves\n"
    "  sudo qmon bridge add br0 --uplink eth0     # guests on the host's own network\n"
    "  sudo qmon tap add tap0 --bridge br0\n"
    "  sudo qmon bridge rm br0",
)
def bridge() -> None:
    """Bridges of this host: list, make, remove."""


def _yes_option(command: click.decorators.FC) -> click.decorators.FC:
    return click.option(
        "--yes", is_flag=True, help="Keep a change of an uplink without asking; for scripts."
    )(command)


@bridge.command("ls")
@out.output_option
def list_bridges(output: str) -> None:
    """List the host's bridges and what is in them."""
    found = state.bridges()
    if output == "json":
        out.document({"bridges": [{"name": one.name, "ports": list(one.ports)} for one in found]})
    elif found:
        out.table(("BRIDGE", "PORTS"), [(one.name, ", ".join(one.ports) or None) for one in found])
    else:
        out.talk("This host has no bridge.")


@bridge.command(
    epilog="The addresses, routes and hardware address of the uplink go over to the bridge. It is tried first: without "
    "a yes within 30 s everything is as it was before, also when qmon is killed or the terminal is lost. It does not "
    "outlast a boot. Wi-Fi cannot be an uplink: an access point drops frames with a guest's address."
)
@click.argument("name", metavar="BR")
@click.option(
    "--uplink", metavar="IF", help="The interface through which the bridge is on the outer network."
)
@click.option(
    "--force", is_flag=True, help="Even an uplink that something manages, or that your ssh came through."
)
@_yes_option
@dry_run_option
@out.output_option
def add(name: str, uplink: str | None, force: bool, yes: bool, dry_run: bool, output: str) -> None:
    """Make a bridge."""
    if uplink is not None:
        bridges.check_uplink(uplink, force=force)
    deeds = bridges.plan_add(name, uplink=uplink)
    if dry_run:
        show([deed.step for deed in deeds], output)
        return
    journal.carry_out(name, deeds, confirm=_confirming(yes) if uplink else None)
    if output == "json":
        out.document({"bridge": name, "uplink": uplink})
    else:
        out.talk(f"{name} is there" + (f", with {uplink} as its uplink" if uplink else ""))


@bridge.command("rm")
@click.argument("name", metavar="BR")
@_yes_option
@dry_run_option
@out.output_option
def remove(name: str, yes: bool, dry_run: bool, output: str) -> None:
    """Remove a bridge that qmon made; its uplink gets back what it had."""
    record = bridges.plan_remove(name)
    if dry_run:
        show(list(record.back), output)
        return
    confirm = _confirming(yes) if bridges.uplink_of(record) else None
    journal.carry_back(name, record, confirm=confirm)
    if output == "json":
        out.document({"bridge": name})
    else:
        out.talk(f"{name} is removed")


def _confirming(yes: bool) -> Callable[[], bool] | None:
    """Return what asks whether the host's network works; `Refused` where nobody can be asked."""
    if yes:
        return None
    if not sys.stdin.isatty():
        raise Refused(
            "nobody can be asked here whether the network still works", hint="--yes keeps it in any case."
        )

    def ask() -> bool:
        out.talk(
            f"Does the network work? y keeps it; in {journal.CONFIRM_S:g} s everything is as it was before."
        )
        heard = select.select([sys.stdin], [], [], _CONFIRM_WITHIN_S)[0]
        return bool(heard) and sys.stdin.readline().strip().lower() in ("y", "yes")

    return ask
