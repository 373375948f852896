"""Capture filters: the language of tcpdump, compiled by libpcap itself.

Owns what a filter expression means for a batch of frames. libpcap compiles it; the program is then run over all
frames of a batch at once (`filters.bpf`), with the same results as `tcpdump -r FILE EXPRESSION`. Must never ask the
network for a name. cypcap is imported with the first filter only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from qmon.errors import UsageError
from qmon.packets.batch import DEFAULT_SNAPLEN, ETHERNET, Direction, FrameBatch
from qmon.packets.copying import I64, Mask
from qmon.packets.filters import bpf
from qmon.packets.filters import names as filter_names
from qmon.text import plain

if TYPE_CHECKING:
    from qmon.packets.store.packet_store import PacketStore

# Frames that `StoreFilter.step` looks at in one go: a few ms.
STEP_FRAMES = 16_384

_NULL, _LOOP = 0, 108
# What captures may hold that people write filters for: Ethernet, loopback, IP, Linux cooked, 802.11, USB, …
COMMON_LINK_TYPES = (ETHERNET, 0, 101, 113, 276, 105, 127, 119, 163, 9, 50, 6, 10, 129, 140)
# LINKTYPE_ numbers whose DLT_ number differs (pcap/dlt.h, Linux): ATM_RFC1483, RAW, SLIP_BSDOS, PPP_BSDOS.
_DLT = {100: 11, 101: 12, 102: 15, 103: 16}


class CaptureFilter:
    """A compiled expression. Programs for other link types than the first are made when they are needed."""

    def __init__(self, expression: str, link_types: Iterable[int] = (ETHERNET,)) -> None:
        """UsageError if the expression is wrong for every one of the link types."""
        self.expression = expression
        self._source = filter_names.with_addresses(expression)
        self._programs: dict[int, _Program | UsageError] = {}
        self.require(link_types)

    def __repr__(self) -> str:
        return f"<CaptureFilter {self.expression!r}>"

    def mask(self, batch: FrameBatch, link_type: int = ETHERNET) -> Mask:
        """Return which frames match, as a mask of shape (n,). None match where the link type has no such thing."""
        if link_type == _NULL:
            return self._mask_null(batch)
        return self._run(batch, link_type)

    def require(self, link_types: Iterable[int]) -> None:
        """UsageError if the expression can match on none of these link types (as tcpdump says of a file)."""
        problems = [self._problem(link_type) for link_type in link_types]
        if problems and all(problems) and problems[0] is not None:
            raise problems[0]

    def mask_interfaces(self, batch: FrameBatch, link_types: Sequence[int]) -> Mask:
        """Like `mask` for frames of several interfaces; `link_types` by interface index."""
        different = set(link_types)
        if len(different) == 1:
            return self.mask(batch, different.pop())
        result = np.zeros(len(batch), np.bool_)
        for link_type in different:
            here = np.isin(batch.interface, [i for i, other in enumerate(link_types) if other == link_type])
            result[here] = self.mask(batch.select(here), link_type)
        return result

    def matches(
        self,
        frame: bytes | memoryview,
        *,
        length: int | None = None,
        link_type: int = ETHERNET,
        direction: Direction = Direction.UNKNOWN,
    ) -> bool:
        """Return whether one frame matches; `length` is what it had on the wire."""
        lengths = [len(frame) if length is None else length]
        batch = FrameBatch.from_frames([frame], length=lengths, direction=direction)
        return bool(self.mask(batch, link_type)[0])

    def _mask_null(self, batch: FrameBatch) -> Mask:
        """The address family in front is in the order of the machine that captured: little-endian, or as in LOOP."""
        little = np.ones(len(batch), np.bool_)
        long = batch.captured >= 4
        little[long] = batch.data[batch.offset[long]] != 0
        result = np.zeros(len(batch), np.bool_)
        result[little] = self._run(batch.select(little), _NULL)
        result[~little] = self._run(batch.select(~little), _LOOP)
        return result

    def _run(self, batch: FrameBatch, link_type: int) -> Mask:
        program = self._program(link_type)
        return program.run(batch) if isinstance(program, _Program) else np.zeros(len(batch), np.bool_)

    def _problem(self, link_type: int) -> UsageError | None:
        program = self._program(link_type)
        return program if isinstance(program, UsageError) else None

    def _program(self, link_type: int) -> _Program | UsageError:
        known = self._programs.get(link_type)
        if known is None:
            try:
                known = _Program(self._source, self.expression, link_type)
            except UsageError as problem:
                known = problem
            self._programs[link_type] = known
        return known


class _Program:
    def __init__(self, source: str, expression: str, link_type: int) -> None:
        import cypcap

        if "\0" in source:
            raise _wrong(expression, "it holds a NUL character")
        try:
            compiled = cypcap.compile(_DLT.get(link_type, link_type), DEFAULT_SNAPLEN, source, True, 0)
        except (cypcap.Error, ValueError) as problem:
            raise _wrong(expression, str(problem.args[-1])) from problem
        self._compiled: Any = compiled
        self._instructions = [bpf.Instruction(*instruction) for instruction in compiled]
        if bpf.ancillary_loads(self._instructions) - {bpf.PACKET_TYPE}:
            raise _wrong(expression, "captures do not hold what it asks for (such as an interface's index)")
        self._loops = bpf.is_loop(self._instructions)

    def run(self, batch: FrameBatch) -> Mask:
        if not self._loops:
            return bpf.run(self._instructions, batch)
        import cypcap

        headers = zip(batch.captured.tolist(), batch.length.tolist(), strict=True)
        return np.fromiter(
            (
                self._compiled.offline_filter(cypcap.Pkthdr(0, captured, length), bytes(batch.frame(i)))
                for i, (captured, length) in enumerate(headers)
            ),
            np.bool_,
            len(batch),
        )


def compile_filter(expression: str, link_types: Iterable[int] = (ETHERNET,)) -> CaptureFilter:
    """Compile an expression of the pcap-filter language.

    UsageError, with libpcap's own words, if it is wrong for all of the link types of the source.
    """
    return CaptureFilter(expression, link_types)


class StoreFilter:
    """The packets of a store that match, found little by little, also while the store grows."""

    def __init__(self, store: PacketStore, chosen: CaptureFilter, start_seq: int = 0) -> None:
        self._store = store
        self._filter = chosen
        self._next = start_seq
        self._found = np.empty(256, np.int64)
        self._count = 0

    def __repr__(self) -> str:
        return f"<StoreFilter {self._filter.expression!r}: {self._count} of {self._next}>"

    @property
    def seqs(self) -> I64:
        """The matching packets so far, ascending; a view, good until the next `step`."""
        return self._found[: self._count]

    @property
    def looked_at(self) -> int:
        """The next packet to look at."""
        return self._next

    def step(self) -> bool:
        """Look at the next slice of the store; return whether there is more to look at."""
        store = self._store
        start = max(self._next, store.first_seq)
        stop = min(start + STEP_FRAMES, store.next_seq)
        if start >= stop:
            return False
        batch = store.batch(start, stop)
        links = [interface.link_type for interface in store.interfaces]
        # Evicted in the meantime: the batch then begins later.
        first = stop - len(batch)
        self._add(first + np.flatnonzero(self._filter.mask_interfaces(batch, links)))
        self._next = stop
        return stop < store.next_seq

    def _add(self, seqs: I64) -> None:
        wanted = self._count + len(seqs)
        if wanted > len(self._found):
            grown = np.empty(max(wanted, 2 * len(self._found)), np.int64)
            grown[: self._count] = self.seqs
            self._found = grown
        self._found[self._count : wanted] = seqs
        self._count = wanted


def _wrong(expression: str, reason: str) -> UsageError:
    return UsageError(
        f"the capture filter {plain(expression)!r} is wrong: {plain(reason)}",
        hint="the language is that of tcpdump: tcp port 80 and host 10.0.2.15, arp or icmp6, not port 53; "
        "see man pcap-filter",
    )
