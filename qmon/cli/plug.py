"""`qmon plug` and `qmon unplug`: a netdev and the NIC on it, together."""

from __future__ import annotations

import asyncio

import click

from qmon.cli import output as out
from qmon.cli.changing import Manner, change_options
from qmon.cli.context import Context
from qmon.monitor.session import Session
from qmon.network import change, hazards
from qmon.network.captures import let_captures_join
from qmon.network.options import parse_netdev


@click.command(
    epilog="\b\nExamples:\n"
    "  qmon plug user,id=u2 --nic e1000,id=nic2\n"
    "  qmon plug tap,id=t1,ifname=tap0,script=no --nic virtio-net-pci,id=nic3"
)
@click.argument("spec")
@click.option("--nic", "nic_spec", metavar="SPEC", required=True, help="The NIC, in QEMU's -device syntax.")
@change_options
@click.pass_obj
def plug(context: Context, spec: str, nic_spec: str, manner: Manner) -> None:
    """Add a netdev and a NIC on it, both or neither.

    SPEC is the netdev, in QEMU's -netdev syntax. netdev= is put into the NIC's SPEC, and on boards such as q35 a
    free PCIe port as well.
    """
    out.run(_plug(context, spec, nic_spec, manner))


async def _plug(context: Context, spec: str, nic_spec: str, manner: Manner) -> None:
    async with context.attach() as session:
        if manner.dry_run:
            manner.show(await change.plan_plug(session, spec, nic_spec))
            return
        netdev, nic = await change.plug(session, spec, nic_spec, between=lambda new: _captured(session, new))
        arguments = parse_netdev(spec, await session.schema())
    said = f"{nic or 'the NIC'} is plugged into {netdev}"
    manner.tell(said, {"netdev": netdev, "nic": nic}, hazards.open_forwards(arguments))


async def _captured(session: Session, netdev: str) -> None:
    """Let captures of all netdevs have the new one from its NIC's first frame on."""
    await let_captures_join(session, netdev)


@click.command(
    epilog="Exit status 124: the guest has not released the NIC in time; the request is still pending.\n\n"
    "\b\nExamples:\n"
    "  qmon unplug nic2\n"
    "  qmon unplug nic2 --timeout 5"
)
@click.argument("nic")
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0, min_open=True),
    default=change.UNPLUG_S,
    show_default=True,
    metavar="S",
    help="How many seconds to wait for the guest.",
)
@change_options
@click.pass_obj
def unplug(context: Context, nic: str, timeout_s: float, manner: Manner) -> None:
    """Unplug a NIC, wait until the guest has released it, and remove its netdev."""
    out.run(_unplug(context, nic, timeout_s, manner))


async def _unplug(context: Context, nic: str, timeout_s: float, manner: Manner) -> None:
    async with context.attach() as session:
        if manner.dry_run:
            manner.show(await change.plan_unplug(session, nic))
            return
        try:
            netdev = await change.unplug(session, nic, timeout_s=timeout_s)
        except asyncio.CancelledError:
            out.talk(f"stopped waiting; the guest may still release {nic}, and its netdev stays")
            raise
    said = f"{nic} is unplugged" + (f" and {netdev} removed" if netdev else "")
    manner.tell(said, {"nic": nic, "netdev": netdev})
