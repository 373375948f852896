"""The ways a netdev's frames can be had: QEMU's filters, a mirror over TCP, or the host's interface.

Owns the choice between them. Must never fall back to a way with a risk to the VM: a mirror is only made when asked for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from qmon.capture.reading.intake import Intake
from qmon.capture.reading.waking import Waking
from qmon.capture.taps import filters as taps
from qmon.capture.taps.filters import Place
from qmon.capture.taps.host import open_host_tap
from qmon.capture.taps.mirror import open_mirror, remove_chardev
from qmon.capture.taps.state import OpenTap
from qmon.errors import Refused
from qmon.monitor.processes import start_ticks
from qmon.network.model import Network

_ENDING_TURNS, _TURN_S = 25, 0.02


async def open_way(place: Place, tap: OpenTap, network: Network | None, *, mirrored: bool) -> None:
    """Open a tap: fill in its channels, or its host interface where `network` is known and QEMU has no filter."""
    if mirrored:
        tap.channels, tap.mirror = await open_mirror(place, tap.netdev, tap.interface)
    else:
        try:
            tap.channels = await taps.open_tap(place, tap.netdev, tap.interface)
        except Refused as refusal:
            if network is None or not taps.is_unfilterable(refusal):
                raise
            _open_host(place, tap, network, refusal)
    for channel in tap.channels:
        channel.headers = tap.headers


def _open_host(place: Place, tap: OpenTap, network: Network, refusal: Refused) -> None:
    try:
        tap.host = open_host_tap(network, tap.netdev, place.pid, place.snaplen)
    except Refused as problem:
        raise Refused(
            f"{refusal.message}; the host's side of it is no way either: {problem.message}",
            hint=problem.hint or refusal.hint,
            reason=refusal.reason,
        ) from problem


async def change_files(place: Place, tap: OpenTap, intake: Intake, waking: Waking) -> None:
    """Have QEMU go on in new files without losing a packet: new filters first, then the old ones are removed.

    What both wrote is found by comparing and counts once. Where there can be no new filters the old ones stay.
    """
    old = tap.channels
    intake.begin_change(old)
    try:
        new = await taps.open_tap(place, tap.netdev, tap.interface)
    except BaseException:
        intake.cancel_change()
        raise
    for channel in new:
        channel.headers = tap.headers
        waking.add(channel.follower.fd)
    for channel in old:
        await taps.remove_filter(place.session, channel)
        waking.remove(channel.follower.fd)
    intake.end_change(list(zip(old, new, strict=True)))
    tap.replace_channels(new)


async def remove_way(place: Place, tap: OpenTap) -> bool:
    """Take out of QEMU what a tap put there; say whether that could be done. QEMU writes no more in either case."""
    left = [await taps.remove_filter(place.session, channel) for channel in tap.channels]
    if tap.mirror is not None:
        for channel in tap.channels:
            await remove_chardev(place, channel.filter_id)
        mirror, tap.mirror = tap.mirror, None
        tap.dropped += await asyncio.to_thread(mirror.close)
    return not any(left)


async def vm_has_gone(pid: int | None, shut_down: Callable[[], bool]) -> bool:
    """Say whether the VM has ended, or is about to: then its filters go with it."""
    for _ in range(_ENDING_TURNS):
        if shut_down() or (pid is not None and start_ticks(pid) is None):
            return True
        await asyncio.sleep(_TURN_S)
    return False
