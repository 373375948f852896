"""What the monitor's tests share: the fake monitor, and peers that are no monitors at all."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from qmon.monitor.address import UnixAddress

Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def stranger(path: Path, behave: Behaviour) -> AsyncIterator[UnixAddress]:
    """Something else that listens at a socket."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await behave(reader, writer)
        except OSError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_unix_server(serve, path)
    try:
        yield UnixAddress(str(path))
    finally:
        server.close()


@pytest.fixture
def socket_path(runtime_directory: Path) -> Path:
    """A path for a socket of the test's own."""
    return runtime_directory / "stranger.sock"
