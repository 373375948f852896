"""A watched VM at one moment, as frozen records that views draw from.

Must never hold anything that changes by itself.
"""

from __future__ import annotations

from dataclasses import dataclass

from qmon.capture.following import MonitorState
from qmon.capture.taps.tap import TapState
from qmon.monitor.hmp import UsernetStack
from qmon.network.model import Network


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """Something that happened; `seq` counts from 0 and never comes back, `time_ns` is UTC since the epoch."""

    seq: int
    time_ns: int
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything a view may draw, at one moment; `version` grows whenever something but counters changed.

    `not_tapped` maps a netdev to the reason why its packets are not seen.
    """

    version: int
    name: str | None
    pid: int | None
    address: str
    qemu_version: str
    monitor: MonitorState
    monitor_note: str
    run_state: str
    network: Network
    usernet: tuple[UsernetStack, ...]
    taps: tuple[TapState, ...]
    not_tapped: tuple[tuple[str, str], ...]
    timeline: tuple[TimelineEntry, ...]
    packets: int
    bytes: int
    dropped: int
