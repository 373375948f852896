"""`qmon demo`: a tiny VM with real traffic, and the dashboard on it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from qmon.cli import output
from qmon.errors import ExitCode, QmonError, UsageError

if TYPE_CHECKING:
    from qmon.demo.vm import DemoVm
    from qmon.monitor.session import Session


@click.command()
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
def demo(headless: bool, duration: float | None, file: str | None, accel: str, qemu: str | None) -> int:
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
    with DemoVm(qemu=[find_qemu(qemu)], accel=accel, paused=True) as vm:
        if headless:
            return output.run(_headless(vm, duration, file))
        output.run(_dashboard(vm))
    return ExitCode.DONE


async def _dashboard(vm: DemoVm) -> None:
    from qmon.monitor.address import UnixAddress
    from qmon.tui.run import show_dashboard
    from qmon.watch import Watch

    async with Watch(UnixAddress(str(vm.process.monitor))) as watch:
        await watch.first_taps()
        if watch.session is not None:
            await watch.session.execute("cont")
        await show_dashboard(watch)


async def _headless(vm: DemoVm, duration: float | None, file: str | None) -> int:
    """Let the VM run, recorded or not, until the time is over, it ends, or we are told to."""
    from qmon.launch.ready import EndedEarly, attach_when_ready

    stdout = output.binary_stdout().fileno() if file == "-" else None
    try:
        session = await attach_when_ready(vm.process)
    except EndedEarly:
        raise QmonError("QEMU ended before the demo began", hint=vm.process.last_words()) from None
    async with session:
        output.talk(f"the demo runs ({vm.accel}); look at it with: qmon --vm {vm.process.monitor}")
        if file is not None:
            return await _recorded(vm, session, duration, file, stdout)
        await session.execute("cont")
    return await _left_alone(vm, duration)


async def _recorded(
    vm: DemoVm, session: Session, duration: float | None, file: str, stdout: int | None
) -> int:
    from qmon.export.capture_file import CaptureFileOutput, FileOptions, open_file
    from qmon.export.record import Stop
    from qmon.export.vm_record import Wanted, record_vm
    from qmon.monitor.discovery import read_vm

    async def open_output(options: FileOptions) -> CaptureFileOutput:
        return await open_file(file, stdout=stdout, options=options)

    async def let_go() -> None:
        await session.execute("cont")

    wanted = Wanted(stop=Stop(seconds=duration))
    totals = await record_vm(
        session, read_vm(vm.process.pid), wanted, open_output, let_go=let_go, say=output.talk
    )
    output.talk(totals.line())
    if totals.error is not None:
        raise totals.error
    return ExitCode.DONE


async def _left_alone(vm: DemoVm, duration: float | None) -> int:
    try:
        async with asyncio.timeout(duration):
            status = await vm.process.wait()
    except (TimeoutError, asyncio.CancelledError):
        return ExitCode.DONE
    if status:
        raise QmonError(f"QEMU ended with status {status}", hint=vm.process.last_words())
    return ExitCode.DONE
