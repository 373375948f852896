"""`qmon netdev`: network backends listed, added, removed, and what this QEMU offers."""

from __future__ import annotations

import click

from qmon.cli import output as out
from qmon.cli.changing import Manner, change_options
from qmon.cli.context import Context
from qmon.cli.groups import CommandGroup
from qmon.cli.info import netdev_record, say_incomplete
from qmon.network import change, hazards
from qmon.network.inspect import inspect
from qmon.network.model import Netdev, Network
from qmon.network.options import Option, netdev_options, parse_netdev


@click.group(
    cls=CommandGroup,
    epilog="\b\nExamples:\n"
    "  qmon netdev add user,id=u2,hostfwd=tcp:127.0.0.1:2222-:22\n"
    "  qmon netdev options tap\n"
    "  qmon netdev rm u2",
)
def netdev() -> None:
    """List, add and remove network backends."""


@netdev.command("ls")
@out.output_option
@click.pass_obj
def list_netdevs(context: Context, output: str) -> None:
    """List the VM's netdevs, and what is plugged into them."""
    out.run(_list(context, output))


async def _list(context: Context, output: str) -> None:
    async with context.attach() as session:
        network = await inspect(session)
    if output == "json":
        out.document({"netdevs": [netdev_record(one) for one in network.netdevs]})
    elif network.netdevs:
        out.table(
            ("NETDEV", "TYPE", "PLUGGED INTO", "FILTERS", "INFO"), [_row(one) for one in network.netdevs]
        )
    else:
        out.talk("This VM has no netdev.")
    say_incomplete(network)


def _row(one: Netdev) -> tuple[object, ...]:
    place = one.nic if one.hub is None else f"hub {one.hub}"
    name = f"{one.id} (deleted)" if one.ghost else one.id
    return (name, one.type, place, len(one.filters) or None, one.info or None)


@netdev.command(
    epilog="SPEC is what QEMU takes after -netdev; a comma inside a value is written twice.\n\n\b\nExamples:\n"
    "  qmon netdev add user,id=u2,hostfwd=tcp:127.0.0.1:2222-:22\n"
    "  qmon netdev add tap,id=t1,ifname=tap0,script=no,downscript=no\n"
    "  qmon netdev add stream,id=s1,addr.type=unix,addr.path=/run/net.sock\n"
    '  qmon netdev add \'{"type": "user", "id": "u2"}\''
)
@click.argument("spec")
@change_options
@click.pass_obj
def add(context: Context, spec: str, manner: Manner) -> None:
    """Add a netdev.

    SPEC is in QEMU's own -netdev syntax. `qmon netdev types` and `qmon netdev options TYPE` tell what there is.
    """
    out.run(_add(context, spec, manner))


async def _add(context: Context, spec: str, manner: Manner) -> None:
    async with context.attach() as session:
        if manner.dry_run:
            manner.show(await change.plan_add_netdev(session, spec))
            return
        arguments = parse_netdev(spec, await session.schema())
        id_ = str(arguments["id"])
        before = await inspect(session)
        await change.add_netdev(session, spec)
    said = f"{id_} is added; `qmon nic add MODEL,id=…,netdev={id_}` plugs a NIC into it"
    manner.tell(said, {"netdev": id_}, _warnings(before, id_, arguments))


def _warnings(before: Network, id_: str, arguments: dict[str, object]) -> list[str]:
    ghost = hazards.ghost_warning(before, id_)
    return [*([ghost] if ghost else []), *hazards.warnings(arguments)]


@netdev.command("rm")
@click.argument("id_", metavar="ID")
@click.option("--force", is_flag=True, help="Even if a NIC is plugged into it, which is dead afterwards.")
@change_options
@click.pass_obj
def remove(context: Context, id_: str, force: bool, manner: Manner) -> None:
    """Remove a netdev; refused while something is plugged into it."""
    out.run(_remove(context, id_, force, manner))


async def _remove(context: Context, id_: str, force: bool, manner: Manner) -> None:
    async with context.attach() as session:
        if manner.dry_run:
            manner.show(await change.plan_remove_netdev(session, id_, force=force))
            return
        await change.remove_netdev(session, id_, force=force)
    manner.tell(f"{id_} is removed", {"netdev": id_})


@netdev.command()
@out.output_option
@click.pass_obj
def types(context: Context, output: str) -> None:
    """List the kinds of netdev that this QEMU has."""
    names = out.run(_types(context))
    if output == "json":
        out.document({"types": list(names)})
    else:
        for name in names:
            out.data(name)


async def _types(context: Context) -> tuple[str, ...]:
    async with context.attach() as session:
        return (await session.schema()).netdev_types()


@netdev.command()
@click.argument("type_", metavar="TYPE")
@out.output_option
@click.pass_obj
def options(context: Context, type_: str, output: str) -> None:
    """List the options of one kind of netdev, as this QEMU describes them."""
    listed = out.run(_options(context, type_))
    if output == "json":
        fields = [{"name": one.name, "type": one.type, "required": one.required} for one in listed]
        out.document({"type": type_, "options": fields})
    else:
        out.table(
            ("OPTION", "TYPE", ""), [(o.name, o.type, "required" if o.required else "") for o in listed]
        )


async def _options(context: Context, type_: str) -> tuple[Option, ...]:
    async with context.attach() as session:
        return netdev_options(type_, await session.schema())
