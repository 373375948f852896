"""Every tap of one VM: its clock, its guardian, its limit. (Skeleton; being filled in.)"""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self

from qmon.packets.batch import FrameBatch, Interface, Note

if TYPE_CHECKING:
    from qmon.monitor.discovery import Vm
    from qmon.monitor.session import Session


@dataclass(frozen=True, slots=True)
class TapState:
    """One tap as it stands; `interface` indexes `VmCapture.interfaces`, `reason` says why it ended (None: live)."""

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


class VmCapture:
    """The capture of one VM, as `async with`; leaving removes every tap."""

    def __init__(
        self,
        session: Session,
        vm: Vm | None = None,
        *,
        snaplen: int = 262_144,
        limit_bytes: int = 64 << 20,
        raw_time: bool = False,
        events: bool = False,
    ) -> None:
        self.interfaces: tuple[Interface, ...] = ()
        self.taps: tuple[TapState, ...] = ()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return

    async def tap(self, netdev: str) -> TapState:
        """Start to capture; `Refused` says why not and what would help."""
        raise NotImplementedError

    async def untap(self, netdev: str) -> None:
        """End the capture of a netdev; what it wrote is still handed out by `poll`."""
        raise NotImplementedError

    def poll(self) -> Polled:
        """Return what came since; never blocks."""
        return Polled()

    async def wait(self, timeout_s: float) -> None:
        """Wait until there may be frames, at most `timeout_s`."""
        raise NotImplementedError

    async def rebind(self, session: Session) -> None:
        """Go on with a new session on the same VM."""
        raise NotImplementedError
