"""Whether the guest answers at a forward, found by connecting to it as any client would.

QEMU takes a connection before it has asked the guest, so a connection says nothing: the user-mode stack's own state
of it does (`info usernet`). Owns that reading. Must never send a byte through the forward.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from qmon.errors import Refused, TimedOut, UsageError
from qmon.network.inspect import usernet
from qmon.text import plain

if TYPE_CHECKING:
    from qmon.monitor.protocol import Monitor
    from qmon.network.model import Forward

WAIT_S = 60.0
_LOOK_S = 0.1
# The stack asks the guest again after ever longer pauses; a new connection is asked for at once.
_TRY_S = 1.0
# The stack's states of a connection that the guest has not accepted yet (libslirp's tcpstates).
_ASKING = ("SYN_SENT", "CLOSED", "LISTEN")


async def wait_answer(session: Monitor, forward: Forward, *, timeout_s: float = WAIT_S) -> None:
    """Wait until the guest accepts connections at a forward of TCP.

    `TimedOut` says what the guest did instead: nothing, or refuse. `Refused` where the forward cannot be reached from
    here.
    """
    if forward.protocol != "tcp":
        raise UsageError(
            "only TCP tells whether the guest answers", hint="leave --wait out, or forward a TCP port"
        )
    seen = ["nothing comes back from it"]
    try:
        async with asyncio.timeout(timeout_s):
            while not await _answers(session, forward, seen):  # noqa: ASYNC110 (there is no event)
                await asyncio.sleep(_LOOK_S)
    except TimeoutError:
        raise TimedOut(
            f"the guest has not answered at {plain(forward.guest_address)}:{forward.guest_port} within "
            f"{timeout_s:g} s: {seen[-1]}",
            hint="Does the guest have this address, and does something listen on that port?",
        ) from None


async def _answers(session: Monitor, forward: Forward, seen: list[str]) -> bool:
    """Connect once and tell whether the guest took it; what it did instead is added to `seen`."""
    every = {"*": "127.0.0.1", "0.0.0.0": "127.0.0.1", "[::]": "::1"}
    host = every.get(forward.host_address, forward.host_address).strip("[]")
    try:
        reader, writer = await asyncio.open_connection(host, forward.host_port)
    except OSError as problem:
        raise Refused(
            f"cannot connect to {plain(host)}:{forward.host_port} from here: {problem.strerror or problem}",
            hint="Does the VM run on another host, or in another network namespace?",
        ) from None
    first = asyncio.create_task(_first_word(reader), name="forward: first word")
    try:
        async with asyncio.timeout(_TRY_S):
            while not first.done():
                states = await _states(session, forward)
                if any(state not in _ASKING for state in states):
                    return True
                await asyncio.wait([first], timeout=_LOOK_S)
        if first.result():
            return True
        seen.append("it refuses the connection")
    except TimeoutError:
        seen.append("nothing comes back from it")
    finally:
        first.cancel()
        await asyncio.wait([first])
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
    return False


async def _first_word(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read(1)
    except OSError:
        return b""


async def _states(session: Monitor, forward: Forward) -> list[str]:
    """Return how the stack's connections through a forward stand."""
    return [
        row.state
        for stack in await usernet(session)
        if stack.netdev == forward.netdev
        for row in stack.connections
        if not row.is_forward
        and row.protocol == "TCP"
        and row.source.port == forward.host_port
        and (row.destination.address, row.destination.port) == (forward.guest_address, forward.guest_port)
    ]
