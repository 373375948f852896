"""Typed wrappers of the QMP commands qmon sends, each with the QEMU version that brought it.

Owns names, argument spelling and result shapes. Must never judge whether a command is wise: that is for those
who send it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qmon.monitor.session import Session


async def query_status(session: Session) -> str:
    """Return the run state, `running`, `paused`, `prelaunch`, … (0.14)."""
    return str((await session.execute("query-status"))["status"])


async def query_name(session: Session) -> str | None:
    """Return what `-name` gave, or None (0.14)."""
    name = (await session.execute("query-name")).get("name")
    return None if name is None else str(name)
