"""`qmon forward`: ports of the host that a user-mode network forwards into the guest."""

from __future__ import annotations

import click

from qmon.cli import output as out
from qmon.cli.changing import Manner, change_options
from qmon.cli.context import Context
from qmon.cli.groups import CommandGroup
from qmon.network import change
from qmon.network.answering import WAIT_S, wait_answer
from qmon.network.forward import open_warnings
from qmon.network.model import Forward


@click.group(
    cls=CommandGroup,
    epilog="\b\nExamples:\n"
    "  qmon forward add 2222:22\n"
    "  qmon forward add 8000-8010:8000\n"
    "  qmon forward add 0.0.0.0:5353:53/udp --netdev u1\n"
    "  qmon forward add 0:80       # the kernel chooses the port, which is printed\n"
    "  qmon forward rm 2222",
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
    "told; * or 0.0.0.0 opens the port to everybody who reaches this host. With HPORT 0 the kernel chooses. "
    "8000-8010:8000 forwards a range, port by port, all or none. Exit status 124: the guest did not answer in time; "
    "the forward stays."
)
@click.argument("rule")
@_netdev_option
@click.option("--wait", is_flag=True, help="Return when the guest accepts connections on the port (TCP).")
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0, min_open=True),
    default=WAIT_S,
    show_default=True,
    metavar="S",
    help="How many seconds to --wait.",
)
@change_options
@click.pass_obj
def add(
    context: Context, rule: str, netdev: str | None, wait: bool, timeout_s: float, manner: Manner
) -> None:
    """Forward a port of the host into the guest, and print where the host listens."""
    out.run(_add(context, rule, netdev, timeout_s if wait else None, manner))


async def _add(context: Context, rule: str, netdev: str | None, wait_s: float | None, manner: Manner) -> None:
    async with context.attach() as session:
        if manner.dry_run:
            manner.show(await change.plan_add_forwards(session, rule, netdev=netdev))
            return
        made = await change.add_forwards(session, rule, netdev=netdev)
        _tell_added(made, manner)
        if wait_s is not None:
            out.flush()
            out.talk(f"waiting until the guest answers at {_guest(made[0])}")
            await wait_answer(session, made[0], timeout_s=wait_s)


def _tell_added(made: tuple[Forward, ...], manner: Manner) -> None:
    if manner.output != "json":
        for one in made:
            out.data(_host(one))
    said = "\n".join(
        f"{_host(one)} is forwarded to {_guest(one)} ({one.protocol}) on {one.netdev}" for one in made
    )
    manner.tell(said, {"forwards": [forward_record(one) for one in made]}, open_warnings(made))


@forward.command(
    "rm",
    epilog="RULE is [HOST:]HPORT[/udp] or a range such as 8000-8010; HOST is 127.0.0.1 unless told, * is every "
    "address.",
)
@click.argument("rule")
@_netdev_option
@change_options
@click.pass_obj
def remove(context: Context, rule: str, netdev: str | None, manner: Manner) -> None:
    """Remove a forward; connections made through it go on until they end."""
    out.run(_remove(context, rule, netdev, manner))


async def _remove(context: Context, rule: str, netdev: str | None, manner: Manner) -> None:
    async with context.attach() as session:
        if manner.dry_run:
            manner.show(await change.plan_remove_forwards(session, rule, netdev=netdev))
            return
        gone = await change.remove_forwards(session, rule, netdev=netdev)
    said = "\n".join(f"{_host(one)} is no longer forwarded" for one in gone)
    manner.tell(said, {"forwards": [forward_record(one) for one in gone]})
