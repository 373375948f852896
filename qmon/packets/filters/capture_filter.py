"""Capture filters: the language of tcpdump, compiled by libpcap itself.

Owns what a filter expression means for a batch of frames. libpcap compiles it; the program is then run over all
frames of a batch at once (`filters.bpf`), with the same results as `tcpdump -r FILE EXPRESSION`. Must never ask the
network for a name, nor let an expression take the processor for long: libpcap's optimiser takes the cube of its length.
cypcap is imported with the first filter only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import numpy as np

from qmon.packets.batch import DEFAULT_SNAPLEN, ETHERNET, FrameBatch, Interface
from qmon.packets.copying import Mask
from qmon.packets.filters import bpf
from qmon.packets.filters import names as filter_names
from qmon.packets.filters.mistakes import first_mistake
from qmon.packets.filters.selector import Selector, WrongExpression

_NULL, _LOOP = 0, 108
# What captures may hold that people write filters for: Ethernet, loopback, IP, Linux cooked, 802.11, USB, …
COMMON_LINK_TYPES = (ETHERNET, 0, 101, 113, 276, 105, 127, 119, 163, 9, 50, 6, 10, 129, 140)
# LINKTYPE_ numbers whose DLT_ number differs (pcap/dlt.h, Linux): ATM_RFC1483, RAW, SLIP_BSDOS, PPP_BSDOS.
_DLT = {100: 11, 101: 12, 102: 15, 103: 16}

# 100 ports take libpcap 0.1 s without its optimiser and 1.2 s with it, 200 ports 0.5 and 12 s.
MOST_TERMS, MOST_PIECES = 128, 2000
_MOST_TO_OPTIMISE = 2000
_MOST_PIECES_TO_SEARCH = 200
_BETWEEN_TERMS = re.compile(r"\b(?:and|or)\b|&&|\|\|")


class CaptureFilter(Selector):
    """A compiled expression. Programs for other link types than the first are made when they are needed."""

    language: ClassVar[str] = "capture filter"

    def __init__(self, expression: str, link_types: Iterable[int] = (ETHERNET,)) -> None:
        """WrongExpression if the expression is wrong for every one of the link types."""
        self._expression = expression
        self._pieces = _cut(expression)
        self._programs: dict[int, _Program | WrongExpression] = {}
        self._require(link_types)

    def __repr__(self) -> str:
        return f"<CaptureFilter {self.expression!r}>"

    @property
    def expression(self) -> str:
        """The user's words."""
        return self._expression

    def mask(self, batch: FrameBatch, interfaces: Sequence[Interface]) -> Mask:
        """Return which frames match; none does where its link type has no such thing."""
        different = {interface.link_type for interface in interfaces} or {ETHERNET}
        if len(different) == 1:
            return self._mask(batch, different.pop())
        result = np.zeros(len(batch), np.bool_)
        for link_type in different:
            mine = [i for i, interface in enumerate(interfaces) if interface.link_type == link_type]
            here = np.isin(batch.interface, mine)
            result[here] = self._mask(batch.select(here), link_type)
        return result

    def require(self, interfaces: Sequence[Interface]) -> None:
        """See `Selector.require`."""
        self._require(interface.link_type for interface in interfaces)

    def _require(self, link_types: Iterable[int]) -> None:
        first: WrongExpression | None = None
        for link_type in link_types:
            program = self._program(link_type)
            if isinstance(program, _Program):
                return
            first = first or program
        if first is not None:
            raise first

    def _mask(self, batch: FrameBatch, link_type: int) -> Mask:
        if link_type != _NULL:
            return self._run(batch, link_type)
        # The address family in front is in the order of the machine that captured: little-endian, or as in LOOP.
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

    def _program(self, link_type: int) -> _Program | WrongExpression:
        known = self._programs.get(link_type)
        if known is None:
            try:
                known = _Program(self._source, link_type)
            except _NotCompiled as problem:
                known = self._wrong(problem.reason, link_type)
            self._programs[link_type] = known
        return known

    def _wrong(self, reason: str, link_type: int) -> WrongExpression:
        place = self._place(link_type)
        at, word = None, ""
        if place is not None:
            at = self._pieces[place].at if place < len(self._pieces) else len(self.expression)
            word = self._pieces[place].word if place < len(self._pieces) else ""
        return WrongExpression(self.language, self.expression, reason, hint=_HINT, at=at, word=word)

    def _place(self, link_type: int) -> int | None:
        """Return which piece is wrong, their number if something is missing behind them, None if that is not known."""
        if len(self._pieces) > _MOST_PIECES_TO_SEARCH or _compiles(self._source, link_type):
            return None
        return first_mistake([piece.given for piece in self._pieces], lambda text: _compiles(text, link_type))

    @property
    def _source(self) -> str:
        return "".join(piece.given for piece in self._pieces)


_HINT = (
    "the language is that of tcpdump: tcp port 80 and host 10.0.2.15, arp or icmp6, not port 53; "
    "see man pcap-filter"
)


class _NotCompiled(Exception):
    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class _Program:
    def __init__(self, source: str, link_type: int) -> None:
        compiled = _compile(source, link_type, optimise=False)
        if len(compiled) <= _MOST_TO_OPTIMISE:
            compiled = _compile(source, link_type, optimise=True)
        self._compiled: Any = compiled
        self._instructions = [bpf.Instruction(*instruction) for instruction in compiled]
        if bpf.ancillary_loads(self._instructions) - {bpf.PACKET_TYPE}:
            raise _NotCompiled("captures do not hold what it asks for (such as an interface's index)")
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


def _cut(expression: str) -> list[filter_names.Piece]:
    """Cut an expression into words, refusing what would take libpcap too long."""
    if "\0" in expression:
        raise WrongExpression(
            CaptureFilter.language,
            expression,
            "it holds a NUL character",
            hint=_HINT,
            at=expression.index("\0"),
        )
    terms = 1 + sum(1 for _ in _BETWEEN_TERMS.finditer(expression))
    if terms > MOST_TERMS or len(expression) > 16 * MOST_PIECES:
        raise _too_long(expression, terms)
    pieces = filter_names.with_addresses(expression)
    terms = 1 + sum(1 for _ in _BETWEEN_TERMS.finditer("".join(piece.given for piece in pieces)))
    if terms > MOST_TERMS or len(pieces) > MOST_PIECES:
        raise _too_long(expression, terms)
    return pieces


def _too_long(expression: str, terms: int) -> WrongExpression:
    reason = (
        f"it has {terms} terms and {len(expression)} characters; {MOST_TERMS} terms can be compiled in time"
    )
    hint = "say it with ranges and networks: portrange 6000-6100, net 10.0.0.0/8"
    return WrongExpression(CaptureFilter.language, expression, reason, hint=hint)


def _compile(source: str, link_type: int, *, optimise: bool) -> Any:
    import cypcap

    try:
        return cypcap.compile(_DLT.get(link_type, link_type), DEFAULT_SNAPLEN, source, optimise, 0)
    except (cypcap.Error, ValueError) as problem:
        raise _NotCompiled(str(problem.args[-1]).removeprefix("can't parse filter expression: ")) from problem


def _compiles(source: str, link_type: int) -> bool:
    try:
        _compile(source, link_type, optimise=False)
    except _NotCompiled:
        return False
    return True
