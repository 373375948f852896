"""`qmon ssh`: a shell in the guest, through a forward that lasts as long as the shell."""

from __future__ import annotations

import asyncio
import re
import shlex

import click

from qmon.cli import output as out
from qmon.cli.context import Context
from qmon.errors import QmonError
from qmon.monitor.commands import query_name
from qmon.monitor.protocol import Monitor
from qmon.network.answering import WAIT_S, wait_answer
from qmon.network.ssh import NEW_FORWARD, forwarded_ssh, ssh_forward, ssh_words


@click.command(
    epilog="The forward to the guest's port 22 that is there is used, else one is made on a free port of 127.0.0.1 and "
    "removed when ssh ends. The guest's key is remembered under the VM's name, in a file of qmon's own "
    "(~/.local/state/qmon/known_hosts). The exit status is ssh's.\n\n\b\nExamples:\n"
    "  qmon ssh --user root\n"
    "  qmon --vm web ssh -- -v uname -a"
)
@click.argument("words", metavar="[-- ARGS]", nargs=-1, type=click.UNPROCESSED)
@click.option("--user", metavar="U", help="Log in as this user.")
@click.option("--netdev", metavar="ID", help="The user netdev; needed where there are several.")
@click.option("--keep", is_flag=True, help="Leave a forward that was made for this.")
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0, min_open=True),
    default=WAIT_S,
    show_default=True,
    metavar="S",
    help="How many seconds to wait until the guest answers.",
)
@click.option("--dry-run", is_flag=True, help="Print the command lines that would be run; run none of them.")
@click.pass_obj
def ssh(
    context: Context,
    words: tuple[str, ...],
    user: str | None,
    netdev: str | None,
    keep: bool,
    timeout_s: float,
    dry_run: bool,
) -> int:
    """Run ssh into the guest, as soon as it answers; ARGS are ssh's."""
    if dry_run:
        return out.run(_show(context, words, user, netdev))
    return out.run(_ssh(context, words, user, netdev, keep, timeout_s))


async def _show(context: Context, words: tuple[str, ...], user: str | None, netdev: str | None) -> int:
    async with context.attach() as session:
        there = await ssh_forward(session, netdev)
        if there is None:
            on = f" --netdev {shlex.quote(netdev)}" if netdev else ""
            out.data(f"qmon forward add {NEW_FORWARD}{on}")
        else:
            out.data(shlex.join(ssh_words(there, await _name(session), user=user, words=words)))
    return 0


async def _ssh(
    context: Context,
    words: tuple[str, ...],
    user: str | None,
    netdev: str | None,
    keep: bool,
    timeout_s: float,
) -> int:
    async with context.attach() as session, forwarded_ssh(session, netdev, keep=keep) as forward:
        out.talk(f"waiting until the guest answers at {forward.guest_address}:{forward.guest_port}")
        await wait_answer(session, forward, timeout_s=timeout_s)
        return await _run(ssh_words(forward, await _name(session), user=user, words=words))


async def _name(session: Monitor) -> str:
    """Return a name for the VM that ssh takes: its own, else its pid."""
    return re.sub(r"[^\w.-]", "_", await query_name(session) or f"pid-{session.peer_pid}")


async def _run(words: list[str]) -> int:
    try:
        process = await asyncio.create_subprocess_exec(*words)
    except FileNotFoundError:
        raise QmonError("there is no ssh here", hint="apt install openssh-client") from None
    try:
        return await process.wait()
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
