"""`qmon forward`: ports of the host that a user-mode network forwards into the guest."""

from __future__ import annotations

import click

from qmon.cli import output as out
from qmon.cli.context import Context
from qmon.network import change
from qmon.network.model import Forward


@click.group(
    epilog="\b\nExamples:\n"
    "  qmon forward add 2222:22\n"
    "  qmon forward add 0.0.0.0:5353:53/udp --netdev u1\n"
    "  qmon forward add 0:80       # the kernel chooses the port, which is printed\n"
    "  qmon forward rm 2222"
)
def forward() -> None:
    """Host ports forwarded into the guest: list, add, remove."""


def _netdev_option(command: click.decorators.FC) -> click.decorators.FC:
    return click.option("--netdev", metavar="ID", help="The user netdev; needed where there are several.")(
        command
    )


def forward_record(one: Forward) -> dict[str, object]:
    """Return one entry of the document of `forward ls`."""
    return {
        "netdev": one.netdev,
        "protocol": one.protocol,
        "host_address": one.host_address,
        "host_port": one.host_port,
        "guest_address": one.guest_address,
        "guest_port": one.guest_port,
    }


@forward.command("ls")
@out.output_option
@click.pass_obj
def list_forwards(context: Context, output: str) -> None:
    """List the VM's host forwards; * is every address of the host."""
    found = out.run(_list(context))
    if output == "json":
        out.document({"forwards": [forward_record(one) for one in found]})
    elif found:
        rows = [(one.netdev, one.protocol, _host(one), _guest(one)) for one in found]
        out.table(("NETDEV", "PROTOCOL", "HOST", "GUEST"), rows)
    else:
        out.talk("This VM forwards no port.")


def _host(one: Forward) -> str:
    return f"{one.host_address}:{one.host_port}"


def _guest(one: Forward) -> str:
    return f"{one.guest_address}:{one.guest_port}"


async def _list(context: Context) -> tuple[Forward, ...]:
    async with context.attach() as session:
        return await change.list_forwards(session)


@forward.command(
    epilog="RULE is [HOST:]HPORT:GPORT[/udp], or QEMU's own tcp:HOST:HPORT-GUEST:GPORT. HOST is 127.0.0.1 unless "
    "told; * or 0.0.0.0 opens the port to everybody who reaches this host. With HPORT 0 the kernel chooses."
)
@click.argument("rule")
@_netdev_option
@out.output_option
@click.pass_obj
def add(context: Context, rule: str, netdev: str | None, output: str) -> None:
    """Forward a port of the host into the guest, and print where the host listens."""
    made = out.run(_add(context, rule, netdev))
    if output == "json":
        out.document({"forwards": [forward_record(made)]})
    else:
        out.data(_host(made))
        out.talk(f"{_host(made)} is forwarded to {_guest(made)} ({made.protocol}) on {made.netdev}")


async def _add(context: Context, rule: str, netdev: str | None) -> Forward:
    async with context.attach() as session:
        return await change.add_forward(session, rule, netdev=netdev)


@forward.command(
    "rm", epilog="RULE is [HOST:]HPORT[/udp]; HOST is 127.0.0.1 unless told, * is every address."
)
@click.argument("rule")
@_netdev_option
@click.pass_obj
def remove(context: Context, rule: str, netdev: str | None) -> None:
    """Remove a forward; connections made through it go on until they end."""
    gone = out.run(_remove(context, rule, netdev))
    out.talk(f"{_host(gone)} is no longer forwarded")


async def _remove(context: Context, rule: str, netdev: str | None) -> Forward:
    async with context.attach() as session:
        return await change.remove_forward(session, rule, netdev=netdev)
