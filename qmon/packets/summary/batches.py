"""The summaries of a whole batch at once, word for word those of `summarise`, but for what only the conversation tells:
the version TLS agreed on, what a DCE/RPC context is, what an opening says all that follows is (`talk`).

The idea: nearly all packets are TCP, UDP or pings whose line needs nothing but header fields. Their fields are read as
columns, become lists once, and each kind has one format; addresses and ports become text once per conversation. A
frame's content is looked at only where its ports or first bytes may name a protocol, and then from its transport header
on; what is not plain IP (options, fragments, tunnels, anything else) goes through `summarise`, frame by frame.

Whether a frame is one of the quick ones is decided by masks. They may leave out too many, never one too few.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from qmon.packets.analysis.segments import LONGEST_HEADER, Plain, TcpColumns, TcpTracker, plain
from qmon.packets.batch import FrameBatch, Interface
from qmon.packets.copying import I64, U8, U16, U32, Mask, clipped_items_at
from qmon.packets.store.conversations import NO_FLOW, Conversations
from qmon.packets.store.decode import Headers, decode
from qmon.packets.summary import (
    Summary,
    internet,
    naming,
    streams,
    summarise,
    tables,
    transport,
    worded,
)
from qmon.packets.summary.line import Line, ipv4, ipv6
from qmon.packets.summary.talk import Talk, Talks

_ICMP, _TCP, _UDP, _SCTP = 1, 6, 17, 132
_WITH_PORTS = frozenset({_TCP, _UDP, _SCTP})
_SYN, _RST, _ACK = 2, 4, 16
_ECHO_REPLY, _ECHO = 0, 8
# The options of nearly every segment: two of padding, then time stamps (RFC 7323, appendix A).
_STAMPS = np.frombuffer(b"\1\1\x08\x0a", np.uint32)[0]
_MULTIPATH = 30
_STUN_COOKIE = np.frombuffer(b"\x21\x12\xa4\x42", np.uint32)[0]
# Conversations whose text is kept; when there are more, it is made anew.
_MOST_TEXTS = 50_000


def _these(numbers: Sequence[int], count: int) -> Mask:
    mask = np.zeros(count, np.bool_)
    mask[list(numbers)] = True
    return mask


_TCP_LOOKED_INTO = _these(streams.PORTS, 1 << 16)
_UDP_LOOKED_INTO = _these(transport.UDP_PORTS, 1 << 16)
_BEGINNINGS = _these([int.from_bytes(start, "big") for start in streams.BEGINNINGS], 1 << 16)
_IN_METHOD = _these([*range(0x41, 0x5B), 0x2D], 256)
_FLAGS = tuple(f" [{words}] Seq=" for words in transport.FLAG_WORDS)
_NAMES = (naming.dns, naming.mdns, naming.llmnr)
_ECHOES = {kind: f"{tables.ICMP_TYPES[kind]:20} id=0x" for kind in (_ECHO_REPLY, _ECHO)}


# Source, destination and their ports.
Ends = tuple[str, str, tuple[int, int] | None]
ShowEnds = Callable[[str, str, tuple[int, int] | None], str]


@dataclass(frozen=True, slots=True)
class Summaries:
    """The columns of n packets, a list each.

    `ends` is what the summariser's `show_ends` says of addresses and ports; the others are as in a `Summary`.
    """

    ends: list[str]
    protocol: list[str]
    payload_bytes: list[int]
    info: list[str]


class Summariser:
    """Words batches of one source, in order; what is said of a conversation is kept from one batch to the next.

    `show_ends` is given what a `Summary` has of a packet's ends. TCP's numbers are counted from the conversation's
    begin, unless they are to be `absolute`.
    """

    def __init__(self, show_ends: ShowEnds, *, absolute: bool = False) -> None:
        self._show_ends = show_ends
        self._tracker = None if absolute else TcpTracker()
        self._conversations = Conversations()
        # By flow and way, as `Conversations.assign` gives them.
        self._pairs: dict[int, Ends] = {}
        self._ends: dict[int, str] = {}
        self._ports: dict[int, str] = {}
        self._talks = Talks()

    def __repr__(self) -> str:
        return f"<Summariser {self._conversations!r}>"

    def of(
        self, batch: FrameBatch, interfaces: Sequence[Interface], tcp: TcpColumns | None = None
    ) -> Summaries:
        """Word the frames of a batch; `interfaces` are those of its source.

        `tcp` is what is known of its segments, where not all of the source's frames are worded.
        """
        link_types = np.array([interface.link_type for interface in interfaces], np.uint16)
        headers = decode(batch, link_types)
        flow = self._conversations.assign(headers, batch.interface)
        flows: list[int] = flow.tolist()
        self._word_new(flows, headers)
        where = plain(batch, headers, link_types)
        if self._tracker is None:
            tcp = None
        elif tcp is None:
            tcp = self._tracker.read(batch, headers, where, flow)
        work = _Work(batch, headers, where, tcp)
        _word_pings(work)
        ports = self._ports
        _word_datagrams(work, lambda rows: [ports[flows[row]] for row in rows])
        _word_segments(work, lambda rows: [ports[flows[row]] for row in rows])
        ends = list(map(self._ends.__getitem__, flows))
        begun = self._word_others(work, flows, ends, link_types)
        if self._talks.speaking:
            self._name_spoken(work, flow & np.uint32(NO_FLOW), begun)
        return Summaries(ends, work.protocol.tolist(), work.payload.tolist(), work.info.tolist())

    def _word_new(self, flows: list[int], headers: Headers) -> None:
        """Write down ends and ports of the conversations that were not seen before."""
        if len(self._ends) > _MOST_TEXTS:
            self._pairs.clear()
            self._ends.clear()
            self._ports.clear()
        fresh = set(flows).difference(self._ends)
        if not fresh:
            return
        row_of = {flow: row for row, flow in enumerate(flows) if flow in fresh}
        rows = np.fromiter(row_of.values(), np.int64, len(row_of))
        sources, destinations = (one.tobytes() for one in headers.addresses(rows))
        version, protocol = headers.version[rows].tolist(), headers.protocol[rows].tolist()
        here, there = (
            port[rows].byteswap().tolist() for port in (headers.source_port, headers.destination_port)
        )
        for i, flow in enumerate(row_of):
            source, destination = sources[16 * i : 16 * i + 16], destinations[16 * i : 16 * i + 16]
            ports = (here[i], there[i]) if protocol[i] in _WITH_PORTS else None
            pair: Ends = ("", "", None)
            if version[i] == 4:
                pair = ipv4(source[:4]), ipv4(destination[:4]), ports
            elif version[i] == 6:
                pair = ipv6(source), ipv6(destination), ports
            self._pairs[flow] = pair
            self._ends[flow] = self._show_ends(*pair)
            self._ports[flow] = f"{here[i]} → {there[i]}"

    def _name_spoken(self, work: _Work, flow: U32, begun: dict[int, int]) -> None:
        """Name the packets of conversations whose opening said what they speak, from the row behind it on."""
        speaking = self._talks.speaking
        mine = np.isin(flow, np.fromiter(speaking, np.uint32, len(speaking))) & (work.payload > 0)
        for row in np.flatnonzero(mine).tolist():
            number = int(flow[row])
            if work.protocol[row] in ("TCP", "UDP") and row > begun.get(number, -1):
                work.protocol[row] = speaking[number]

    def _word_others(self, work: _Work, flows: list[int], ends: list[str], link_types: U16) -> dict[int, int]:
        """Word, one by one, what was left; return the rows with which conversations began to speak something."""
        begun: dict[int, int] = {}
        left = ~work.done
        batch, plain = work.batch, work.plain
        rows = np.flatnonzero(left & plain.usual)
        columns = (plain.transport, plain.end, work.headers.protocol, work.headers.version, batch.length)
        lists = (one[rows].tolist() for one in columns)
        tunnels: list[int] = []
        for row, at, end, protocol, version, length in zip(rows.tolist(), *lists, strict=True):
            tcp = work.tcp.row(row) if work.tcp is not None else None
            number = flows[row] & NO_FLOW
            talk = self._talks.of(number)
            begin = functools.partial(
                _carried, at=at, end=end, protocol=protocol, name=f"IPv{version}", tcp=tcp, talk=talk
            )
            summary = worded(batch.frame(row), length, begin)
            if self._talks.learned(number, talk):
                begun[number] = row
            work.say_one(row, summary)
            if summary.source or summary.destination:
                tunnels.append(row)
            elif summary.ports != (pair := self._pairs[flows[row]])[2]:
                ends[row] = self._show_ends(pair[0], pair[1], summary.ports)
        for row in np.flatnonzero(left & ~plain.usual).tolist() + tunnels:
            link_type = int(link_types[batch.interface[row]])
            summary = summarise(batch.frame(row), link_type, length=int(batch.length[row]))
            work.say_one(row, summary)
            ends[row] = self._show_ends(summary.source, summary.destination, summary.ports)
        return begun


class _Work:
    """A batch while it is worded: what is known of each frame so far."""

    def __init__(self, batch: FrameBatch, headers: Headers, plain: Plain, tcp: TcpColumns | None) -> None:
        self.batch, self.headers, self.plain, self.tcp = batch, headers, plain, tcp
        self.protocol = np.empty(len(batch), np.object_)
        self.info = np.empty(len(batch), np.object_)
        self.payload = np.zeros(len(batch), np.int64)
        self.done = np.zeros(len(batch), np.bool_)

    def rows(self, protocol: int, header_bytes: int) -> I64:
        """Return the frames of one of IP's protocols whose header is there."""
        plain = self.plain
        fits = plain.have >= plain.transport + header_bytes
        return np.flatnonzero(plain.usual & (self.headers.protocol == protocol) & fits)

    def window(self, rows: I64, before: I64 | int, size: int) -> U8:
        """Return the bytes that come so many after the beginning of each transport header, shape (rows, size)."""
        start = self.batch.offset[rows] + self.plain.transport[rows] + before
        return clipped_items_at(self.batch.data, size, start).reshape(-1, size)

    def say_one(self, row: int, summary: Summary) -> None:
        """Note what was found of one frame."""
        self.protocol[row], self.info[row] = summary.protocol, summary.info
        self.payload[row] = summary.payload_bytes

    def say(self, rows: I64, protocol: str, payload: I64, info: list[str]) -> None:
        """Note what was found of some."""
        self.info[rows] = info
        self.protocol[rows] = protocol
        self.payload[rows] = payload
        self.done[rows] = True


def _carried(
    line: Line,
    *,
    at: int,
    end: int,
    protocol: int,
    name: str,
    tcp: tuple[int, int, int] | None,
    talk: Talk,
) -> None:
    line.protocol, line.tcp, line.talk = name, tcp, talk
    line.limit(end)
    line.payload = max(0, line.end - at)
    internet.carried(line, at, protocol)


def _word_pings(work: _Work) -> None:
    rows = work.rows(_ICMP, 8)
    head = work.window(rows, 0, 8)
    echo = (head[:, 0] == _ECHO) | (head[:, 0] == _ECHO_REPLY)
    rows, head = (
        rows[echo & (work.headers.version[rows] == 4)],
        head[echo & (work.headers.version[rows] == 4)],
    )
    numbers = head.view(">u2")
    columns = (head[:, 0], numbers[:, 2], numbers[:, 3], numbers[:, 3].byteswap())
    lists = (one.tolist() for one in columns)
    info = [
        f"{_ECHOES[kind]}{identity:04x}, seq={sequence}/{swapped}"
        for kind, identity, sequence, swapped in zip(*lists, strict=True)
    ]
    payload = np.maximum(work.plain.end[rows] - work.plain.transport[rows], 0)
    work.say(rows, "ICMP", payload, info)


def _word_datagrams(work: _Work, ports_of: Callable[[I64], list[str]]) -> None:
    rows = work.rows(_UDP, 8)
    head = work.window(rows, 0, 16)
    length = head.view(">u2")[:, 2].astype(np.int64)
    start = work.plain.transport[rows]
    stop = np.minimum(work.plain.have[rows], np.where(length > 0, start + length, work.plain.have[rows]))
    empty = stop <= start + 8
    source, destination = (
        port[rows].byteswap() for port in (work.headers.source_port, work.headers.destination_port)
    )
    known = _UDP_LOOKED_INTO.take(source) | _UDP_LOOKED_INTO.take(destination)
    known |= head.view(np.uint32)[:, 3] == _STUN_COOKIE
    # What wrapped.by_content names on any port: QUIC's long headers, DTLS, WireGuard.
    first, second = head[:, 8], head[:, 9]
    known |= (first >= 0x80) | ((first >= 20) & (first <= 23) & (second == 0xFE))
    known |= (first >= 1) & (first <= 4) & (second == 0)
    quick = (length == 0) | (length >= 8)
    quick &= empty | ~known
    names = np.flatnonzero((length >= 8) & ~empty & known)
    _word_names(work, rows[names], (source[names], destination[names]), start[names] + length[names])
    rows, said = rows[quick], length[quick]
    payload = np.maximum(np.where(said > 0, said, work.plain.end[rows] - start[quick]) - 8, 0)
    carried = np.maximum(said - 8, 0).tolist()
    info = [f"{ports} Len={size}" for ports, size in zip(ports_of(rows), carried, strict=True)]
    work.say(rows, "UDP", payload, info)


def _word_names(work: _Work, rows: I64, ports: tuple[U16, U16], end: I64) -> None:
    """Word messages of DNS and its relatives, which are many, straight from their begin; what is odd is left.

    `end` is where each datagram ends in its frame.
    """
    raw = work.batch.data.tobytes()
    begin = work.batch.offset[rows]
    low, high = np.minimum(*ports), np.maximum(*ports)
    at = work.plain.transport[rows] + 8
    end = np.minimum(end, work.plain.end[rows])
    stop = begin + np.minimum(work.plain.have[rows], end)
    lists = (one.tolist() for one in (rows, low, high, begin, stop, at, end))
    done, info = [], []
    for row, small, large, first, last, place, wire in zip(*lists, strict=True):
        worded = transport.PORTS.get(small) or transport.PORTS.get(large)
        if worded not in _NAMES:
            continue
        line = Line(raw[first:last], wire)
        try:
            worded(line, place)
        except (IndexError, struct.error):
            continue
        text = line.info.strip()
        if line.protocol and text.isprintable():
            work.protocol[row] = line.protocol
            done.append(row)
            info.append(text)
    found = np.array(done, np.int64)
    work.info[found] = info
    work.payload[found] = work.window(found, 4, 2).view(">u2")[:, 0].astype(np.int64) - 8
    work.done[found] = True


def _word_segments(work: _Work, ports_of: Callable[[I64], list[str]]) -> None:
    rows = work.rows(_TCP, 20)
    head = work.window(rows, 0, 24)
    size = (head[:, 12] >> 4).astype(np.int64) * 4
    flags = head[:, 13]
    start = work.plain.transport[rows] + size
    carried = np.maximum(work.plain.end[rows] - start, 0)
    quick = (size >= 20) & (flags & _SYN == 0)
    odd = np.flatnonzero(quick & (size > 20) & ((size != 32) | (head.view(np.uint32)[:, 5] != _STAMPS)))
    options = work.window(rows[odd], 20, LONGEST_HEADER - 20)
    quick[odd] = ~(options == _MULTIPATH).any(axis=1)
    speaks = np.flatnonzero(quick & (carried > 0) & (flags & _RST == 0) & (work.plain.have[rows] > start))
    quick[speaks] = ~_may_speak(work, rows[speaks], size[speaks])
    rows, head, carried, flags = rows[quick], head[quick], carried[quick], flags[quick]
    numbers, words = head.view(">u4"), head.view(">u2")
    told = numbers[:, 1], numbers[:, 2], words[:, 7]
    if work.tcp is not None:
        own = work.tcp.numbers.select(rows)
        told = own.sequence, own.acknowledged, own.window
    lists = (one.tolist() for one in (flags, *told, carried))
    acknowledges = _ACK
    info = [
        f"{ports}{_FLAGS[flag]}{sequence} Ack={acknowledged} Win={window} Len={length}"
        if flag & acknowledges
        else f"{ports}{_FLAGS[flag]}{sequence} Win={window} Len={length}"
        for ports, flag, sequence, acknowledged, window, length in zip(ports_of(rows), *lists, strict=True)
    ]
    work.say(rows, "TCP", carried, info)


def _may_speak(work: _Work, rows: I64, header_bytes: I64) -> Mask:
    """Say of segments whether their ports or first bytes may name a protocol: TLS, SSH, HTTP, or one known by port."""
    source, destination = (
        port[rows].byteswap() for port in (work.headers.source_port, work.headers.destination_port)
    )
    first = work.window(rows, header_bytes, 3)
    mask: Mask = _TCP_LOOKED_INTO.take(source) | _TCP_LOOKED_INTO.take(destination)
    mask |= (first[:, 0] >= 20) & (first[:, 0] <= 24) & (first[:, 1] == 3)
    mask |= _IN_METHOD.take(first[:, :2]).all(axis=1)
    mask |= _BEGINNINGS.take(first[:, 0].astype(np.uint16) << 8 | first[:, 1])
    return mask
