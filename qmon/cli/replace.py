"""`qmon replace`: another network under a NIC."""

from __future__ import annotations

import asyncio

import click

from qmon.cli import output as out
from qmon.cli.changing import Manner, change_options, timeout_option
from qmon.cli.context import Context
from qmon.network import hazards
from qmon.network.captures import let_captures_join
from qmon.network.options import parse_netdev
from qmon.network.replace import plan_replace
from qmon.network.replace import replace as replace_netdev


@click.command(
    epilog="QEMU cannot move a NIC from one netdev to another: the guest sees the NIC unplugged, and one of the same "
    "model, id, MAC and PCI address plugged in. It loses its addresses and connections unless it configures new NICs "
    "by itself. If the new NIC is refused, the old netdev and NIC are back. Exit status 124: the guest has not "
    "released the NIC in time.\n\n\b\nExamples:\n"
    "  qmon replace nic1 tap,id=t1,ifname=tap0,script=no,downscript=no\n"
    "  qmon replace nic1 user,id=u2,restrict=on --dry-run"
)
@click.argument("nic")
@click.argument("spec")
@timeout_option
@change_options
@click.pass_obj
def replace(context: Context, nic: str, spec: str, timeout_s: float, manner: Manner) -> None:
    """Put another netdev under a NIC, and remove the one it is on.

    SPEC is the new netdev, in QEMU's -netdev syntax, with an id of its own.
    """
    out.run(_replace(context, nic, spec, timeout_s, manner))


async def _replace(context: Context, nic: str, spec: str, timeout_s: float, manner: Manner) -> None:
    async with context.attach() as session:
        if manner.dry_run:
            manner.show(await plan_replace(session, nic, spec))
            return
        arguments = parse_netdev(spec, await session.schema())
        out.talk(f"the guest will see {nic} unplugged, and plugged in again on the new netdev")
        try:
            netdev = await replace_netdev(
                session,
                nic,
                spec,
                timeout_s=timeout_s,
                between=lambda new: let_captures_join(session, new),
            )
        except asyncio.CancelledError:
            out.talk(f"stopped waiting; the guest may still release {nic}, whose netdev stays")
            raise
    manner.tell(f"{nic} is on {netdev} now", {"nic": nic, "netdev": netdev}, hazards.warnings(arguments))
