"""A display filter as a selector: headers decide for whole batches, and the frames they leave open are looked into."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from qmon.packets.analysis.segments import TcpColumns, TcpTracker
from qmon.packets.batch import FrameBatch, Interface
from qmon.packets.copying import I64, Mask
from qmon.packets.fields.layer import Facts
from qmon.packets.fields.registry import Packet
from qmon.packets.filters.display.columns import Columns, answer
from qmon.packets.filters.display.grammar import parse
from qmon.packets.filters.display.reading import LANGUAGE
from qmon.packets.filters.display.relations import Test
from qmon.packets.filters.selector import Selector

if TYPE_CHECKING:
    from qmon.packets.store.packet_store import PacketStore


# Fields that a segment alone does not tell.
TOLD = frozenset({"tcp.stream", "tcp.seq", "tcp.ack", "tcp.nxtseq", "tcp.window_size", "tcp.window_size_scalefactor",
                  "tcp.options.sack_le", "tcp.options.sack_re"})  # fmt: skip


class DisplayFilter(Selector):
    """A parsed expression. What it knows of earlier frames (numbers, the first one's time) is one source's.

    `mask` must be given all of a source's batches, in order.
    """

    language: ClassVar[str] = LANGUAGE

    def __init__(self, expression: str) -> None:
        """WrongExpression if it means nothing."""
        self._expression = expression
        self._test = parse(expression)
        # Following all conversations is only for filters that ask what they tell.
        self._tracker = TcpTracker() if any(one.name in TOLD for one in self._test.fields) else None
        self._seen = 0
        self._first_ns: int | None = None
        self._last_ns: int | None = None

    def __repr__(self) -> str:
        return f"<DisplayFilter {self._expression!r}>"

    @property
    def expression(self) -> str:
        """The user's words."""
        return self._expression

    def mask(self, batch: FrameBatch, interfaces: Sequence[Interface]) -> Mask:
        """See `Selector.mask`."""
        if not len(batch):
            return np.zeros(0, np.bool_)
        tcp = None if self._tracker is None else self._tracker.of(batch, interfaces)
        context = Context(batch, interfaces, self._seen, self._first_ns, self._last_ns, tcp)
        self._seen += len(batch)
        self._first_ns, self._last_ns = context.first_ns, int(batch.time_ns[-1])
        return selected(self._test, context)

    def seqs(self, store: PacketStore, start: int, stop: int) -> I64:
        """See `Selector.seqs`."""
        stop = min(stop, store.next_seq)
        batch = store.batch(start, stop)
        if not len(batch):
            return np.zeros(0, np.int64)
        first = stop - len(batch)
        oldest = store.rows(store.first_seq, store.first_seq + 1)
        before = store.rows(first - 1, first) if first > store.first_seq else None
        context = Context(
            batch,
            store.interfaces,
            first,
            int(oldest.time_ns[0]) if len(oldest) else None,
            int(before.time_ns[0]) if before is not None and len(before) else None,
            None if self._tracker is None else self._tracker.of(batch, store.interfaces),
        )
        return first + np.flatnonzero(selected(self._test, context))


class Context:
    """A batch, and what is known beside its bytes. `before` is how many frames came before it."""

    def __init__(
        self,
        batch: FrameBatch,
        interfaces: Sequence[Interface],
        before: int,
        first_ns: int | None,
        previous_ns: int | None,
        tcp: TcpColumns | None = None,
    ) -> None:
        self._tcp = tcp
        self.batch, self.interfaces, self.before = batch, interfaces, before
        self.first_ns = int(batch.time_ns[0]) if first_ns is None else first_ns
        self._previous_ns = int(batch.time_ns[0]) if previous_ns is None else previous_ns
        self._comments = dict(batch.comments)

    def column(self, name: str) -> tuple[I64, Mask | None] | None:
        """Return a field's values and where there are any (None: everywhere); None if it is in the bytes alone."""
        if self._tcp is not None and (told := self._tcp.column(name)) is not None:
            return told
        values = self._beside(name)
        return None if values is None else (values, None)

    def _beside(self, name: str) -> I64 | None:
        batch = self.batch
        if name == "frame.number":
            return np.arange(self.before + 1, self.before + 1 + len(batch))
        if name == "frame.len":
            return batch.length.astype(np.int64)
        if name == "frame.cap_len":
            return batch.captured.astype(np.int64)
        if name == "frame.interface_id":
            return batch.interface.astype(np.int64)
        if name == "frame.time_epoch":
            return batch.time_ns
        if name == "frame.time_relative":
            return batch.time_ns - self.first_ns
        if name == "frame.time_delta":
            return np.diff(batch.time_ns, prepend=self._previous_ns)
        return None

    def facts(self, row: int) -> Facts:
        """Return what is known of one frame."""
        batch = self.batch
        interface = int(batch.interface[row])
        on = self.interfaces[interface]
        return Facts(
            number=self.before + 1 + row,
            time_ns=int(batch.time_ns[row]),
            first_ns=self.first_ns,
            previous_ns=int(batch.time_ns[row - 1]) if row else self._previous_ns,
            length=int(batch.length[row]),
            captured=int(batch.captured[row]),
            interface=interface,
            netdev=on.name,
            direction=int(batch.direction[row]),
            comment=self._comments.get(row),
            link_type=on.link_type,
            tcp=None if self._tcp is None else self._tcp.fields(row),
        )

    def packet(self, row: int) -> Packet:
        """Return one frame, to be looked into."""
        return Packet(self.batch.frame(row), self.facts(row))


def selected(test: Test, context: Context) -> Mask:
    """Return for which frames a test holds."""
    columns = Columns(context.batch, context.interfaces, context.column)
    told = answer(test, columns)
    result = told.yes.copy()
    for row in np.flatnonzero(told.unknown).tolist():
        result[row] = test.holds(context.packet(row))
    return result
