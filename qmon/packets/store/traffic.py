"""What passes on each interface, second by second. Owns these counters."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from qmon.packets.batch import NO_TIME, Direction
from qmon.packets.copying import I64, U8, U16, U32

if TYPE_CHECKING:
    from qmon.packets.store.rows import Arrived

SECOND_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Traffic:
    """Traffic of one interface, a row for each second (UTC) in which there was any, ascending.

    Bytes are as on the wire. `unknown_…` is what has no direction.
    """

    second: I64
    in_packets: I64
    in_bytes: I64
    out_packets: I64
    out_bytes: I64
    unknown_packets: I64
    unknown_bytes: I64


class TrafficCounter:
    """Counts packets and bytes by interface, second and direction; takes packets in any order of time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Per interface: the seconds, ascending, and int64[n, 6]: packets and bytes for each direction.
        self._second: dict[int, I64] = {}
        self._counts: dict[int, I64] = {}

    def see(self, arrived: Arrived) -> None:
        """See `Observer.see`."""
        batch = arrived.batch
        with self._lock:
            self.count(batch.time_ns, batch.interface, batch.direction, batch.length)

    def count(self, time_ns: I64, interface: U16, direction: U8, length: U32) -> None:
        """Add packets; those without a time passed in no second."""
        if len(time_ns) and time_ns.min() == NO_TIME:
            known = time_ns != NO_TIME
            time_ns, interface, direction, length = (
                time_ns[known],
                interface[known],
                direction[known],
                length[known],
            )
        if not len(time_ns):
            return
        lowest, highest = int(interface.min()), int(interface.max())
        if lowest == highest:
            self._count_one(lowest, time_ns, direction, length)
            return
        for index in np.unique(interface).tolist():
            mine = interface == index
            self._count_one(index, time_ns[mine], direction[mine], length[mine])

    def of(self, interface: int) -> Traffic:
        """Return one interface's counts now."""
        with self._lock:
            return self._of(interface)

    def _of(self, interface: int) -> Traffic:
        none = np.zeros(0, np.int64)
        counts = self._counts.get(interface, none.reshape(0, 6)).copy()
        unknown, inward, outward = (2 * int(way) for way in (Direction.UNKNOWN, Direction.IN, Direction.OUT))
        return Traffic(
            second=self._second.get(interface, none).copy(),
            in_packets=counts[:, inward],
            in_bytes=counts[:, inward + 1],
            out_packets=counts[:, outward],
            out_bytes=counts[:, outward + 1],
            unknown_packets=counts[:, unknown],
            unknown_bytes=counts[:, unknown + 1],
        )

    def _count_one(self, index: int, time_ns: I64, direction: U8, length: U32) -> None:
        second = time_ns // SECOND_NS
        # Time mostly goes on: there are few places where the second changes, and only those are looked up.
        begin = np.concatenate(([0], np.flatnonzero(second[1:] != second[:-1]) + 1))
        present, which = np.unique(second[begin], return_inverse=True)
        place = np.repeat(which * 3, np.diff(begin, append=len(second)))
        place += direction
        size = 3 * len(present)
        packets = np.bincount(place, minlength=size).reshape(-1, 3)
        # As floating point numbers: exact, for no batch has 2**53 bytes.
        octets = np.bincount(place, weights=length, minlength=size).astype(np.int64).reshape(-1, 3)
        row = np.searchsorted(self._known(index, present), present)
        counts = self._counts[index]
        counts[row, 0::2] += packets
        counts[row, 1::2] += octets

    def _known(self, index: int, present: I64) -> I64:
        """Return the seconds of an interface, after making rows for those of `present` that have none."""
        known = self._second.get(index)
        if known is None:
            known = np.zeros(0, np.int64)
            self._counts[index] = np.zeros((0, 6), np.int64)
        fresh = present[~np.isin(present, known)]
        if len(fresh):
            place = np.searchsorted(known, fresh)
            known = np.insert(known, place, fresh)
            self._counts[index] = np.insert(self._counts[index], place, 0, axis=0)
            self._second[index] = known
        return known
