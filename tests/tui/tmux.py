"""A real terminal for tests: a tmux server of the test's own, with one program in it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

PATIENCE_S = 30.0


@dataclass
class Terminal:
    """The program's pane; `pid` is the program's own."""

    socket: Path
    pid: int = 0

    async def tmux(self, *words: str) -> str:
        process = await asyncio.create_subprocess_exec(
            "env",
            "-u",
            "COLUMNS",
            "-u",
            "LINES",
            "tmux",
            "-f",
            "/dev/null",
            "-S",
            str(self.socket),
            *words,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await process.communicate()
        return said.decode(errors="replace")

    async def screen(self) -> str:
        return await self.tmux("capture-pane", "-p")

    async def keys(self, *names: str) -> None:
        for name in names:
            await self.tmux("send-keys", name)

    async def type(self, text: str) -> None:
        await self.tmux("send-keys", "-l", text)

    async def shows(self, *texts: str) -> str:
        """Wait until all of these are on the screen; return it."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            screen = await self.screen()
            if all(text in screen for text in texts):
                return screen
            assert time.monotonic() < deadline, f"{texts} never came:\n{screen}"
            await asyncio.sleep(0.05)

    async def status(self) -> int:
        """Wait for the program's end; return its exit status."""
        screen = await self.shows("exit status ")
        return int(screen.rpartition("exit status ")[2].split()[0])


def ended(pid: int) -> bool:
    """Tell whether a process is gone (or only waits to be buried)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


async def seconds_until_end(pid: int) -> float:
    """Wait for a process's end; return how long it took."""
    started = time.monotonic()
    while not ended(pid):
        assert time.monotonic() - started < PATIENCE_S, "the process does not end"
        await asyncio.sleep(0.01)
    return time.monotonic() - started


async def _child(pid: int) -> int:
    deadline = time.monotonic() + PATIENCE_S
    while not (children := Path(f"/proc/{pid}/task/{pid}/children").read_text().split()):
        assert time.monotonic() < deadline, "the program was not started"
        await asyncio.sleep(0.01)
    return int(children[0])


def cpu_s(pid: int) -> float:
    """Return the processor time a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


@asynccontextmanager
async def terminal(
    directory: Path, command: Sequence[str], *, size: tuple[int, int] = (120, 36)
) -> AsyncIterator[Terminal]:
    """Run a program in a terminal of its own; the terminal goes at the end, whatever happens."""
    pane = Terminal(directory / "tmux")
    # The shell tells the status: tmux itself sometimes misses the end of what it runs.
    shell = ["sh", "-c", '"$0" "$@"; echo "exit status $?"; exec sleep 1000', *command]
    try:
        await pane.tmux("new-session", "-d", "-x", str(size[0]), "-y", str(size[1]), "--", *shell)
        pane.pid = await _child(int(await pane.tmux("display", "-p", "#{pane_pid}")))
        yield pane
    finally:
        await pane.tmux("kill-server")
