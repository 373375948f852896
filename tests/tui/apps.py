"""Running a screen under Textual's pilot, and waiting for facts rather than for time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from textual.pilot import Pilot
from textual.screen import Screen

from qmon.tui.app import QmonApp
from qmon.tui.screens.dashboard import DashboardScreen
from tests.tui.scripted import ScriptedWatch

PATIENCE_S = 10.0


@asynccontextmanager
async def running(screen: Screen[Any], size: tuple[int, int] = (160, 50)) -> AsyncIterator[Pilot[None]]:
    app = QmonApp(screen)
    async with app.run_test(size=size, notifications=True) as pilot:
        await until(lambda: app.screen is screen and screen.is_running)
        yield pilot


@asynccontextmanager
async def dashboard(
    watch: ScriptedWatch | None = None, size: tuple[int, int] = (160, 50)
) -> AsyncIterator[tuple[Pilot[None], DashboardScreen, ScriptedWatch]]:
    """Run the dashboard on a scripted watch, with the demo's traffic in it unless one is given."""
    if watch is None:
        watch = ScriptedWatch()
        watch.arrive()
    screen = DashboardScreen(watch)  # type: ignore[arg-type]
    async with running(screen, size) as pilot:
        yield pilot, screen, watch


async def until(fact: Callable[[], object]) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + PATIENCE_S
    while not fact():
        assert time.monotonic() < deadline, f"never became true: {fact}"
        await asyncio.sleep(0.01)


async def type_text(pilot: Pilot[None], text: str) -> None:
    """Press the keys of a text."""
    for character in text:
        await pilot.press("space" if character == " " else character)


def shown(pilot: Pilot[None]) -> str:
    """Return what the screen shows, as lines of text."""
    screen = pilot.app.screen
    return "\n".join(strip.text for strip in screen._compositor.render_strips(screen.size))
