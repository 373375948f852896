"""Tests over many frames at once, as far as headers tell.

Where a frame is plain (Ethernet, then ARP, or IP with a plain header, then TCP, UDP or an echo), its fixed fields are
read as columns. A test over a batch gives two masks: for which frames it certainly holds, and for which nobody knows
without looking into the frame. Joining keeps what is certain: `tcp.port == 80 && http.host == "x"` looks into the
frames of port 80 only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from qmon.packets.batch import ETHERNET, FrameBatch, Interface
from qmon.packets.copying import I64, U8, U16, U64, Mask, clipped_items_at
from qmon.packets.fields.field import ADDRESS_BYTES, Field, Kind
from qmon.packets.fields.walk import TUNNEL_PORTS, UDP_PROTOCOLS
from qmon.packets.filters.display.literals import Literal
from qmon.packets.filters.display.relations import Compare, Exists, In, Joined, Not, Test
from qmon.packets.filters.display.values import Arithmetic, Constant, FieldValue, Operand
from qmon.packets.store.decode import ARP, decode

_ICMP, _TCP, _UDP = 1, 6, 17
# What only a look into the frame tells, and behind which transport it may be: a row without it has none of these.
_BEHIND_TCP = frozenset(
    {"dns", "ssh", "tls", "http", "bgp", "ftp", "ftp-data", "telnet", "smtp", "pop", "imap", "irc"}
)
_BEHIND_UDP = frozenset(UDP_PROTOCOLS.values())


# Values, and where there are any (None: everywhere).
Told = tuple[I64, Mask | None]


@dataclass(frozen=True, slots=True)
class Answer:
    """For which frames a test holds, and for which it is not known."""

    yes: Mask
    unknown: Mask


@dataclass(frozen=True, slots=True)
class Numbers:
    """The values of a field, a column for each that a frame may have: the numbers, and where there are any."""

    columns: tuple[tuple[U64 | I64, Mask], ...]


class Columns:
    """The headers of a batch, read when they are asked for. `facts` gives columns of what is not in the bytes."""

    def __init__(
        self, batch: FrameBatch, interfaces: Sequence[Interface], facts: Callable[[str], Told | None]
    ) -> None:
        self.batch = batch
        self._facts = facts
        link_types = np.array([one.link_type for one in interfaces], np.uint16)
        self._headers = decode(batch, link_types)
        self._nothing = np.zeros(len(batch), np.bool_)
        self._locate(link_types)

    def _locate(self, link_types: U16) -> None:
        batch, headers = self.batch, self._headers
        captured, length = batch.captured.astype(np.int64), batch.length.astype(np.int64)
        network = headers.network - batch.offset - (len(headers.data) - len(batch.data))
        head = clipped_items_at(headers.data, 8, headers.network).reshape(-1, 8)
        words = head.view(">u2")
        kind = clipped_items_at(batch.data, 2, batch.offset + 12).view(">u2")
        ethernet = (link_types == ETHERNET).take(batch.interface) & (captured >= 14) & (network == 14)
        protocol = headers.protocol
        four = ethernet & (headers.version == 4) & (head[:, 0] == 0x45) & (words[:, 3] & 0x3FFF == 0)
        six = ethernet & (headers.version == 6) & (head[:, 6] == protocol)
        start = network + np.where(six, 40, 20)
        said = np.where(six, words[:, 2], words[:, 1]).astype(np.int64)
        end = np.where(six & (said > 0), network + 40 + said, length)
        end = np.where(four & (said >= 20), network + said, end)
        stop = np.minimum(np.minimum(captured, end), length)
        first = clipped_items_at(batch.data, 14, batch.offset + np.minimum(start, captured)).reshape(-1, 14)
        tcp = (four | six) & (protocol == _TCP)
        source, destination = headers.source_port.byteswap(), headers.destination_port.byteswap()
        udp = (
            (four | six)
            & (protocol == _UDP)
            & ~np.isin(source, TUNNEL_PORTS)
            & ~np.isin(destination, TUNNEL_PORTS)
        )
        echo = four & (protocol == _ICMP) & ((first[:, 0] == 0) | (first[:, 0] == 8)) & (stop > start)
        arp = ethernet & (kind == ARP)
        udp_size = first.view(">u2")[:, 2].astype(np.int64)
        udp_stop = np.where(udp_size >= 8, np.minimum(stop, start + udp_size), stop)
        self.plain: Mask = tcp | udp | echo | arp
        self._start = {"eth": np.zeros_like(start), "arp": network, "ip": network, "ipv6": network,
                       "tcp": start, "udp": start, "icmp": start}  # fmt: skip
        self._stop = {"eth": captured, "arp": captured, "ip": stop, "ipv6": stop, "tcp": stop, "udp": udp_stop,
                      "icmp": stop}  # fmt: skip
        self._has = {"eth": self.plain, "arp": arp, "ip": self.plain & four, "ipv6": self.plain & six, "tcp": tcp,
                     "udp": udp, "icmp": echo}  # fmt: skip
        payload = start + (first[:, 12] >> 4).astype(np.int64) * 4
        self._payload_at, self._speaks = payload, tcp & (stop > payload)
        self._ports = source, destination
        self._may_be: dict[str, Mask] = {}

    # What is known

    def may_have(self, field: Field) -> Mask:
        """Return which frames may have a field that no column holds: others certainly do not."""
        result: Mask = ~self.plain
        for protocol in field.layers:
            if protocol in self._has:
                result = result | self._has[protocol]
            elif protocol in _BEHIND_TCP or protocol in _BEHIND_UDP:
                result = result | self._behind(protocol)
            elif protocol == "frame":
                return np.ones(len(self.batch), np.bool_)
        return result

    def _behind(self, protocol: str) -> Mask:
        known = self._may_be.get(protocol)
        if known is None:
            known = self._nothing.copy()
            if protocol in _BEHIND_UDP:
                ports = [port for port, name in UDP_PROTOCOLS.items() if name == protocol]
                known = self._has["udp"] & (np.isin(self._ports[0], ports) | np.isin(self._ports[1], ports))
            if protocol in _BEHIND_TCP:
                known |= self._spoken(protocol)
            self._may_be[protocol] = known
        return known

    def _spoken(self, protocol: str) -> Mask:
        """Return which segments may begin with a protocol; too many do no harm."""
        if protocol not in ("http", "tls", "ssh"):
            speaks: Mask = self._speaks
            return speaks
        rows = np.flatnonzero(self._speaks)
        first = clipped_items_at(
            self.batch.data, 2, self.batch.offset[rows] + self._payload_at[rows]
        ).reshape(-1, 2)
        result = np.zeros(len(self.batch), np.bool_)
        if protocol == "tls":
            result[rows] = (first[:, 0] >= 20) & (first[:, 0] <= 23) & (first[:, 1] == 3)
        else:
            result[rows] = ((first >= 0x41) & (first <= 0x5A)).all(axis=1)
            if protocol == "ssh":
                result |= self._speaks & ((self._ports[0] == 22) | (self._ports[1] == 22))
        return result

    def numbers(self, field: Field) -> Numbers | None:
        """Return a field's values, None if they are in no column."""
        told = self._facts(field.name)
        if told is not None:
            values, where = told
            everywhere = np.ones(len(self.batch), np.bool_)
            return Numbers(((values, everywhere if where is None else where),))
        if not field.fixed or field.size > 8 or any(one not in self._has for one in field.layers):
            return None
        found = []
        for protocol in field.layers:
            start, stop, has = self._start[protocol], self._stop[protocol], self._has[protocol]
            for at in field.at:
                there = has & (start + at + field.size <= stop)
                rows = np.flatnonzero(there)
                raw = clipped_items_at(
                    self.batch.data, field.size, self.batch.offset[rows] + start[rows] + at
                )
                values = np.zeros(len(self.batch), np.uint64)
                values[rows] = _big_endian(raw.reshape(-1, field.size))
                if field.mask:
                    values = (values & np.uint64(field.mask)) >> np.uint64(field.shift)
                found.append((values, there))
        return Numbers(tuple(found))

    def present(self, field: Field) -> Mask | None:
        """Return which plain frames have a protocol or a field; None if no column tells."""
        if field.kind is Kind.PROTOCOL and field.name in self._has:
            has: Mask = self._has[field.name]
            return has
        if field.kind is Kind.PROTOCOL and field.name == "frame":
            return np.ones(len(self.batch), np.bool_)
        numbers = self.numbers(field)
        if numbers is None:
            return None
        result: Mask = np.logical_or.reduce([there for _, there in numbers.columns])
        return result

    def certain(self, field: Field) -> Mask:
        """Return for which frames the columns of a field are all there is to know."""
        return np.ones(len(self.batch), np.bool_) if field.layers == ("frame",) else self.plain


def _big_endian(raw: U8) -> U64:
    result = np.zeros(len(raw), np.uint64)
    for place in range(raw.shape[1]):
        result = result << np.uint64(8) | raw[:, place]
    return result


def answer(test: Test, columns: Columns) -> Answer:
    """Say of a batch's frames for which a test holds, as far as their headers tell."""
    if isinstance(test, Not):
        inner = answer(test.of, columns)
        return Answer(~inner.yes & ~inner.unknown, inner.unknown)
    if isinstance(test, Joined):
        return _joined(test, columns)
    return _certain(test, columns) or _unknown(test, columns)


def _joined(test: Joined, columns: Columns) -> Answer:
    first, *rest = (answer(part, columns) for part in test.parts)
    yes, maybe = first.yes, first.yes | first.unknown
    for one in rest:
        possible = one.yes | one.unknown
        if test.word == "and":
            yes, maybe = yes & one.yes, maybe & possible
        elif test.word == "or":
            yes, maybe = yes | one.yes, maybe | possible
        else:
            unknown = (maybe & ~yes) | one.unknown
            yes = (yes ^ one.yes) & ~unknown
            maybe = yes | unknown
    return Answer(yes, maybe & ~yes)


def _unknown(test: Test, columns: Columns) -> Answer:
    possible = np.ones(len(columns.batch), np.bool_)
    for field in test.fields:
        # Every field of a relation must be there.
        possible = possible & columns.may_have(field)
    return Answer(np.zeros(len(columns.batch), np.bool_), possible)


def _certain(test: Test, columns: Columns) -> Answer | None:
    """Return what columns say of a test, None if they say nothing."""
    left = _left(test)
    if isinstance(left, Arithmetic) and left.sign == "&" and isinstance(left.right, Constant):
        field = _field(left.left)
        bits = left.right.literal.value
        if field is None or not isinstance(bits, int) or bits < 0 or field.kind in ADDRESS_BYTES:
            return None
        transform: Callable[[U64], U64] | None = lambda values: values & np.uint64(bits)  # noqa: E731
    else:
        field, transform = _field(left), None
    if field is None:
        return None
    if isinstance(test, Exists) and transform is None:
        there = columns.present(field)
        return None if there is None else _answered(there, field, columns)
    decide = _decision(test)
    numbers = columns.numbers(field) if decide is not None else None
    if numbers is None or decide is None:
        return None
    if field.kind is Kind.PROTOCOL:
        return None
    return _answered(_decided(test, decide, transform, numbers), field, columns)


def _answered(yes: Mask, field: Field, columns: Columns) -> Answer:
    certain = columns.certain(field)
    return Answer(yes & certain, ~certain)


def _decided(
    test: Test, decide: Callable[[U64 | I64], Mask], transform: Callable[[U64], U64] | None, numbers: Numbers
) -> Mask:
    every = getattr(test, "every", False)
    held, broken, somewhere = [], [], []
    for values, there in numbers.columns:
        result = decide(values if transform is None else transform(values))  # type: ignore[arg-type]
        held.append(result & there)
        broken.append(~result & there)
        somewhere.append(there)
    found: Mask = np.logical_or.reduce(held)
    if every:
        found = np.logical_or.reduce(somewhere) & ~np.logical_or.reduce(broken)
    return found


def _left(test: Test) -> Operand | None:
    if isinstance(test, Exists):
        return test.of
    return test.left if isinstance(test, Compare | In) else None


def _field(operand: Operand | None) -> Field | None:
    return operand.field if isinstance(operand, FieldValue) and operand.layer is None else None


def _decision(test: Test) -> Callable[[U64 | I64], Mask] | None:
    """Return what says of a column of numbers where a test holds; None if it is not about whole numbers."""
    if isinstance(test, Exists):
        return lambda values: values != 0
    if isinstance(test, Compare) and isinstance(test.right, Constant):
        return _relation(test.sign, test.right.literal)
    if isinstance(test, In):
        parts = []
        for first, last in test.members:
            if last is None:
                parts.append(_relation("==", first))
            else:
                low, high = _relation(">=", first), _relation("<=", last)
                parts.append(None if low is None or high is None else _both(low, high))
        if any(part is None for part in parts):
            return None
        return lambda values: np.logical_or.reduce([part(values) for part in parts if part is not None])
    return None


def _both(low: Callable[[U64 | I64], Mask], high: Callable[[U64 | I64], Mask]) -> Callable[[U64 | I64], Mask]:
    return lambda values: low(values) & high(values)


def _relation(sign: str, literal: Literal) -> Callable[[U64 | I64], Mask] | None:
    value, mask = literal.value, literal.mask
    if not isinstance(value, int) or not -(1 << 63) <= value < 1 << 63:
        return None
    if mask is not None:
        value &= mask

    def related(values: U64 | I64) -> Mask:
        if mask is not None:
            values = values & values.dtype.type(mask)
        if value < 0 and values.dtype == np.uint64:
            # No unsigned number is so small.
            return np.full(len(values), sign in ("!=", ">", ">="))
        wanted = values.dtype.type(value)
        result: Mask = _RELATIONS[sign](values, wanted)
        return result

    return related


_RELATIONS: dict[str, Callable[..., Mask]] = {
    "==": np.equal, "!=": np.not_equal, "<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal,
}  # fmt: skip
