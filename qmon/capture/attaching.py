"""The monitor of a followed VM: attached to at first, again after it was lost, and that of a VM started in its place.

Its states, in `process` and `target`:

  not attached   nothing is known of the VM; a target of None stands for the only one there is
  attached       `target` is fixed; `process` is the VM's where it can be seen from here, else None
  lost           `again` tries until the same VM answers, or has ended; where its process cannot be seen, until it has
                 not answered for `UNSEEN_S`
  ended          `another` tries until some VM is at the target

Owns the pauses between tries and the judgement whether a monitor is the same VM's. Must never touch a tap.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Set
from dataclasses import dataclass

from qmon.capture.process_end import KnownProcess
from qmon.errors import CannotAttach, Interrupted, QmonError, Refused, TimedOut
from qmon.monitor import commands
from qmon.monitor.address import Pid, Target
from qmon.monitor.discovery import Vm, find
from qmon.monitor.protocol import Monitor
from qmon.monitor.session import Session

FAREWELL_S = 2.0
FIRST_PAUSE_S, LAST_PAUSE_S = 0.1, 2.0
# A VM whose process cannot be seen from here is given up after that.
UNSEEN_S = 5.0
_NOT_ATTACHED = (CannotAttach, Interrupted, TimedOut, Refused)


@dataclass(frozen=True, slots=True)
class Attached:
    """A VM that was attached to: its monitor, and what that and its process said of it."""

    session: Monitor
    vm: Vm | None
    name: str | None
    pid: int | None
    run_state: str


class Attaching:
    """Attaches to the VM that `target` stands for; `on_failure` hears why a try has failed."""

    def __init__(self, target: Target | None, on_failure: Callable[[str], None]) -> None:
        self.target = target
        self.process: KnownProcess | None = None
        self._on_failure = on_failure

    def __repr__(self) -> str:
        return f"<Attaching to {self.target} {self.process}>"

    async def attach(self) -> Attached:
        """Attach once; raises one of qmon's errors where that cannot be."""
        resolved = await find(self.target)
        session = await Session.attach(resolved.address)
        try:
            run_state = await commands.query_status(session)
            name = resolved.vm.name if resolved.vm else await commands.query_name(session)
        except BaseException:
            await session.close()
            raise
        pid = resolved.vm.pid if resolved.vm else session.peer_pid
        if self.target is None:
            self.target = resolved.address
        self.process = KnownProcess(pid) if pid else None
        return Attached(session, resolved.vm, name, pid, run_state)

    async def again(self, lost: Monitor, filter_ids: Set[str]) -> Monitor | None:
        """Attach to the same VM; None when it is gone, or another one has its place.

        `filter_ids` are our filters in it, by which it is known where its process cannot be seen.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + UNSEEN_S
        pause_s = FIRST_PAUSE_S
        while True:
            session = await self._try(lost)
            if session is not None and await self._is_the_same(session, filter_ids):
                return session
            if self.process is not None:
                if await self.process.ends_within(pause_s):
                    return None
            elif session is not None or loop.time() > deadline:
                return None
            else:
                await asyncio.sleep(pause_s)
            pause_s = _longer(pause_s)

    async def another(self) -> Attached | None:
        """Wait for a VM where the last one was; None where that one cannot come back."""
        pause_s = FIRST_PAUSE_S
        while True:
            if isinstance(self.target, Pid) and (self.process is None or not self.process.runs):
                return None
            try:
                return await self.attach()
            except _NOT_ATTACHED as problem:
                self._on_failure(problem.message)
            await asyncio.sleep(pause_s)
            pause_s = _longer(pause_s)

    async def _try(self, lost: Monitor) -> Monitor | None:
        try:
            return await Session.attach(lost.address)
        except _NOT_ATTACHED as problem:
            self._on_failure(problem.message)
            return None

    async def _is_the_same(self, session: Monitor, filter_ids: Set[str]) -> bool:
        """Say whether a monitor is that of the VM that is captured; a session with another VM is closed."""
        same = False
        try:
            if self.process is not None:
                same = session.peer_pid in (None, self.process.pid)
            elif filter_ids:
                same = filter_ids <= {one.name for one in await commands.qom_list(session, "/objects")}
        except QmonError:
            return False
        finally:
            if not same:
                await session.close()
        return same


def _longer(pause_s: float) -> float:
    return min(pause_s * 1.6, LAST_PAUSE_S)
