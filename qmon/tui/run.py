"""Running the dashboard from a command: who ends what, and in which order.

Owns the order of the end: first the terminal is given back, then the taps go. Must never draw.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from textual.screen import Screen

from qmon.errors import CannotAttach
from qmon.tui.app import QmonApp
from qmon.tui.crash import DashboardFailed, failure, rescue

if TYPE_CHECKING:
    from qmon.capture.vm import CaptureOptions
    from qmon.monitor.address import Address, Target
    from qmon.packets.files.source import CaptureFile
    from qmon.watch import Watch


async def run_app(first: Screen[Any]) -> None:
    """Run an app that starts with a screen until the user leaves.

    A cancellation (a signal) is taken as an orderly end: the terminal is restored and this returns. DashboardFailed
    where a mistake in the app ended it; the terminal is restored then too.
    """
    app = QmonApp(first)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(app.run_async(), name="dashboard")
        try:
            await asyncio.shield(running)
        except asyncio.CancelledError:
            _take_as_end()
            app.end()
            await running
    if app.failure is not None:
        raise failure(app.failure) from app.failure


def _take_as_end() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.uncancel()


async def run_viewer(file: CaptureFile, title: str, expression: str = "") -> None:
    """Look through an open capture file until the user leaves; of its packets, at first those that match."""
    from qmon.tui.screens.viewer import ViewerScreen

    await run_app(ViewerScreen(file, title, expression))


async def show_dashboard(watch: Watch, *, owned: bool = False, confirm: bool = True) -> bool:
    """Show the dashboard on a VM that is already watched until the user leaves; the caller ends the watching.

    `owned` says that the VM ends with the caller, `confirm` that the user is asked before something is lost. Return
    whether the user wants to choose another VM.
    """
    from qmon.tui.screens.dashboard import DashboardScreen

    screen = DashboardScreen(watch, owned=owned, confirm=confirm)
    try:
        await run_app(screen)
    except DashboardFailed as problem:
        watch.poll()
        problem.hint = "\n".join(filter(None, [problem.hint, await rescue(watch.store)]))
        raise
    return screen.again


async def run_dashboard(
    target: Target | None = None,
    *,
    netdevs: tuple[str, ...] | None = None,
    capture: bool = True,
    confirm: bool = True,
    options: CaptureOptions | None = None,
) -> None:
    """Attach to a VM and show the dashboard on it; without a target and with no or several VMs, let the user choose.

    Raises CannotAttach when a named VM cannot be attached to.
    """
    from qmon.capture.vm import DEFAULTS
    from qmon.watch import Watch

    options = options or DEFAULTS
    if target is not None:
        async with Watch(target, netdevs=netdevs, capture=capture, options=options) as watch:
            again = await show_dashboard(watch, confirm=confirm)
    else:
        only = await _only_vm()
        again = only is None or await _attach_and_show(only, netdevs, capture, confirm, options) is not None
    problem = ""
    while again:
        chosen = await _choose(problem)
        if chosen is None:
            return
        result = await _attach_and_show(chosen, netdevs, capture, confirm, options)
        again, problem = result is not None, result or ""


async def _attach_and_show(
    address: Address, netdevs: tuple[str, ...] | None, capture: bool, confirm: bool, options: CaptureOptions
) -> str | None:
    """Show one VM of the list; return None when the user quit, else why the list is to be shown again."""
    from qmon.watch import Watch

    try:
        async with Watch(address, netdevs=netdevs, capture=capture, options=options) as watch:
            return "" if await show_dashboard(watch, confirm=confirm) else None
    except CannotAttach as refusal:
        return str(refusal)


async def _only_vm() -> Address | None:
    from qmon.monitor.discovery import listed
    from qmon.tui.screens.chooser import USABLE

    usable = [vm.monitor.address for vm in await listed() if vm.monitor and vm.state in USABLE]
    return usable[0] if len(usable) == 1 else None


async def _choose(problem: str) -> Address | None:
    from qmon.tui.screens.chooser import ChooserScreen

    screen = ChooserScreen(problem)
    await run_app(screen)
    return screen.chosen
