"""Following a VM's network during a capture: netdevs that come are tapped, those that go are let go.

Owns the asking every 250 ms, and the notes of what others were seen to change. Must never change anything but taps.
"""

from __future__ import annotations

import asyncio

from qmon.capture.describe import differences, tappable
from qmon.capture.vm import VmCapture
from qmon.errors import Interrupted, Refused, TimedOut
from qmon.network.inspect import inspect, network_text
from qmon.network.model import Network

EVERY_S = 0.25


async def follow_network(capture: VmCapture, *, join: bool) -> None:
    """Keep a capture's taps in step with the VM's netdevs until cancelled; with `join`, new ones are tapped too."""
    text, network = "", await _ask(capture)
    refused: set[str] = set()
    while True:
        await asyncio.sleep(EVERY_S)
        try:
            now = await network_text(capture.session)
            if now == text:
                continue
            after = await inspect(capture.session)
        except (Interrupted, TimedOut, Refused):
            continue  # The monitor's loss is somebody else's to tell; the next turn asks again.
        text = now
        for one in differences(network, after):
            capture.note("seen", one)
        network = after
        await _drop_gone(capture, after)
        if join:
            await _join_new(capture, after, refused)


async def _ask(capture: VmCapture) -> Network:
    try:
        return await inspect(capture.session)
    except (Interrupted, TimedOut, Refused):
        return Network()


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
