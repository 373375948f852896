"""The guest's letting go of a NIC: asked for, waited for.

Owns the events and the questions that tell whether a device is gone. Must never take a silence for a yes.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from qmon.errors import Interrupted, Refused, TimedOut
from qmon.monitor import commands
from qmon.network.model import Nic
from qmon.text import plain

if TYPE_CHECKING:
    from qmon.monitor.events import EventStream
    from qmon.monitor.protocol import Monitor

UNPLUG_S = 30.0
_NAMED = "/machine/peripheral/"
# Events can be missed while one qmon hands the monitor over to another: QOM is asked now and then.
_LOOK_AGAIN_S = 2.0


def device_id(nic: Nic) -> str:
    """Return what `device_del` takes for a NIC: its id, or its place in QOM if it was given none."""
    if nic.path is not None and not nic.path.startswith(_NAMED):
        return nic.path
    return nic.id


async def let_go(session: Monitor, nic: Nic, *, timeout_s: float) -> None:
    """Send `device_del` and wait until the NIC is gone.

    `Refused` if QEMU or the guest says no, `TimedOut` if neither says anything within `timeout_s`.
    """
    events = session.events()
    try:
        await commands.device_del(device_id(nic)).send(session)
    except Refused as refused:
        if "already in the process of unplug" not in refused.reason:
            if "hotplug" in refused.reason:
                refused.hint = (
                    f"It stays as long as the VM runs; qmon nic down {plain(nic.id)} pulls its cable."
                )
            raise
    path = nic.path or _NAMED + nic.id
    try:
        async with asyncio.timeout(timeout_s):
            await _wait_gone(session, events, nic, path)
    except TimeoutError:
        raise await _pending(session, nic, timeout_s) from None
    finally:
        events.close()


async def _wait_gone(session: Monitor, events: EventStream, nic: Nic, path: str) -> None:
    while True:
        try:
            async with asyncio.timeout(_LOOK_AGAIN_S):
                event = await anext(events)
        except TimeoutError:
            if not await _exists(session, path):
                return
            continue
        except StopAsyncIteration:
            raise Interrupted(
                f"the monitor disconnected while waiting for the guest to release {plain(nic.id)}"
            ) from None
        if event.data.get("path") != path and event.data.get("device") != nic.id:
            continue
        if event.name == "DEVICE_DELETED":
            return
        if event.name == "DEVICE_UNPLUG_GUEST_ERROR":
            raise Refused(
                f"the guest refuses to release {plain(nic.id)}",
                hint="Something in the guest holds the NIC; its kernel's log may say what.",
            )


async def _exists(session: Monitor, path: str) -> bool:
    try:
        await commands.qom_list(session, path)
    except Refused:
        return False
    return True


async def _pending(session: Monitor, nic: Nic, timeout_s: float) -> TimedOut:
    state = await commands.query_status(session)
    why = (
        "a guest without a running operating system never does"
        if state == "running"
        else f"the VM is not running ({state})"
    )
    return TimedOut(
        f"the guest has not released {plain(nic.id)} within {timeout_s:g} s ({why}); the NIC and its netdev are "
        "still there",
        hint="The request is still pending: the NIC goes when the guest releases it, or when the VM is reset "
        "(qmon qmp system_reset).",
    )
