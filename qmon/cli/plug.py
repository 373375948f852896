"""`qmon plug` and `qmon unplug`: a netdev and the NIC on it, together."""

from __future__ import annotations

import asyncio

import click

from qmon.cli import output as out
from qmon.cli.changing import Manner, change_options, timeout_option
from qmon.cli.context import Context
from qmon.errors import Refused, TimedOut
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
        netdev, nic = await change.plug(
            session, spec, nic_spec, between=lambda new: let_captures_join(session, new)
        )
        arguments = parse_netdev(spec, await session.schema())
    said = f"{nic or 'the NIC'} is plugged into {netdev}"
    manner.tell(said, {"netdev": netdev, "nic": nic}, hazards.warnings(arguments))


@click.command(
    epilog="Exit status 124: the guest has not released the NIC in time; the request is still pending.\n\n"
    "--force removes the netdev when the guest does not release the NIC. The price: the NIC stays in the guest, dead "
    "and with its id and slot taken, until the guest releases it after all or the VM is reset; a new netdev of the "
    "same id does not revive it.\n\n"
    "\b\nExamples:\n"
    "  qmon unplug nic2\n"
    "  qmon unplug nic2 --timeout 5 --force"
)
@click.argument("nic")
@timeout_option
@click.option(
    "--force", is_flag=True, help="Remove the netdev even if the guest keeps the NIC, which is dead then."
)
@change_options
@click.pass_obj
def unplug(context: Context, nic: str, timeout_s: float, force: bool, manner: Manner) -> None:
    """Unplug a NIC, wait until the guest has released it, and remove its netdev."""
    out.run(_unplug(context, nic, timeout_s, force, manner))


async def _unplug(context: Context, nic: str, timeout_s: float, force: bool, manner: Manner) -> None:
    async with context.attach() as session:
        if manner.dry_run:
            manner.show(await change.plan_unplug(session, nic))
            return
        try:
            netdev = await change.unplug(session, nic, timeout_s=timeout_s)
        except asyncio.CancelledError:
            out.talk(f"stopped waiting; the guest may still release {nic}, and its netdev stays")
            raise
        except (Refused, TimedOut) as kept:
            netdev = await change.cut_off(session, nic) if force else None
            if netdev is None:
                raise
            warning = (
                f"{kept.message.partition(';')[0]}: the NIC stays, dead, until it does or the VM is reset"
            )
            manner.tell(f"{netdev} is removed", {"nic": None, "netdev": netdev}, (warning,))
            return
    said = f"{nic} is unplugged" + (f" and {netdev} removed" if netdev else "")
    manner.tell(said, {"nic": nic, "netdev": netdev})
