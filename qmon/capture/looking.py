"""A followed VM's network asked for, again and again, and what follows from each answer.

Owns the asking, and that what changed comes into the time line, whoever did it: a change that a qmon made is told at
its moment, what anybody else did when it is found. Must never ask in a way that changes the VM.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol

from qmon.capture.network_changes import NetworkChanges
from qmon.errors import Interrupted, QmonError
from qmon.monitor import commands
from qmon.monitor.events import Event
from qmon.monitor.hmp import UsernetStack, parse_usernet
from qmon.monitor.protocol import Monitor
from qmon.network.inspect import inspect, network_text, usernet_text
from qmon.network.model import Network

LOOK_EVERY_S = 0.25
USERNET_EVERY_S = 1.0
# However often it is asked for, the monitor is others' too.
_SHORTEST_S = 0.05
# Of the time there is, at most one part in so many goes into asking: a text of many megabytes takes its time.
_SHARE = 8
_RUN_STATE_EVENTS = frozenset({"STOP", "RESUME", "RESET", "SHUTDOWN", "SUSPEND", "WAKEUP", "GUEST_PANICKED"})
_CHANGING_EVENTS = frozenset(
    {
        "DEVICE_DELETED",
        "DEVICE_UNPLUG_GUEST_ERROR",
        "RESET",
        "NIC_RX_FILTER_CHANGED",
        "NETDEV_STREAM_CONNECTED",
        "NETDEV_STREAM_DISCONNECTED",
        "NETDEV_VHOST_USER_CONNECTED",
        "NETDEV_VHOST_USER_DISCONNECTED",
    }
)


class Learner(Protocol):
    """Who is told of what was found."""

    @property
    def links(self) -> dict[str, bool]:
        """The link states that are known."""

    def learn(self, **fields: object) -> None:
        """Take over `run_state`, `network` or `usernet`."""

    def note(self, kind: str, text: str, *, time_ns: int | None = None) -> None:
        """Add to the time line."""

    def ways(self) -> dict[str, object]:
        """Return what the taps' frames come through (`VmCapture.ways`)."""

    async def follow(self, network: Network, text: str, before: dict[str, object]) -> None:
        """Bring the taps in step with the network; `before` is what `ways` said before it was asked for."""


class Looking:
    """The looks at one VM during one life of it, through one session after the other.

    With `usernet`, the connections of user-mode stacks are read too; forwards are in any case.
    """

    def __init__(self, learner: Learner, *, usernet: bool) -> None:
        self.changes = NetworkChanges(lambda kind, text, time_ns: learner.note(kind, text, time_ns=time_ns))
        self._learner = learner
        self._usernet = usernet
        self._asked = asyncio.Event()
        self._text = ""
        self._network: Network | None = None
        self._forwards: list[str] = []
        self._stacks: tuple[UsernetStack, ...] | None = None
        self._usernet_text = ""
        self._usernet_at = 0.0
        self._complaints: dict[str, str] = {}

    def ask(self) -> None:
        """Look now rather than at the next turn, and at everything."""
        self._asked.set()

    async def run(self, session: Monitor) -> None:
        """Look until cancelled."""
        loop = asyncio.get_running_loop()
        thorough = True
        while True:
            began = loop.time()
            if thorough:
                await self._asking("run state", partial(self._look_at_run_state, session))
            await self._asking("usernet", partial(self._look_at_usernet, session))
            await self._asking("network", partial(self._look_at_network, session, thorough=thorough))
            took_s = loop.time() - began
            await asyncio.sleep(max(_SHORTEST_S, took_s * (_SHARE - 1)))
            thorough = await self._wait(LOOK_EVERY_S - took_s)

    async def hear(self, session: Monitor) -> None:
        """Follow the VM's events until cancelled."""
        async for event in session.events():
            if event.name in _RUN_STATE_EVENTS:
                await self._asking("run state", partial(self._look_at_run_state, session))
            if event.name in _CHANGING_EVENTS:
                self.ask()

    def hear_change(self, event: Event) -> None:
        """Take what `Monitor.on_change` delivers."""
        self.changes.hear(event)
        self.ask()

    async def _wait(self, timeout_s: float) -> bool:
        """Wait until it is time, or until a look was asked for; say whether it was."""
        try:
            async with asyncio.timeout(max(timeout_s, 0)):
                await self._asked.wait()
        except TimeoutError:
            return False
        self._asked.clear()
        return True

    async def _look_at_run_state(self, session: Monitor) -> None:
        self._learner.learn(run_state=await commands.query_status(session))

    async def _look_at_network(self, session: Monitor, *, thorough: bool) -> None:
        looked = self.changes.looking("netdev", "NIC")
        before = self._learner.ways()
        text = await network_text(session)
        if text != self._text or thorough or self._network is None:
            network = await inspect(session, links=self._learner.links)
            known, self._network, self._text = self._network, network, text
            self._learner.learn(network=network)
            if known is not None:
                self.changes.compare(known, network)
        looked()
        await self._learner.follow(self._network, text, before)

    async def _look_at_usernet(self, session: Monitor) -> None:
        if self._network is None or not any(one.type == "user" for one in self._network.netdevs):
            return
        looked = self.changes.looking("forward")
        text = await usernet_text(session)
        # Of thousands of connections, only the lines of forwards, and of the stacks they are on, are looked at.
        lines = [line for line in text.splitlines() if "[HOST_FORWARD]" in line or not line.startswith(" ")]
        if self._stacks is None or lines != self._forwards:
            before, self._stacks = self._stacks, parse_usernet("\n".join(lines))
            self._forwards = lines
            if before is not None:
                self.changes.compare_forwards(before, self._stacks)
        looked()
        now = asyncio.get_running_loop().time()
        if self._usernet and text != self._usernet_text and now - self._usernet_at >= USERNET_EVERY_S:
            self._usernet_text, self._usernet_at = text, now
            self._learner.learn(usernet=parse_usernet(text))

    async def _asking(self, about: str, question: Callable[[], Awaitable[None]]) -> None:
        """Await a question to the monitor; a failure is told once and does not end the following."""
        try:
            await question()
        except Interrupted:
            return  # The monitor is being lost, which is told elsewhere.
        except QmonError as problem:
            if self._complaints.get(about) != problem.message:
                self._complaints[about] = problem.message
                self._learner.note("monitor", f"{about}: {problem.message}")
        else:
            self._complaints.pop(about, None)
