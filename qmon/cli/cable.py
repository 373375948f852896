"""`qmon cable` and `qmon uncable`: two running VMs joined, and apart again."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING

import click

from qmon.cli import output as out
from qmon.cli.changing import Manner, change_options, timeout_option
from qmon.cli.context import Context
from qmon.errors import CannotAttach, Refused, UsageError
from qmon.monitor.address import parse_target
from qmon.network import cable as cables
from qmon.text import plain

if TYPE_CHECKING:
    from qmon.monitor.protocol import Monitor

_REACHABLE = ("free", "shared")


@click.command(
    epilog="The netdevs are called NAME and the NICs NAME-nic; what passes is captured like any netdev's. Nothing "
    "gives addresses on a cable: set them in the guests.\n\n\b\nExamples:\n"
    "  qmon cable web db\n"
    "  qmon cable pid:411 pid:412 --nic e1000 --name lan1\n"
    "  qmon uncable lan1"
)
@click.argument("vm1", metavar="VM1")
@click.argument("vm2", metavar="VM2")
@click.option(
    "--nic", "model", metavar="MODEL", default=cables.DEFAULT_MODEL, show_default=True, help="The NICs."
)
@click.option("--name", metavar="NAME", help="The cable's name; without it one is made up.")
@change_options
@click.pass_obj
def cable(context: Context, vm1: str, vm2: str, model: str, name: str | None, manner: Manner) -> None:
    """Join two running VMs by a cable, a NIC in each, and print its name.

    It needs no rights, no tap and no bridge, and goes when the VMs end. Both ends are there, or none.
    """
    if context.vms:
        raise UsageError("the VMs of a cable are named after the command", hint="qmon cable VM1 VM2")
    out.run(_cable(context, (vm1, vm2), model, name or cables.new_name(), manner))


async def _cable(context: Context, vms: Sequence[str], model: str, name: str, manner: Manner) -> None:
    async with AsyncExitStack() as stack:
        one, other = [await stack.enter_async_context(context.attach_to(parse_target(vm))) for vm in vms]
        ends = await cables.plan_cable(one, other, name, model)
        if manner.dry_run:
            manner.show_each([(vm, end.steps) for vm, end in zip(vms, ends, strict=True)])
            return
        await cables.lay_cable(ends)
    nics = [
        {"vm": vm, "nic": f"{name}-nic", "mac": end.nic.arguments.get("mac")}
        for vm, end in zip(vms, ends, strict=True)
    ]
    if manner.output != "json":
        out.data(name)
    said = f"{plain(vms[0])} and {plain(vms[1])} are joined; `qmon uncable {name}` takes the cable away"
    manner.tell(said, {"cable": name, "ends": nics})


@click.command(
    epilog="Without --vm the ends are looked for in all VMs of this host that can be reached. Exit status 124: a guest "
    "has not released its NIC in time; the request is still pending.\n\n\b\nExamples:\n  qmon uncable lan1"
)
@click.argument("name")
@timeout_option
@change_options
@click.pass_obj
def uncable(context: Context, name: str, timeout_s: float, manner: Manner) -> None:
    """Take a cable away: the NIC and the netdev of each end."""
    out.run(_uncable(context, name, timeout_s, manner))


async def _uncable(context: Context, name: str, timeout_s: float, manner: Manner) -> None:
    async with AsyncExitStack() as stack:
        found = await _ends(context, name, stack)
        if manner.dry_run:
            manner.show_each([(vm, await cables.plan_uncable(session, name)) for vm, session in found])
            return
        await cables.uncable([session for _, session in found], name, timeout_s=timeout_s)
    said = f"{plain(name)} is taken away from " + " and ".join(plain(vm) for vm, _ in found)
    manner.tell(said, {"cable": name, "vms": [vm for vm, _ in found]})


async def _ends(context: Context, name: str, stack: AsyncExitStack) -> list[tuple[str, Monitor]]:
    from qmon.monitor.discovery import listed

    named = list(context.vms) or [f"pid:{vm.pid}" for vm in await listed() if vm.state in _REACHABLE]
    found = []
    for vm in named:
        # One of all the VMs may end meanwhile; one that was named must be there.
        with suppress(*(() if context.vms else (CannotAttach,))):
            session = await stack.enter_async_context(context.attach_to(parse_target(vm)))
            if await cables.has_end(session, name):
                found.append((vm, session))
    if not found:
        raise Refused(
            f"no VM that can be reached has a cable '{plain(name)}'", hint="qmon netdev ls lists a VM's"
        )
    if len(found) > 2:
        raise UsageError(
            f"several cables are named '{plain(name)}': {', '.join(plain(vm) for vm, _ in found)} have one",
            hint="name the two VMs: qmon --vm VM1 --vm VM2 uncable NAME",
        )
    return found
