"""`qmon run`: start a QEMU and watch it from its first packet."""

from __future__ import annotations

import asyncio
import os
import sys
import termios
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

import click

from qmon.cli import output, recording, streams
from qmon.cli.context import Context
from qmon.cli.limit import limit_option
from qmon.errors import ExitCode, Refused, UsageError
from qmon.launch.command_line import Plan, configuration, plan
from qmon.launch.process import OwnedQemu

if TYPE_CHECKING:
    from qmon.capture.vm import CaptureOptions
    from qmon.watch import Watch


@click.command(
    context_settings={"allow_interspersed_args": False},
    epilog="\b\nExamples:\n"
    "  qmon run -- qemu-system-x86_64 -nic user -hda disk.img\n"
    "  qmon run -w boot.pcapng -- qemu-system-x86_64 -nographic -hda disk.img",
)
@click.option("--netdev", "netdevs", multiple=True, metavar="ID", help="Capture on this netdev (repeats).")
@click.option("--all", "everything", is_flag=True, help="Capture on every netdev that can be. The default.")
@click.option("-w", "file", metavar="FILE", help="Record into FILE (- is stdout) instead of the dashboard.")
@click.option(
    "--events",
    type=click.Choice(["journal", "comment", "none"]),
    default="journal",
    show_default=True,
    help="The VM's events in FILE: journal entries, comments on the next packet, none.",
)
@limit_option
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="-- QEMU…", required=True)
@click.pass_obj
def run(
    context: Context,
    *,
    netdevs: tuple[str, ...],
    everything: bool,
    file: str | None,
    events: str,
    limit_bytes: int | None,
    command: tuple[str, ...],
) -> int:
    """Start QEMU with a monitor added, and watch it from its first packet: qmon run -- qemu-system-x86_64 …

    The VM starts when the captures are on. With -w it keeps the terminal; in the dashboard, what it would have
    had there (-nographic, -serial stdio) is on a pty that the time line names. When qmon ends, so does the VM.
    """
    if context.vms:
        raise UsageError("--vm does not go with run, which starts a VM of its own")
    if netdevs and everything:
        raise UsageError("--netdev and --all contradict each other")
    if file is None:
        streams.require_terminal("the dashboard", "With -w FILE the VM is recorded without one.")
    from qmon.capture.vm import LIMIT_BYTES, CaptureOptions

    options = CaptureOptions(limit_bytes=limit_bytes or LIMIT_BYTES)
    with OwnedQemu() as owned:
        added = owned.directory / "monitor.cfg"
        added.write_text(configuration(owned.monitor))
        planned = plan(command, added, dashboard=file is None)
        failed = False
        if file is None:
            output.run(_dashboard(owned, planned, netdevs, options, confirm=context.confirm))
        else:
            with _terminal_restored():
                failed = output.run(_recording(owned, planned, netdevs, file, events, options))
    return owned.status or (ExitCode.FAILED if failed else ExitCode.DONE)


async def _dashboard(
    owned: OwnedQemu, planned: Plan, netdevs: tuple[str, ...], options: CaptureOptions, *, confirm: bool
) -> None:
    """Show the VM until the user leaves; its own end is told in the time line."""
    from qmon.launch.ready import EndedEarly, attach_when_ready, ptys
    from qmon.monitor import commands
    from qmon.monitor.address import UnixAddress
    from qmon.tui.run import show_dashboard
    from qmon.watch import Watch

    owned.start(planned.words, quiet=True)
    try:
        async with await attach_when_ready(owned) as session:
            consoles = await ptys(session)
    except EndedEarly:
        output.talk(owned.last_words())
        return
    address = UnixAddress(str(owned.monitor))
    async with Watch(address, netdevs=netdevs or None, options=options) as watch:
        await watch.first_taps()
        _require_taps(watch, netdevs)
        for label, path in consoles:
            watch.log("run", f"{label} is on {path}: screen {path}")
        if planned.starts_paused:
            watch.log("run", "paused by -S; `cont` in the Monitor tab starts it")
        elif watch.session is not None:
            await commands.cont(watch.session)
        async with _told_of_the_end(owned, watch):
            await show_dashboard(watch, owned=True, confirm=confirm)
    if owned.status:
        output.talk(owned.last_words())


def _require_taps(watch: Watch, netdevs: tuple[str, ...]) -> None:
    """Raise `Refused` if a netdev that was named is not captured: the VM would go without what was asked for."""
    now = watch.snapshot()
    reasons = dict(now.not_tapped)
    for netdev in netdevs:
        if netdev not in {tap.netdev for tap in now.taps}:
            present = ", ".join(one.id for one in now.network.netdevs) or "none"
            raise Refused(
                reasons.get(netdev, f"there is no netdev {netdev}"), hint=f"The VM's netdevs: {present}"
            )


@asynccontextmanager
async def _told_of_the_end(owned: OwnedQemu, watch: Watch) -> AsyncIterator[None]:
    """Put QEMU's end into the time line."""

    async def tell() -> None:
        status = await owned.wait()
        watch.log("run", f"QEMU ended with status {status}")

    telling = asyncio.create_task(tell(), name="wait for QEMU's end")
    try:
        yield
    finally:
        telling.cancel()


async def _recording(
    owned: OwnedQemu,
    planned: Plan,
    netdevs: tuple[str, ...],
    file: str,
    events: str,
    options: CaptureOptions,
) -> bool:
    """Record until QEMU ends or we are told to; return whether the recording failed."""
    from qmon.export.capture_file import FileOptions, open_file
    from qmon.export.live import Wanted, open_live
    from qmon.export.record import record
    from qmon.launch.ready import EndedEarly, attach_when_ready
    from qmon.monitor.address import UnixAddress
    from qmon.packets.files.notes import NoteForm

    stdout = output.binary_stdout() if file == "-" else None
    # With the capture on our standard output, what QEMU prints goes to the standard error.
    owned.start(planned.words, quiet=False, stdout=None if stdout is None else sys.stderr.fileno())
    try:
        await (await attach_when_ready(owned)).close()
    except EndedEarly:
        return False  # QEMU has said why, on our own standard error.
    wanted = Wanted([UnixAddress(str(owned.monitor))], netdevs, all=not netdevs, options=options)
    async with open_live(wanted, output.talk) as live:
        form = FileOptions((live.comment,), live.names, notes=NoteForm(events))
        recording.say_overwriting(file)
        sink = await open_file(file, stdout=stdout, options=form)
        if not planned.starts_paused:
            await live.sources[0].vm.cont()
        totals = await record(live.sources, sink, on_note=recording.say_note)
    failed = recording.close(totals) != ExitCode.DONE
    if failed and owned.status is None:
        output.talk("The VM keeps running; Ctrl-C ends it.")
        await owned.wait()
    return failed


@contextmanager
def _terminal_restored() -> Iterator[None]:
    """Leave the terminal as it was, also when QEMU is killed while it has it raw."""
    try:
        before = termios.tcgetattr(sys.stdin)
    except (termios.error, ValueError, OSError):
        yield  # No terminal there.
        return
    try:
        yield
    finally:
        if not _in_background():
            termios.tcsetattr(sys.stdin, termios.TCSANOW, before)


def _in_background() -> bool:
    """Tell whether the terminal is another job's: to touch it would stop us."""
    try:
        return os.tcgetpgrp(sys.stdin.fileno()) != os.getpgrp()
    except OSError:
        return False  # It is nobody's controlling terminal.
