"""How the taps of a VM stand, for those who show it, and the one record that changes.

Owns shapes only.
"""

from __future__ import annotations

from dataclasses import dataclass

from qmon.capture.reading.headers import HeaderFinder
from qmon.capture.taps.filters import Channel
from qmon.capture.taps.host import HostTap
from qmon.capture.taps.mirror import MirrorReader
from qmon.packets.batch import FrameBatch, Note
from qmon.text import clock


@dataclass(frozen=True, slots=True)
class TapState:
    """One tap as it stands; `interface` indexes `VmCapture.interfaces`, `reason` says why it ended (None: live).

    `dropped` counts frames known to be lost, `gaps` stretches of which nobody knows how many were.
    """

    netdev: str
    interface: int
    packets: int = 0
    bytes: int = 0
    dropped: int = 0
    gaps: int = 0
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Polled:
    """What came since the last poll: frames in true-time order, and what is to be said about them."""

    batch: FrameBatch | None = None
    notes: tuple[Note, ...] = ()


@dataclass(slots=True)
class OpenTap:
    """A tap that is open: through QEMU's filters (`channels`; mirrored ones through the
    process `mirror`) or on the host's interface (`host`).

    `packets`, `bytes` and `dropped` are those of channels that were closed. `keeps_files`: no others could be had;
    `lost_since` (UTC ns): it could not be made again then.
    """

    netdev: str
    interface: int
    headers: HeaderFinder | None = None
    host: HostTap | None = None
    mirror: MirrorReader | None = None
    channels: tuple[Channel, ...] = ()
    packets: int = 0
    bytes: int = 0
    dropped: int = 0
    gaps: int = 0
    reason: str | None = None
    lost_since: int | None = None
    renewing: bool = False
    keeps_files: bool = False

    def state(self) -> TapState:
        """Return how it stands."""
        return TapState(
            self.netdev,
            self.interface,
            self.packets + sum(channel.packets for channel in self.channels),
            self.bytes + sum(channel.bytes for channel in self.channels),
            self.dropped + sum(way.dropped for way in (self.host, self.mirror) if way),
            self.gaps,
            self.reason,
        )

    def replace_channels(self, channels: tuple[Channel, ...]) -> None:
        """Let go of the channels there are, keep their counts, and go on with others."""
        self.packets += sum(channel.packets for channel in self.channels)
        self.bytes += sum(channel.bytes for channel in self.channels)
        for channel in self.channels:
            channel.close()
        self.channels = channels

    def retire(self) -> None:
        """Let go of everything that was read through, and keep the counts."""
        self.replace_channels(())
        if self.host is not None:
            self.dropped += self.host.dropped
            self.host.close()
            self.host = None


def gap_text(netdev: str, since_ns: int, until_ns: int | None, *, stuck: bool) -> str:
    """Say between which moments packets are missing (None: to the end) and why."""
    why = (
        "QEMU could not write its packets"
        if stuck
        else "more packets were waiting than the limit allows: qmon was stopped or too slow"
    )
    until = "the end" if until_ns is None else clock(until_ns)
    return f"{netdev}: packets are missing from {clock(since_ns)} to {until}: {why}"
