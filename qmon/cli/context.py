"""What every command is told: which VM it is about.

Owns the reading of `--vm` and `$QMON_VM`. Must never talk to a VM by itself: attaching is the monitor's work.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qmon.cli import output
from qmon.errors import UsageError

if TYPE_CHECKING:
    from qmon.monitor.address import Target
    from qmon.monitor.discovery import Resolved
    from qmon.monitor.protocol import Monitor


@dataclass(frozen=True, slots=True)
class Context:
    """The click context's object; `vms` are the values of `--vm` as given, in order.

    `confirm` says that the dashboard asks before captured packets or a VM of its own would be lost.
    """

    vms: tuple[str, ...] = ()
    confirm: bool = True

    def targets(self) -> tuple[Target, ...]:
        """Return the VMs named by `--vm`, else by `$QMON_VM`, else nothing: the only one that runs here."""
        from qmon.monitor.address import parse_target

        named = self.vms or tuple(filter(None, [os.environ.get("QMON_VM")]))
        return tuple(parse_target(name) for name in named)

    def target(self) -> Target | None:
        """Return the one VM this command is about, or None for the only one that runs here."""
        targets = self.targets()
        if len(targets) > 1:
            raise UsageError(
                f"this command is about one VM, but --vm was given {len(targets)} times",
                hint="only `qmon dump` and `qmon wireshark` take several",
            )
        return targets[0] if targets else None

    async def resolve(self) -> Resolved:
        """Return the monitor to attach to, and the process behind it where that can be seen."""
        from qmon.monitor.discovery import find

        return await find(self.target())

    @asynccontextmanager
    async def attach(self) -> AsyncIterator[Monitor]:
        """Attach to the VM's monitor for the length of the block."""
        async with self.attach_to(self.target()) as session:
            yield session

    @asynccontextmanager
    async def attach_to(self, target: Target | None) -> AsyncIterator[Monitor]:
        """Attach to the monitor of a VM that was named otherwise for the length of the block."""
        from qmon.monitor.discovery import find
        from qmon.monitor.session import Session

        found = await find(target)
        if found.waits:
            output.talk("the VM was waiting for its monitor's first client: attaching starts it")
        async with await Session.attach(found.address) as session:
            yield session
