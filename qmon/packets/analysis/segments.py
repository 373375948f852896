"""Where TCP segments and other transport headers are in a batch, read as columns.

Only frames with a plain IP header are looked at: IPv4 without options, IPv6 without extension headers, no fragments;
whatever the link layer is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qmon.packets.analysis.sequence import Numbers, Segments, Streams
from qmon.packets.batch import FrameBatch, Interface
from qmon.packets.copying import I64, U16, U32, Mask, clipped_items_at
from qmon.packets.store.conversations import Conversations
from qmon.packets.store.decode import Headers, decode

TCP, UDP = 6, 17
HEADER_BYTES, LONGEST_HEADER = 20, 60
_ONLY_IPV4, _ONLY_IPV6 = 228, 229


@dataclass(frozen=True, slots=True)
class Plain:
    """n rows: whether a frame has a plain IP header and all of what it carries begins there; if so, where in the frame
    its transport header begins, and where what it carries ends: on the wire, and as far as it was captured.
    """

    usual: Mask
    transport: I64
    end: I64
    have: I64


def plain(batch: FrameBatch, headers: Headers, link_types: U16) -> Plain:
    """Look at the IP headers of a batch."""
    captured, length = batch.captured.astype(np.int64), batch.length.astype(np.int64)
    # The decoder may have put some bytes in front.
    network = headers.network - batch.offset - (len(headers.data) - len(batch.data))
    head = clipped_items_at(headers.data, 8, headers.network).reshape(-1, 8)
    words = head.view(">u2")
    four = (headers.version == 4) & (head[:, 0] == 0x45) & (words[:, 3] & 0x3FFF == 0)
    six = (headers.version == 6) & (head[:, 6] == headers.protocol) & np.isin(headers.protocol, (TCP, UDP))
    size = np.where(six, 40, 20)
    said = np.where(six, words[:, 2], words[:, 1]).astype(np.int64)
    # A length of 0 was left to hardware by the sender; IPv4's counts its own header.
    end = np.where(six, np.where(said > 0, network + 40 + said, length), length)
    end = np.where(four & (said >= 20), network + said, end)
    end = np.minimum(end, length)
    # What a link type says is IPv4 need not be.
    trusted = ~np.isin(link_types, (_ONLY_IPV4, _ONLY_IPV6)).take(batch.interface)
    return Plain((four | six) & trusted, network + size, end, np.minimum(captured, end))


def segments_of(batch: FrameBatch, headers: Headers, where: Plain, flow: U32) -> tuple[I64, Segments]:
    """Return which frames are TCP segments whose header is there, and the segments; `flow` is each frame's."""
    rows = np.flatnonzero(
        where.usual & (headers.protocol == TCP) & (where.have >= where.transport + HEADER_BYTES)
    )
    start = batch.offset[rows] + where.transport[rows]
    head = clipped_items_at(batch.data, HEADER_BYTES, start).reshape(-1, HEADER_BYTES)
    numbers = head.view(">u4")
    size = (head[:, 12] >> 4).astype(np.int64) * 4
    there = where.have[rows] - where.transport[rows]
    asks = np.flatnonzero(head[:, 13] & 2)
    options = clipped_items_at(batch.data, LONGEST_HEADER - HEADER_BYTES, start[asks] + HEADER_BYTES)
    segments = Segments(
        flow=flow[rows],
        sequence=numbers[:, 1].astype(np.uint32),
        acknowledged=numbers[:, 2].astype(np.uint32),
        flags=head[:, 13],
        window=head.view(">u2")[:, 7].astype(np.int64),
        asks=asks,
        options=options.reshape(-1, LONGEST_HEADER - HEADER_BYTES),
        option_bytes=(np.minimum(size, there) - HEADER_BYTES)[asks],
    )
    return rows, segments


@dataclass(frozen=True, slots=True)
class TcpColumns:
    """What is known of the TCP of n frames: `known` says of which, `numbers` has 0 for the others."""

    known: Mask
    numbers: Numbers

    def row(self, row: int) -> tuple[int, int, int] | None:
        """Return (sequence, acknowledged, window) of one frame, None where they are not known."""
        if not self.known[row]:
            return None
        numbers = self.numbers
        return int(numbers.sequence[row]), int(numbers.acknowledged[row]), int(numbers.window[row])

    def fields(self, row: int) -> dict[str, int] | None:
        """Return what is known of one frame by Wireshark's names of fields, None if it is nothing."""
        if not self.known[row]:
            return None
        numbers = self.numbers
        sequence = int(numbers.sequence[row])
        return {
            "tcp.stream": int(numbers.stream[row]),
            "tcp.seq": sequence,
            "tcp.ack": int(numbers.acknowledged[row]),
            "tcp.window_size": int(numbers.window[row]),
            "tcp.window_size_scalefactor": _factor(int(numbers.scale[row])),
            "tcp.base_ack": int(numbers.base[row]),
        }

    def column(self, name: str) -> tuple[I64, Mask] | None:
        """Return a field's values and where there are any, None if it is not of TCP's."""
        numbers = {
            "tcp.stream": self.numbers.stream,
            "tcp.seq": self.numbers.sequence,
            "tcp.ack": self.numbers.acknowledged,
            "tcp.window_size": self.numbers.window,
        }.get(name)
        return None if numbers is None else (numbers, self.known)

    def select(self, which: Mask | I64 | slice) -> TcpColumns:
        """Return some of them."""
        return TcpColumns(self.known[which], self.numbers.select(which))


def _factor(scale: int) -> int:
    return 1 << scale if scale >= 0 else scale


class TcpTracker:
    """Follows the TCP of one source; must be given all its batches, in order."""

    def __init__(self) -> None:
        self._conversations = Conversations()
        self._streams = Streams()

    def __repr__(self) -> str:
        return f"<TcpTracker {self._streams!r}>"

    def of(self, batch: FrameBatch, interfaces: Sequence[Interface]) -> TcpColumns:
        """Take in a batch; return its columns."""
        link_types = np.array([one.link_type for one in interfaces], np.uint16)
        headers = decode(batch, link_types)
        flow = self._conversations.assign(headers, batch.interface)
        return self.read(batch, headers, plain(batch, headers, link_types), flow)

    def read(self, batch: FrameBatch, headers: Headers, where: Plain, flow: U32) -> TcpColumns:
        """The same for a batch that is decoded already, with flows of the caller's own conversations."""
        rows, segments = segments_of(batch, headers, where, flow)
        known = np.zeros(len(batch), np.bool_)
        known[rows] = True
        return TcpColumns(known, self._streams.see(segments).spread(rows, len(batch)))
