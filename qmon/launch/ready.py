"""Attaching to a QEMU that was just started, however long it takes to open its monitor, or to fail.

Owns the waiting. Must never send a command that changes the VM but the one that lets it go.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from qmon.errors import CannotAttach
from qmon.monitor import commands
from qmon.monitor.address import UnixAddress
from qmon.monitor.protocol import Monitor
from qmon.monitor.session import Session

if TYPE_CHECKING:
    from qmon.launch.process import OwnedQemu

_LOOK_S = 0.01
# A QEMU that touches all of a large memory, or opens distant disks, greets only after that.
_GREETING_S = 3600.0
# From the name of its socket to listening at it a QEMU needs microseconds of its own time.
_LISTENING_S = 10.0
# After so long without a monitor it is looked whether what runs can ever open one.
_SUSPICIOUS_S = 3.0


class EndedEarly(Exception):
    """QEMU ended before it could be attached to; what it had to say it has said on its stderr."""


async def attach_when_ready(owned: OwnedQemu, *, share: bool = True) -> Monitor:
    """Return a session with the monitor of a QEMU that was started; `EndedEarly` if it ends before."""
    loop = asyncio.get_running_loop()
    suspicious_at = loop.time() + _SUSPICIOUS_S
    while not owned.monitor.exists():
        if owned.status is not None:
            raise EndedEarly
        if loop.time() > suspicious_at:
            suspicious_at += _SUSPICIOUS_S
            _require_the_option(owned)
        await asyncio.sleep(_LOOK_S)
    patience_end = loop.time() + _LISTENING_S
    while True:
        try:
            return await Session.attach(UnixAddress(str(owned.monitor)), timeout_s=_GREETING_S, share=share)
        except CannotAttach as problem:
            # A socket has its name before anybody listens at it, and still has it when QEMU has ended.
            if isinstance(problem.__cause__, ConnectionRefusedError) and loop.time() < patience_end:
                if owned.status is not None:
                    raise EndedEarly from None
                await asyncio.sleep(_LOOK_S)
                continue
            if await _ended_soon(owned):
                raise EndedEarly from None
            raise


def _require_the_option(owned: OwnedQemu) -> None:
    """Raise CannotAttach if a QEMU runs, but without the option that `run` added: it will never open the monitor."""
    qemus = [words for words in _command_lines(owned.pid) if _is_qemu(words)]
    mine = str(owned.directory)
    if qemus and not any(mine in word for words in qemus for word in words):
        raise CannotAttach(
            "QEMU runs without the monitor that qmon added: its options were not passed on to it",
            hint='Give qmon run QEMU\'s own command; a script passes the options on by "$@".',
        )


def _is_qemu(words: list[str]) -> bool:
    return "qemu" in words[0].rpartition("/")[2]


def _command_lines(pid: int) -> list[list[str]]:
    """Return the command lines of a process and of those it started, as far as they can be read."""
    found, pids = [], [pid]
    while pids:
        one = Path(f"/proc/{pids.pop()}")
        try:
            words = (one / "cmdline").read_bytes().decode(errors="replace").split("\0")
            pids += map(int, (one / f"task/{one.name}/children").read_text().split())
        except OSError:
            continue
        found.append(words)
    return found


async def _ended_soon(owned: OwnedQemu) -> bool:
    """Tell whether QEMU is gone: it closes its monitor a moment before it ends."""
    try:
        async with asyncio.timeout(1):
            await owned.wait()
    except TimeoutError:
        return False
    return True


async def ptys(session: Monitor) -> tuple[tuple[str, str], ...]:
    """Return the character devices that are a pty: their label and the path of its other side."""
    found = await commands.query_chardev(session)
    return tuple(
        (one.label, one.filename.removeprefix("pty:")) for one in found if one.filename.startswith("pty:")
    )
