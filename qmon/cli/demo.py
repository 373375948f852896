"""`qmon demo`: a tiny VM with real traffic, and the dashboard on it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from qmon.cli import output
from qmon.errors import ExitCode, QmonError, UsageError

if TYPE_CHECKING:
    from qmon.demo.vm import DemoVm


@click.command()
@click.option("--headless", is_flag=True, help="No dashboard: let the VM run, and record it with -w.")
@click.option(
    "--duration",
    type=click.FloatRange(min=0, min_open=True),
    metavar="S",
    help="With --headless: end after S seconds. Default: until Ctrl-C.",
)
@click.option("-w", "file", metavar="FILE", help="With --headless: write every packet to FILE (pcapng), or -.")
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
        raise UsageError("--duration and -w go with --headless", hint="qmon demo --headless --duration 10 -w FILE")
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
