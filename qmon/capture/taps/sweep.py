"""What qmons that are gone left in a VM: filters, sockets and descriptors, found by their names, and removed.

Must never touch what no qmon made, nor what its maker may still need; and never QEMU's descriptor 0, for one that a
qmon put there stands in for what was lost (`tap.heal_descriptor_0`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from qmon.capture.taps.filters import remove_object
from qmon.errors import Refused
from qmon.monitor import commands
from qmon.monitor.protocol import Monitor
from qmon.network.ids import Life, owner_of


@dataclass(frozen=True, slots=True)
class Swept:
    """Ids of filters: removed, left because their maker cannot be seen from here, and of live qmons.

    `others` are labels of chardevs and names of descriptors that were removed; foreign ones are among `foreign`.
    """

    removed: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    alive: tuple[str, ...] = ()
    others: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Say what was done, and what was not."""
        said = []
        if self.removed:
            names = ", ".join(self.removed)
            said.append(f"removed {len(self.removed)} filters that a qmon which is gone had left: {names}")
        if self.others:
            names = ", ".join(self.others)
            said.append(f"removed sockets and descriptors that a qmon which is gone had left: {names}")
        if self.foreign:
            said.append(f"left alone, made by a qmon elsewhere: {', '.join(self.foreign)}")
        return said


async def sweep(session: Monitor, *, foreign_too: bool = False) -> Swept:
    """Remove what is left of qmons that are gone; with `foreign_too` also what other hosts or containers left."""
    doomed_lives = {Life.GONE, Life.FOREIGN} if foreign_too else {Life.GONE}
    filters = _by_life(one.name for one in await commands.qom_list(session, "/objects"))
    doomed = [name for life in doomed_lives for name in filters[life]]
    removed = [name for name in doomed if await remove_object(session, name)]
    # Only now are the sockets of mirrors free to go; they bear the same names.
    chardevs = _by_life(one.label for one in await commands.query_chardev(session))
    others = [
        name for life in doomed_lives for name in chardevs[life] if await _remove_chardev(session, name)
    ]
    descriptors = [
        (fdset.id, fd, opaque)
        for fdset in await commands.query_fdsets(session)
        for fd, opaque in fdset.descriptors
        if fd != 0
    ]
    lives = _by_life(opaque for _, _, opaque in descriptors)
    for fdset_id, fd, opaque in descriptors:
        if any(opaque in lives[life] for life in doomed_lives):
            await commands.remove_fd(session, fdset_id, fd)
            others.append(opaque)
    foreign = {*filters[Life.FOREIGN], *chardevs[Life.FOREIGN], *lives[Life.FOREIGN]}
    left = sorted(foreign - {*removed, *others})
    return Swept(
        tuple(removed),
        tuple(left),
        tuple(filters[Life.ALIVE]),
        tuple(name for name in others if name not in removed),
    )


def _by_life(names: Iterable[str]) -> dict[Life, list[str]]:
    found: dict[Life, list[str]] = {life: [] for life in Life}
    for name in names:
        owner = owner_of(name)
        if owner is not None:
            found[owner.life()].append(name)
    return found


async def _remove_chardev(session: Monitor, name: str) -> bool:
    try:
        await commands.chardev_remove(session, name)
    except Refused:
        return False  # Its filter could not be removed, or somebody else swept just now.
    return True
