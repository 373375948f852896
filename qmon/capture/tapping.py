"""Which netdevs of a followed VM are tapped: the wanted ones as they come and go, and what somebody asked for by hand.

Its states: before `begin` only what is asked for by hand is tapped; after it every wanted netdev that `follow` finds,
but for those that were released by hand (until they are asked for again) and those that were refused (until they are
gone, or asked for again). `tapped_once` is set with the first look after `begin`.

Owns these choices and the words for a netdev that is captured or not. Must never ask the VM itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from qmon.capture.describe import tappable
from qmon.capture.vm import VmCapture
from qmon.errors import Refused
from qmon.network.model import Network


@dataclass(frozen=True, slots=True)
class Netdevs:
    """Which netdevs are captured, those that come later too: the named ones, or with None every one."""

    netdevs: frozenset[str] | None = None

    def __contains__(self, netdev: str) -> bool:
        return self.netdevs is None or netdev in self.netdevs


NOTHING = Netdevs(frozenset())


class Tapping:
    """The choice for one followed VM; `on_change` hears when a netdev is refused, or not any more."""

    def __init__(self, on_change: Callable[[], None]) -> None:
        self.tapped_once = asyncio.Event()
        self._on_change = on_change
        self._wanted: Netdevs | None = None
        self._released: set[str] = set()
        self._refused: dict[str, str] = {}
        self._first_look = True

    def __repr__(self) -> str:
        return f"<Tapping {self._wanted} but {sorted(self._released)}, refused {sorted(self._refused)}>"

    @property
    def refused(self) -> tuple[tuple[str, str], ...]:
        """Netdevs that cannot be captured, each with the reason."""
        return tuple(self._refused.items())

    def begin(self, wanted: Netdevs) -> None:
        """Tap what is wanted from the next look on."""
        self._wanted = wanted

    def begin_anew(self) -> None:
        """Another VM is followed: what was refused in the last one may be there in this."""
        self._refused.clear()
        self._first_look = True

    async def tap(self, capture: VmCapture, netdev: str) -> None:
        """Tap a netdev, wanted or not; `Refused` says why that cannot be."""
        self._released.discard(netdev)
        try:
            await capture.tap(netdev)
        except Refused as problem:
            self._note_refusal(netdev, problem.message)
            raise
        self._note_refusal(netdev, None)

    async def untap(self, capture: VmCapture | None, netdev: str) -> None:
        """End the tap on a netdev until `tap` asks for it again."""
        self._released.add(netdev)
        if capture is not None:
            await capture.untap(netdev)

    async def follow(
        self, capture: VmCapture, network: Network, text: str, before: dict[str, object]
    ) -> None:
        """Bring the taps in step with the network that `text` (`info network`) shows.

        `before` is what `VmCapture.ways` said before it was asked for.
        """
        present = tappable(network)
        for netdev in [one for one in self._refused if one not in present]:
            self._note_refusal(netdev, None)
        for tap in capture.taps:
            if tap.netdev not in present:
                await capture.untap(tap.netdev)
                capture.note(
                    "seen", f"the capture of {tap.netdev} ended with the netdev", interface=tap.interface
                )
        capture.look_for_filters(before, text)
        if self._wanted is None:
            return
        left_alone = {tap.netdev for tap in capture.taps} | self._released | self._refused.keys()
        for netdev in present:
            if netdev in self._wanted and netdev not in left_alone:
                await self._tap_found(capture, network, netdev)
        self._first_look = False
        self.tapped_once.set()

    async def _tap_found(self, capture: VmCapture, network: Network, netdev: str) -> None:
        try:
            state = await capture.tap(netdev)
        except Refused as problem:
            self._note_refusal(netdev, problem.message)
            capture.note("gap", f"{netdev} is not captured: {problem.message}")
            return
        self._note_refusal(netdev, None)
        found = network.netdev(netdev)
        if self._first_look:
            kind, text = "tap", f"{netdev} is captured"
        elif found is not None and found.nic is None and found.hub is None:
            kind, text = "seen", f"{netdev} joined the capture before any NIC"
        else:
            kind, text = "gap", f"{netdev} joined the capture; frames before this moment were missed"
        capture.note(kind, text, interface=state.interface)

    def _note_refusal(self, netdev: str, reason: str | None) -> None:
        before = dict(self._refused)
        self._refused.pop(netdev, None)
        if reason is not None:
            self._refused[netdev] = reason
        if self._refused != before:
            self._on_change()
