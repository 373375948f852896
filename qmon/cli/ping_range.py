"""`qmon ping-range`: may guests behind user networking ping?"""

from __future__ import annotations

import shlex

import click

from qmon.cli import output as out
from qmon.cli.context import Context
from qmon.errors import ExitCode, Refused
from qmon.network.ping_range import SYSCTL, PingRights, let_ping, ping_rights, set_words

_KEEP = "/etc/sysctl.d/60-qmon-ping.conf"


@click.command(
    "ping-range",
    epilog="A guest behind user networking pings through a socket of QEMU's, which the kernel gives only to the groups "
    f"in {SYSCTL}. Exit status 1: this QEMU's group is not among them.\n\n\b\nExamples:\n"
    "  qmon ping-range\n"
    "  sudo qmon --vm NAME ping-range --set",
)
@click.option(
    "--set", "change", is_flag=True, help="Widen the range to QEMU's group (as root), until the next boot."
)
@click.option(
    "--dry-run", is_flag=True, help="With --set: print the command that does the same; change nothing."
)
@out.output_option
@click.pass_obj
def ping_range(context: Context, change: bool, dry_run: bool, output: str) -> int:
    """Say whether the guest can ping the outside, and let it."""
    rights = ping_rights(out.run(_pid(context)))
    if dry_run:
        out.data(shlex.join(set_words(rights)))
        return ExitCode.DONE
    if change and not rights.allowed:
        rights = let_ping(rights)
    if output == "json":
        out.document(_record(rights))
    else:
        _tell(rights)
    return ExitCode.DONE if rights.allowed else ExitCode.FAILED


async def _pid(context: Context) -> int:
    async with context.attach() as session:
        if session.peer_pid is None:
            raise Refused("which process this VM is cannot be seen from here", hint="Is it on another host?")
        return session.peer_pid


def _record(rights: PingRights) -> dict[str, object]:
    return {
        "pid": rights.pid,
        "group": rights.group,
        "groups": list(rights.groups),
        "raw": rights.raw,
        "range": [rights.low, rights.high],
        "allowed": rights.allowed,
        "wanted": rights.wanted,
    }


def _tell(rights: PingRights) -> None:
    span = "is empty" if rights.low > rights.high else f"is {rights.low} to {rights.high}"
    out.data(f"QEMU (pid {rights.pid}) runs as group {rights.group}; {SYSCTL} {span}")
    if rights.allowed:
        why = "it may open raw sockets" if rights.raw else "one of its groups is in the range"
        out.data(f"its guests can ping: {why}")
    else:
        out.data(f"its guests cannot ping beyond the VM; as root: {shlex.join(set_words(rights))}")
    if not rights.raw:
        out.talk(f"To keep it after a boot, put this into {_KEEP}:\n  {SYSCTL} = {rights.wanted}")
