"""Other qmons' captures on the same VM, seen by their filters.

Owns the waiting for them. Must never touch a filter: they belong to those who made them.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from qmon.errors import Refused
from qmon.monitor import commands
from qmon.network.ids import PREFIX

if TYPE_CHECKING:
    from qmon.monitor.protocol import Monitor

# Who captures all netdevs of a VM looks for new ones four times a second.
JOIN_S = 0.75
_TURN_S = 0.05


async def let_captures_join(session: Monitor, netdev: str, *, timeout_s: float = JOIN_S) -> bool:
    """Wait until a capture of every netdev has joined a new one, so that it sees the first frame of its NIC.

    Returns at once where nobody captures; False if nobody joined in time.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    while filters := await _filters(session):
        # A tap has two filters, one a direction.
        if sum([await _netdev_of(session, one) == netdev for one in filters]) >= 2:
            return True
        if loop.time() > deadline:
            break
        await asyncio.sleep(_TURN_S)
    return False


async def _filters(session: Monitor) -> list[str]:
    listed = await commands.qom_list(session, "/objects")
    return [one.name for one in listed if one.name.startswith(PREFIX)]


async def _netdev_of(session: Monitor, filter_id: str) -> str | None:
    try:
        return str(await commands.qom_get(session, f"/objects/{filter_id}", "netdev"))
    except Refused:
        return None  # It went away between two questions.
