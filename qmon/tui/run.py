"""Running the dashboard from a command: who ends what, and in which order.

Owns the order of the end: first the terminal is given back, then the taps go. Must never draw.
"""

from __future__ import annotations

import asyncio
from typing import Any

from textual.screen import Screen

from qmon.packets.file import CaptureFile
from qmon.tui.app import QmonApp


async def run_app(first: Screen[Any]) -> None:
    """Run an app that starts with a screen until the user leaves.

    A cancellation (a signal) is taken as an orderly end: the terminal is restored and this returns.
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


def _take_as_end() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.uncancel()


async def run_viewer(file: CaptureFile, title: str) -> None:
    """Look through an open capture file until the user leaves."""
    from qmon.tui.screens.viewer import ViewerScreen

    await run_app(ViewerScreen(file, title))
