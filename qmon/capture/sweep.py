"""Filters that qmons which are gone left in a VM: found by their ids, and removed.

Must never touch a filter that no qmon made, nor one whose maker may still live.
"""

from __future__ import annotations

from dataclasses import dataclass

from qmon.capture.ids import Life, owner_of
from qmon.capture.tap import remove_object
from qmon.monitor.session import Session


@dataclass(frozen=True, slots=True)
class Swept:
    """Ids of filters: removed, left because their maker cannot be seen from here, and of live qmons."""

    removed: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    alive: tuple[str, ...] = ()


async def sweep(session: Session, *, foreign_too: bool = False) -> Swept:
    """Remove what is left of qmons that are gone; with `foreign_too` also what other hosts or containers left."""
    found: dict[Life, list[str]] = {life: [] for life in Life}
    for entry in await session.execute("qom-list", {"path": "/objects"}):
        name = str(entry["name"])
        owner = owner_of(name)
        if owner is not None:
            found[owner.life()].append(name)
    doomed = found[Life.GONE] + (found[Life.FOREIGN] if foreign_too else [])
    removed = [name for name in doomed if await remove_object(session, name)]
    if removed:
        await _remove_sockets(session, set(removed))
    foreign = [name for name in found[Life.FOREIGN] if name not in removed]
    return Swept(tuple(removed), tuple(foreign), tuple(found[Life.ALIVE]))


async def _remove_sockets(session: Session, filters: set[str]) -> None:
    """Remove the sockets that mirrors were made with: they bear the same names."""
    for entry in await session.execute("query-chardev"):
        if entry["label"] in filters:
            await session.execute("chardev-remove", {"id": entry["label"]})
