"""Following a captured VM to its end, and its monitor through losses.

Owns the judgement whether a VM ended in order. Must never end a capture while the VM lives and its process can be
seen: a memfd needs no monitor.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass

from qmon.capture.vm import VmCapture
from qmon.errors import CannotAttach, Interrupted, QmonError, TimedOut
from qmon.monitor.processes import start_ticks
from qmon.monitor.session import Session

_FAREWELL_S = 2.0
_FIRST_RETRY_S, _LAST_RETRY_S = 0.1, 2.0


@dataclass(frozen=True, slots=True)
class End:
    """Why a capture is over; `error` where that was not in order."""

    reason: str
    error: QmonError | None = None


async def until_over(capture: VmCapture, session: Session, pid: int | None) -> End:
    """Wait until the VM is gone; meanwhile a monitor that was lost is attached again.

    `pid` is QEMU's process; where it is not known here, the monitor's loss is the end.
    """
    start = start_ticks(pid) if pid else None
    owned: list[Session] = []
    try:
        while True:
            reason = await session.wait_lost()
            if pid is None or start is None:
                return await _judge(capture, f"the monitor was lost: {reason}")
            if await _process_ends(pid, start, _FAREWELL_S):
                return await _judge(capture, "QEMU was killed or crashed")
            capture.note("monitor", f"the monitor was lost ({reason}); the capture goes on")
            again = await _attach_again(session, pid, start)
            if again is None:
                return await _judge(capture, "QEMU was killed or crashed")
            owned.append(again)
            session = again
            await capture.rebind(again)
    finally:
        # The captures are finished first: taps are removed through the session that is there.
        capture.adopt(owned)


async def _judge(capture: VmCapture, what: str) -> End:
    await capture.hear_out()
    if capture.shut_down:
        return End("the VM quit")
    return End(what, QmonError(what, hint="What was captured until then is in the output."))


async def _process_ends(pid: int, start: int, timeout_s: float) -> bool:
    """Wait for a process's end; say whether it came in time."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    try:
        if start_ticks(pid) != start:
            return True
        loop.add_reader(process, ended.set)
        async with asyncio.timeout(timeout_s):
            await ended.wait()
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(process)
        os.close(process)
    return True


async def _attach_again(session: Session, pid: int, start: int) -> Session | None:
    pause_s = _FIRST_RETRY_S
    while start_ticks(pid) == start:
        try:
            return await Session.attach(session.address)
        except (CannotAttach, Interrupted, TimedOut):
            if await _process_ends(pid, start, pause_s):
                return None
            pause_s = min(pause_s * 1.6, _LAST_RETRY_S)
    return None
