"""`qmon demo`: a tiny VM with real traffic, and the dashboard on it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from qmon.cli import output, recording, streams
from qmon.cli.context import Context
from qmon.errors import ExitCode, QmonError, UsageError

if TYPE_CHECKING:
    from qmon.demo.vm import DemoVm


@click.command(
    epilog="\b\nExamples:\n  qmon demo\n  qmon demo --headless --duration 20 -w demo.pcapng",
)
@click.option("--headless", is_flag=True, help="No dashboard: let the VM run, and record it with -w.")
@click.option(
    "--duration",
    type=click.FloatRange(min=0, min_open=True),
    metavar="S",
    help="With --headless: end after S seconds. Default: until Ctrl-C.",
)
@click.option(
    "-w", "file", metavar="FILE", help="With --headless: write every packet to FILE (pcapng), or -."
)
@click.option(
    "--accel",
    type=click.Choice(["auto", "kvm", "tcg"]),
    default="auto",
    show_default=True,
    help="What runs the guest; auto tries whether KVM really works.",
)
@click.option("--qemu", metavar="PROGRAM", help="The QEMU to use. Default: qemu-system-x86_64 of PATH.")
@click.pass_obj
def demo(
    context: Context,
    *,
    headless: bool,
    duration: float | None,
    file: str | None,
    accel: str,
    qemu: str | None,
) -> int:
    """Start a tiny VM with real traffic, and the dashboard on it.

    The VM needs no disk image: its boot ROM fetches from little servers that listen on loopback only. It, they and
    all their files are gone when this ends.
    """
    from qmon.demo.program import find_qemu
    from qmon.demo.vm import DemoVm

    if not headless and (duration is not None or file is not None):
        raise UsageError(
            "--duration and -w go with --headless", hint="qmon demo --headless --duration 10 -w FILE"
        )
    if not headless:
        streams.require_terminal("the dashboard", "`qmon demo --headless` runs the VM without one.")
    program = find_qemu(qemu)
    output.talk("starting a tiny VM; its first packets come in some 5 s")
    with DemoVm(qemu=[program], accel=accel, paused=True) as vm:
        if headless:
            return output.run(_headless(vm, duration, file))
        output.run(_dashboard(vm, confirm=context.confirm))
    return ExitCode.DONE


async def _dashboard(vm: DemoVm, *, confirm: bool) -> None:
    from qmon.monitor import commands
    from qmon.monitor.address import UnixAddress
    from qmon.tui.run import show_dashboard
    from qmon.watch import Watch

    async with Watch(UnixAddress(str(vm.process.monitor))) as watch:
        await watch.first_taps()
        if watch.session is not None:
            await commands.cont(watch.session)
        await show_dashboard(watch, owned=True, confirm=confirm)


async def _headless(vm: DemoVm, duration: float | None, file: str | None) -> int:
    """Let the VM run, recorded or not, until the time is over, it ends, or we are told to."""
    from qmon.launch.ready import EndedEarly, attach_when_ready
    from qmon.monitor import commands

    stdout = output.binary_stdout() if file == "-" else None
    try:
        async with await attach_when_ready(vm.process) as session:
            if file is None:
                await commands.cont(session)
    except EndedEarly:
        raise QmonError("QEMU ended before the demo began", hint=vm.process.last_words()) from None
    output.talk(f"the demo runs ({vm.accel}); look at it with: qmon --vm {vm.process.monitor}")
    return await (_left_alone(vm, duration) if file is None else _recorded(vm, duration, file, stdout))


async def _recorded(vm: DemoVm, duration: float | None, file: str, stdout: int | None) -> int:
    from qmon.export.capture_file import FileOptions, open_file
    from qmon.export.live import Wanted, open_live
    from qmon.export.record import Stop, record
    from qmon.monitor.address import UnixAddress

    wanted = Wanted([UnixAddress(str(vm.process.monitor))], all=True)
    async with open_live(wanted, output.talk) as live:
        sink = await open_file(file, stdout=stdout, options=FileOptions((live.comment,), live.names))
        await live.sources[0].vm.cont()
        totals = await record(live.sources, sink, stop=Stop(seconds=duration), on_note=recording.say_note)
    return recording.close(totals)


async def _left_alone(vm: DemoVm, duration: float | None) -> int:
    try:
        async with asyncio.timeout(duration):
            status = await vm.process.wait()
    except (TimeoutError, asyncio.CancelledError):
        return ExitCode.DONE
    if status:
        raise QmonError(f"QEMU ended with status {status}", hint=vm.process.last_words())
    return ExitCode.DONE
