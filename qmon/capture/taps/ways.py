"""The ways a netdev's frames can be had: QEMU's filters, a mirror over TCP, or the host's interface.

Owns the choice between them, and taking out of QEMU what each put there. Must never fall back to a way with a risk to
the VM: a mirror is only made when asked for.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from qmon.capture.reading.channel import Channel
from qmon.capture.reading.host_frames import HostChannel
from qmon.capture.taps import filters
from qmon.capture.taps.filters import TapContext
from qmon.capture.taps.host import HostTap, open_host_tap
from qmon.capture.taps.mirror import MirrorReader, open_mirror, remove_chardev
from qmon.errors import Refused
from qmon.network.model import Network


@dataclass(slots=True)
class Way:
    """How a tap gets its frames now: through `channels` (mirrored ones by the process `mirror`), or from `host`.

    `seen` says that its filters were found in the VM once: from then on their absence means that somebody took them.
    """

    channels: tuple[Channel, ...] = ()
    mirror: MirrorReader | None = None
    host: HostTap | None = None
    host_channel: HostChannel | None = None
    seen: bool = False

    @property
    def dropped(self) -> int:
        """How many frames are known to be lost on it."""
        return sum(one.dropped for one in (self.host, self.mirror) if one)

    @property
    def packets(self) -> int:
        """How many frames came."""
        return sum(channel.packets for channel in self._counting)

    @property
    def bytes(self) -> int:
        """How many bytes these had on the wire."""
        return sum(channel.bytes for channel in self._counting)

    @property
    def _counting(self) -> tuple[Channel | HostChannel, ...]:
        return (*self.channels, *([self.host_channel] if self.host_channel else []))

    async def remove(self, context: TapContext) -> bool:
        """Take out of QEMU what is there; say whether that could be done. QEMU writes no more in either case."""
        left = [await filters.remove_filter(context.session, channel) for channel in self.channels]
        if self.mirror is not None:
            for channel in self.channels:
                await remove_chardev(context, channel.filter_id)
            await asyncio.to_thread(self.mirror.end)
        return not any(left)

    def close(self) -> None:
        """Let go of everything that was read through."""
        for channel in self.channels:
            channel.close()
        for one in (self.host, self.mirror):
            if one is not None:
                one.close()


async def open_way(
    context: TapContext, netdev: str, interface: int, network: Network | None, *, mirrored: bool
) -> Way:
    """Open a way to a netdev's frames; `Refused` says why there is none and what would help.

    The host's interface serves where QEMU has no filters and `network` is known.
    """
    if mirrored:
        channels, mirror = await open_mirror(context, netdev, interface)
        return Way(channels, mirror)
    try:
        return Way(await filters.add_filters(context, netdev, interface))
    except Refused as refusal:
        if network is None or not filters.is_unfilterable(refusal):
            raise
        return _open_host(context, netdev, interface, network, refusal)


def _open_host(context: TapContext, netdev: str, interface: int, network: Network, refusal: Refused) -> Way:
    try:
        host = open_host_tap(network, netdev, context.pid, context.snaplen)
    except Refused as problem:
        raise Refused(
            f"{refusal.message}; its interface on the host cannot be used either: {problem.message}",
            hint=problem.hint or refusal.hint,
            reason=refusal.reason,
        ) from problem
    return Way(host=host, host_channel=HostChannel(host, interface))
