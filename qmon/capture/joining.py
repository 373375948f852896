"""Following a VM's network during a capture: netdevs that come are tapped, those that go are let go.

Owns the asking every 250 ms, and that what changed comes into the time line, whoever did it. Must never change
anything but taps.
"""

from __future__ import annotations

import asyncio
from contextlib import ExitStack, suppress

from qmon.capture.changes import Changes
from qmon.capture.describe import tappable
from qmon.capture.vm import VmCapture
from qmon.errors import Interrupted, Refused, TimedOut
from qmon.monitor.hmp import UsernetStack, parse_usernet
from qmon.monitor.session import Session
from qmon.network.inspect import inspect, network_text, usernet_text
from qmon.network.model import Network

EVERY_S = 0.25


async def follow_network(capture: VmCapture, *, join: bool) -> None:
    """Keep a capture's taps in step with the VM's netdevs until cancelled; with `join`, new ones are tapped too."""
    following = _Following(capture, join=join)
    with ExitStack() as hearing:
        heard: Session | None = None
        while True:
            if capture.session is not heard:
                heard = capture.session
                hearing.callback(heard.on_change(following.changes.hear))
            # The monitor's loss is somebody else's to tell; the next turn asks again.
            with suppress(Interrupted, TimedOut, Refused):
                await following.look()
            await asyncio.sleep(EVERY_S)


class _Following:
    """One capture and the last look at its VM's network; None where there was none yet."""

    def __init__(self, capture: VmCapture, *, join: bool) -> None:
        self._capture = capture
        self._join = join
        self._refused: set[str] = set()
        self._text = ""
        self._network: Network | None = None
        self._forwards: list[str] = []
        self._stacks: tuple[UsernetStack, ...] | None = None
        self.changes = Changes(lambda kind, text, time_ns: capture.note(kind, text, time_ns=time_ns))

    async def look(self) -> None:
        """Ask once, tell what is new, and do what follows from it."""
        await self._look_at_forwards()
        looked = self.changes.looking("netdev", "NIC")
        text = await network_text(self._capture.session)
        if text != self._text:
            after = await inspect(self._capture.session)
            before, self._network, self._text = self._network, after, text
            if before is not None:
                self.changes.compare(before, after)
                await _drop_gone(self._capture, after)
                if self._join:
                    await _join_new(self._capture, after, self._refused)
        looked()

    async def _look_at_forwards(self) -> None:
        if self._network is None or not any(one.type == "user" for one in self._network.netdevs):
            return
        looked = self.changes.looking("forward")
        text = await usernet_text(self._capture.session)
        # Of thousands of connections, only the lines of forwards, and of the stacks they are on, are looked at.
        lines = [line for line in text.splitlines() if "[HOST_FORWARD]" in line or not line.startswith(" ")]
        if self._stacks is None or lines != self._forwards:
            before, self._stacks = self._stacks, parse_usernet("\n".join(lines))
            self._forwards = lines
            if before is not None:
                self.changes.compare_forwards(before, self._stacks)
        looked()


async def _drop_gone(capture: VmCapture, network: Network) -> None:
    present = set(tappable(network))
    for tap in capture.taps:
        if tap.netdev not in present:
            await capture.untap(tap.netdev)
            capture.note(
                "seen", f"the capture of {tap.netdev} ended with the netdev", interface=tap.interface
            )


async def _join_new(capture: VmCapture, network: Network, refused: set[str]) -> None:
    tapped = {tap.netdev for tap in capture.taps}
    present = set(tappable(network))
    refused &= present
    for netdev in tappable(network):
        if netdev in tapped or netdev in refused:
            continue
        try:
            state = await capture.tap(netdev)
        except (Refused, Interrupted, TimedOut) as problem:
            refused.add(netdev)
            capture.note("gap", problem.message)
        else:
            found = network.netdev(netdev)
            if found is not None and found.nic is None and found.hub is None:
                capture.note("seen", f"{netdev} joined the capture before any NIC", interface=state.interface)
            else:
                text = f"{netdev} joined the capture; frames before this moment were missed"
                capture.note("gap", text, interface=state.interface)
