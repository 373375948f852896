"""Packets as the values of chosen fields, a line each, as `tshark -T fields` prints them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from qmon.errors import UsageError
from qmon.packets.analysis.segments import TcpColumns, TcpTracker
from qmon.packets.batch import FrameBatch, Interface
from qmon.packets.fields.field import Field
from qmon.packets.fields.layer import Facts
from qmon.packets.fields.registry import Packet, fields, nearest
from qmon.text import plain

SEPARATOR, BETWEEN_VALUES = "\t", ","


class FieldLines:
    """Prints the fields of some names; UsageError for a name that no field has.

    Times are counted from the first packet it is given.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._fields = [_field(name) for name in names]
        self._tracker = TcpTracker()
        self._first_ns: int | None = None
        self._previous_ns = 0

    def __call__(
        self,
        batch: FrameBatch,
        interfaces: Sequence[Interface],
        numbers: Iterable[int],
        tcp: TcpColumns | None = None,
    ) -> list[str]:
        """See `line_batches.Form`."""
        if tcp is None:
            tcp = self._tracker.of(batch, interfaces)
        comments = dict(batch.comments)
        columns = (batch.time_ns, batch.length, batch.captured, batch.interface, batch.direction)
        lines = []
        for row, (number, time_ns, length, captured, interface, direction) in enumerate(
            zip(numbers, *(column.tolist() for column in columns), strict=True)
        ):
            if self._first_ns is None:
                self._first_ns = self._previous_ns = time_ns
            on = interfaces[interface]
            facts = Facts(
                number=number,
                time_ns=time_ns,
                first_ns=self._first_ns,
                previous_ns=self._previous_ns,
                length=length,
                captured=captured,
                interface=interface,
                netdev=on.name,
                direction=direction,
                comment=comments.get(row),
                link_type=on.link_type,
                tcp=tcp.fields(row),
            )
            self._previous_ns = time_ns
            packet = Packet(batch.frame(row), facts)
            lines.append(SEPARATOR.join(self._texts(packet)))
        return lines

    def _texts(self, packet: Packet) -> Iterable[str]:
        for field in self._fields:
            yield BETWEEN_VALUES.join([field.text(value) for value in packet.values(field)])


def _field(name: str) -> Field:
    found = fields().get(name)
    if found is None:
        close = nearest(name)
        raise UsageError(
            f"there is no field {plain(name)!r}", hint=f"did you mean {close}?" if close else None
        )
    return found
