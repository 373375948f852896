"""Attaching to a QEMU that was just started, however long it takes to open its monitor, or to fail.

Owns the waiting. Must never send a command that changes the VM but the one that lets it go.
"""

from __future__ import annotations

import asyncio
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


class EndedEarly(Exception):
    """QEMU ended before it could be attached to; what it had to say it has said on its stderr."""


async def attach_when_ready(owned: OwnedQemu, *, share: bool = True) -> Monitor:
    """Return a session with the monitor of a QEMU that was started; `EndedEarly` if it ends before."""
    while not owned.monitor.exists():
        if owned.status is not None:
            raise EndedEarly
        await asyncio.sleep(_LOOK_S)
    loop = asyncio.get_running_loop()
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
