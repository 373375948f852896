"""What qmon needs of a VM's monitor, however it is reached: `Session` speaks QMP, other transports may follow.

Owns the contract between those who ask and those who carry. Must never know a command: they are spelt in `commands`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, Self

if TYPE_CHECKING:
    from types import TracebackType

    from qmon.monitor.address import Address
    from qmon.monitor.events import Event, EventStream
    from qmon.monitor.schema import Schema
    from qmon.monitor.version import Version


class Monitor(Protocol):
    """An attached monitor."""

    @property
    def address(self) -> Address:
        """Where it was reached; as text, how a user would name it."""

    @property
    def version(self) -> Version:
        """QEMU's version."""

    # Asking

    async def execute(
        self,
        command: str,
        arguments: Mapping[str, object] | None = None,
        *,
        timeout_s: float | None = None,
        fd: int | None = None,
    ) -> Any:
        """Run a QMP command, which may carry a descriptor of ours, and return its result.

        `Refused` carries QEMU's class and reason, and says where a descriptor cannot be carried; `Interrupted` means
        the outcome cannot be known; `TimedOut` that no answer came within `timeout_s` (the monitor's own limit unless
        given).
        """

    async def hmp(self, line: str, *, timeout_s: float | None = None) -> str:
        """Run a line of the human monitor; its text with plain line ends. HMP knows no errors, only texts."""

    async def commands(self) -> frozenset[str]:
        """Return the names of the QMP commands this QEMU has."""

    async def schema(self) -> Schema:
        """Return this QEMU's own description of its commands."""

    # Hearing

    def events(self) -> EventStream:
        """Return a stream of the events from now on; its end is the monitor's end."""

    def on_change(self, callback: Callable[[Event], None]) -> Callable[[], None]:
        """Have `callback` hear of every change of the network made through this monitor; call the result to end it.

        The event is described in `kinds.change_message`.
        """

    def on_handover(self, callback: Callable[[], None]) -> None:
        """Have `callback` called when events may have been missed."""

    async def announce(self, frames: Mapping[str, object]) -> None:
        """Tell every qmon on this monitor, this one too, of frames that are about to be sent (`capture.sent`)."""

    async def wait_lost(self) -> str:
        """Wait until the monitor is gone for good; return why."""

    @property
    def lost_reason(self) -> str | None:
        """Why the monitor is gone for good, or None while it is there."""

    async def close(self) -> None:
        """Leave the monitor, as the end of an `async with` does; the VM is not touched."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    # What the transport can do

    @property
    def can_pass_descriptors(self) -> bool:
        """Whether a command may carry a descriptor."""

    @property
    def is_local(self) -> bool:
        """Whether QEMU surely runs on this host: only then may `/proc` and the kernel's tables be asked about it."""

    @property
    def peer_pid(self) -> int | None:
        """The pid of the QEMU process as seen here, where the transport tells."""
