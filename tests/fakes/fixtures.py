"""The fixtures of the fakes; `tests/conftest.py` makes them known to every test."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.fakes.monitor import FakeMonitor


@asynccontextmanager
async def serving(monitor: FakeMonitor) -> AsyncIterator[FakeMonitor]:
    """Have a fake monitor serve for the length of the block; its surprises fail the test at the end."""
    task = asyncio.create_task(monitor.serve(), name="fake monitor")
    try:
        yield monitor
    finally:
        task.cancel()
        await asyncio.wait([task])
        monitor.finish()


@pytest.fixture
async def fake_monitor(runtime_directory: Path) -> AsyncIterator[FakeMonitor]:
    """A QEMU monitor that does what the test says; see tests/fakes/__init__.py."""
    async with serving(FakeMonitor(runtime_directory / "monitor.sock")) as monitor:
        yield monitor
