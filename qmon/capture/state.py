"""How the taps of a VM stand, for those who show it, and the one record that changes.

Owns shapes only.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from qmon.capture.headers import HeaderFinder
from qmon.capture.host import HostTap
from qmon.capture.mirror import MirrorReader
from qmon.capture.tap import Channel
from qmon.packets.batch import FrameBatch, Note


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

    `packets`, `bytes` and `dropped` are those of channels that were closed.
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
    renewing: bool = field(default=False)

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

    def retire(self) -> None:
        """Let go of everything that was read through, and keep the counts."""
        self.packets += sum(channel.packets for channel in self.channels)
        self.bytes += sum(channel.bytes for channel in self.channels)
        for channel in self.channels:
            channel.close()
        self.channels = ()
        if self.host is not None:
            self.dropped += self.host.dropped
            self.host.close()
            self.host = None
