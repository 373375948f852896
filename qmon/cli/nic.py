"""`qmon nic`: NICs listed, added, removed, their links, and the models this QEMU has."""

from __future__ import annotations

import click

from qmon.cli import output as out
from qmon.cli.changing import Manner, change_options, timeout_option
from qmon.cli.context import Context
from qmon.cli.flap import flap
from qmon.cli.groups import CommandGroup
from qmon.cli.info import nic_record, say_incomplete
from qmon.network import change
from qmon.network.inspect import inspect
from qmon.network.model import Network, Nic
from qmon.network.nics import NicModel, NicOption, nic_models, nic_options


@click.group(
    cls=CommandGroup,
    epilog="\b\nExamples:\n"
    "  qmon nic add e1000,id=nic2,netdev=u2\n"
    "  qmon nic options e1000\n"
    "  qmon nic down nic1\n"
    "  qmon nic rm nic2 --timeout 10",
)
def nic() -> None:
    """List, add and remove NICs; set their link up or down."""


@nic.command("ls")
@out.output_option
@click.pass_obj
def list_nics(context: Context, output: str) -> None:
    """List the VM's NICs, and which netdev each is plugged into.

    LINK is what a qmon set last: QEMU cannot be asked for it, and another program may have set it otherwise.
    """
    network = out.run(_inspect(context))
    if output == "json":
        out.document({"nics": [nic_record(one) for one in network.nics]})
    elif network.nics:
        out.table(
            ("NIC", "MODEL", "MAC", "LINK", "NETDEV", "PATH"), [_row(network, one) for one in network.nics]
        )
    else:
        out.talk("This VM has no NIC.")
    say_incomplete(network)


async def _inspect(context: Context) -> Network:
    async with context.attach() as session:
        return await inspect(session)


def _row(network: Network, one: Nic) -> tuple[object, ...]:
    place = one.netdev if one.hub is None else f"hub {one.hub}"
    dead = any(netdev.ghost for netdev in network.below(one.id))
    link = None if one.link_up is None else "up" if one.link_up else "down"
    return (one.id, one.model, one.mac, link, f"{place} (deleted)" if dead else place, one.path)


@nic.command(
    epilog="SPEC is what QEMU takes after -device. On boards such as q35, where a NIC needs a PCIe port of its own, a "
    "free one is found if bus= is not given.\n\n\b\nExamples:\n"
    "  qmon nic add e1000,id=nic2,netdev=u2\n"
    "  qmon nic add virtio-net-pci,id=nic3,netdev=u3,bus=rp1"
)
@click.argument("spec")
@change_options
@click.pass_obj
def add(context: Context, spec: str, manner: Manner) -> None:
    """Plug a NIC in, onto a netdev that is there.

    SPEC is in QEMU's own -device syntax. `qmon nic models` tells which NICs this QEMU has.
    """
    out.run(_add(context, spec, manner))


async def _add(context: Context, spec: str, manner: Manner) -> None:
    async with context.attach() as session:
        if manner.dry_run:
            manner.show(await change.plan_add_nic(session, spec))
            return
        name = await change.add_nic(session, spec)
    manner.tell(f"{name or 'the NIC'} is plugged in", {"nic": name})


@nic.command(
    "rm", epilog="Exit status 124: the guest has not released the NIC in time; the request is still pending."
)
@click.argument("id_", metavar="ID")
@timeout_option
@change_options
@click.pass_obj
def remove(context: Context, id_: str, timeout_s: float, manner: Manner) -> None:
    """Unplug a NIC and wait until the guest has released it; its netdev stays."""
    out.run(_remove(context, id_, timeout_s, manner))


async def _remove(context: Context, id_: str, timeout_s: float, manner: Manner) -> None:
    async with context.attach() as session:
        if manner.dry_run:
            manner.show(await change.plan_remove_nic(session, id_))
            return
        netdev = await change.remove_nic(session, id_, timeout_s=timeout_s)
    said = f"{id_} is unplugged" + (f"; its netdev {netdev} stays" if netdev else "")
    manner.tell(said, {"nic": id_, "netdev": netdev})


nic.add_command(flap)


@nic.command()
@click.argument("id_", metavar="ID")
@change_options
@click.pass_obj
def up(context: Context, id_: str, manner: Manner) -> None:
    """Plug a NIC's cable in."""
    out.run(_link(context, id_, True, manner))


@nic.command()
@click.argument("id_", metavar="ID")
@change_options
@click.pass_obj
def down(context: Context, id_: str, manner: Manner) -> None:
    """Pull a NIC's cable out; the NIC stays."""
    out.run(_link(context, id_, False, manner))


async def _link(context: Context, id_: str, is_up: bool, manner: Manner) -> None:
    async with context.attach() as session:
        if manner.dry_run:
            manner.show(await change.plan_set_link(session, id_, is_up))
            return
        await change.set_link(session, id_, is_up)
    state = "up" if is_up else "down"
    manner.tell(f"the link of {id_} is {state}", {"nic": id_, "link": state})


@nic.command()
@out.output_option
@click.pass_obj
def models(context: Context, output: str) -> None:
    """List the NIC models that this QEMU can plug into a running VM.

    Each known model is asked about by name; a model that qmon has not heard of can be added all the same.
    """
    found = out.run(_models(context))
    if output == "json":
        out.document({"models": [{"name": one.name, "bus": one.bus} for one in found]})
    else:
        out.table(("MODEL", "BUS"), [(one.name, one.bus) for one in found])


async def _models(context: Context) -> tuple[NicModel, ...]:
    async with context.attach() as session:
        return await nic_models(session)


@nic.command()
@click.argument("model")
@out.output_option
@click.pass_obj
def options(context: Context, model: str, output: str) -> None:
    """List the options of one NIC model, as this QEMU describes them."""
    listed = out.run(_options(context, model))
    if output == "json":
        fields = [
            {"name": one.name, "type": one.type, "default": one.default, "description": one.description}
            for one in listed
        ]
        out.document({"model": model, "options": fields})
    else:
        out.table(
            ("OPTION", "TYPE", "DEFAULT", ""),
            [(o.name, o.type, o.default, o.description or "") for o in listed],
        )


async def _options(context: Context, model: str) -> tuple[NicOption, ...]:
    async with context.attach() as session:
        return await nic_options(session, model)
