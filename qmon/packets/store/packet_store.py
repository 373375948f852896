"""The packets of a capture, indexed: 32 bytes a packet, and where each frame's bytes lie.

Rows are columns, in chunks of 65,536 packets, so that nothing is ever moved when more arrive and the oldest can go.
Counting conversations is done for whole chunks, or for what is new when somebody asks; everything else that is summed
up is done by observers, which see each batch once (`observer`).

Owns sequence numbers: `seq` counts from 0 and never changes; people are shown `seq + 1`, as by Wireshark. One thread
may append while others read: rows are complete before `next_seq` says so, and never change. Must never make an object
per packet, nor know what a packet means beyond its headers.
"""

from __future__ import annotations

import threading
from functools import cache
from typing import Protocol as Shape
from typing import TypeVar

import numpy as np

from qmon.errors import QmonError
from qmon.packets.batch import Direction, FrameBatch, Interface
from qmon.packets.copying import I64
from qmon.packets.store.conversations import (
    NO_FLOW,
    Conversation,
    Conversations,
    ConversationTable,
)
from qmon.packets.store.decode import decode
from qmon.packets.store.observer import Observer, standard
from qmon.packets.store.rows import CHUNK, COLUMNS, Arrived, Chunk, Row, Rows, chunk_parts, joined
from qmon.packets.store.spool import Spool

# PacketStore has a property named `bytes`, which hides the type within it.
FrameBytes = bytes

__all__ = ["FrameSource", "PacketStore", "Row", "Rows"]

DEFAULT_LIMIT_BYTES = 512 << 20
DEFAULT_LIMIT_PACKETS = 32 << 20
# A little less than the largest threshold glibc takes on by itself.
LARGEST_KEPT_BYTES = (32 << 20) - (64 << 10)
MAX_INTERFACES = 1 << 12
# Frames further apart than this are read back one by one.
_GAP_BYTES = 4096


AnObserver = TypeVar("AnObserver", bound=Observer)


class FrameSource(Shape):
    """Something that can give a frame's bytes again, such as a capture file."""

    def frame(self, position: int, captured: int) -> bytes:
        """Return the bytes at a position; DamagedFile if they are no longer there."""


class PacketStore:
    """Append-only, but for the oldest packets, which go when a limit is reached and are counted in `evicted`.

    With a `source` every batch must have positions, and frames are read back from it. Otherwise they are kept in
    memory outside of the heap, of which there may be `limit_bytes`.
    """

    def __init__(
        self,
        *,
        source: FrameSource | None = None,
        limit_bytes: int = DEFAULT_LIMIT_BYTES,
        limit_packets: int = DEFAULT_LIMIT_PACKETS,
    ) -> None:
        _keep_freed_memory()
        self._source = source
        self._spool = Spool()
        self._limit_bytes = limit_bytes
        self._limit_chunks = max(2, limit_packets // CHUNK)
        self._interfaces: list[Interface] = []
        self._link_types = np.zeros(0, np.uint16)
        # First seq of the first chunk, and the chunks: replaced together.
        self._held: tuple[int, list[Chunk]] = (0, [])
        self._next_seq = 0
        self._bytes = 0
        self._conversations = Conversations()
        self._observers = standard()
        self._counted = 0
        self._counting = threading.Lock()

    def __repr__(self) -> str:
        return f"<PacketStore {self.first_seq} to {self._next_seq}>"

    # Filling

    def add_interface(self, interface: Interface) -> int:
        """Return a new index for an interface's frames; QmonError if there are too many."""
        if len(self._interfaces) >= MAX_INTERFACES:
            raise QmonError(f"more than {MAX_INTERFACES} interfaces in one capture are not supported")
        self._interfaces.append(interface)
        self._link_types = np.append(self._link_types, np.uint16(interface.link_type))
        return len(self._interfaces) - 1

    def append(self, batch: FrameBatch) -> None:
        """Index the frames of a batch, whose interfaces must have been added; its bytes are not needed afterwards.

        QmonError if there is no memory for them.
        """
        n = len(batch)
        if not n:
            return
        headers = decode(batch, self._link_types)
        with self._counting:
            flow = self._conversations.assign(headers, batch.interface)
        arrived = Arrived(batch, headers, flow, self._keep(batch))
        filled = [(name, column.fill(arrived)) for name, column in COLUMNS.items()]
        taken = 0
        while taken < n:
            first, chunks = self._held
            room = self._next_seq + taken - first - (len(chunks) - 1) * CHUNK if chunks else CHUNK
            if room == CHUNK:
                chunks.append(Chunk())
                room = 0
            part = slice(taken, min(n, taken + CHUNK - room))
            where = slice(room, room + part.stop - part.start)
            columns = chunks[-1].columns
            for name, values in filled:
                columns[name][where] = values[part]
            taken = part.stop
        for observer in self._observers:
            observer.see(arrived)
        self._bytes += int(batch.length.sum(dtype=np.int64))
        self._next_seq += n
        if self._next_seq - self._counted >= CHUNK:
            self._count()
        self._evict()

    def close(self) -> None:
        """Give the frames' memory back; rows stay."""
        self._spool.close()

    # Counters

    def __len__(self) -> int:
        """Return how many packets can be read now: those from `first_seq` to `next_seq - 1`."""
        return self._next_seq - self._held[0]

    @property
    def first_seq(self) -> int:
        """The oldest packet still kept."""
        return self._held[0]

    @property
    def next_seq(self) -> int:
        """The number the next packet will have."""
        return self._next_seq

    @property
    def packets(self) -> int:
        """Packets ever appended."""
        return self._next_seq

    @property
    def bytes(self) -> int:
        """Bytes on the wire of the packets ever appended."""
        return self._bytes

    @property
    def evicted(self) -> int:
        """Packets that had to go because of a limit."""
        return self._held[0]

    @property
    def interfaces(self) -> tuple[Interface, ...]:
        """All interfaces so far, by index."""
        return tuple(self._interfaces)

    # Reading

    def row(self, seq: int) -> Row:
        """Return one packet's row; IndexError if it is not (or no longer) there."""
        rows = self._one(seq)
        flow = int(rows.flow[0])
        return Row(
            seq=seq,
            time_ns=int(rows.time_ns[0]),
            captured=int(rows.captured[0]),
            length=int(rows.length[0]),
            interface=int(rows.interface[0]),
            direction=Direction(int(rows.direction[0])),
            kind=int(rows.kind[0]),
            flow=None if flow == NO_FLOW else flow,
            reversed=bool(rows.reversed[0]),
            tcp_flags=int(rows.tcp_flags[0]),
            offload=int(rows.offload[0]),
        )

    def rows(self, start: int, stop: int) -> Rows:
        """Return the columns of the packets from `start` to `stop - 1`, cut to what is there."""
        # First how far rows are complete, then the chunks, which hold at least those.
        complete = self._next_seq
        first, chunks = self._held
        start, stop = max(start, first), min(stop, complete)
        stop = max(start, stop)
        parts = chunk_parts(start - first, stop - first)
        columns = {
            name: joined([chunks[i].columns[name][where] for i, where in parts], column.kind)
            for name, column in COLUMNS.items()
        }
        return Rows(start, **columns)

    def frame(self, seq: int) -> FrameBytes:
        """Return one packet's bytes; IndexError if it is not there, DamagedFile if its file was cut short."""
        rows = self._one(seq)
        return self._read(int(rows.position[0]), int(rows.captured[0]))

    def link_type(self, seq: int) -> int:
        """Return the link type of the interface one packet was seen on."""
        return self._interfaces[int(self._one(seq).interface[0])].link_type

    def batch(self, start: int, stop: int) -> FrameBatch:
        """Read frames back in few large reads, cut to what is there: for filtering and saving.

        What another thread's appending pushed out meanwhile is cut off as well. DamagedFile if the file was cut
        short.
        """
        while True:
            rows = self.rows(start, stop)
            try:
                return self._read_back(rows) if len(rows) else FrameBatch.empty()
            except IndexError:
                if rows.first >= self.first_seq:
                    raise

    def _read_back(self, rows: Rows) -> FrameBatch:
        size = rows.captured.astype(np.int64)
        gap = rows.position[1:] - (rows.position[:-1] + size[:-1])
        runs = np.flatnonzero((gap < 0) | (gap > _GAP_BYTES)) + 1
        pieces, offset, base = [], np.empty(len(rows), np.int64), 0
        for low, high in zip([0, *runs.tolist()], [*runs.tolist(), len(rows)], strict=True):
            begin = int(rows.position[low])
            end = int(rows.position[high - 1] + size[high - 1])
            pieces.append(self._read(begin, end - begin))
            offset[low:high] = rows.position[low:high] - begin + base
            base += end - begin
        return FrameBatch(
            data=np.frombuffer(pieces[0] if len(pieces) == 1 else b"".join(pieces), np.uint8),
            offset=offset,
            captured=rows.captured,
            length=rows.length,
            time_ns=rows.time_ns,
            interface=rows.interface,
            direction=rows.direction,
            position=rows.position,
            offload=rows.offload if rows.offload.any() else None,
        )

    # What is summed up

    def conversations(self) -> ConversationTable:
        """Return all conversations up to now, those of evicted packets included."""
        with self._counting:
            self._count_new()
            return self._conversations.table()

    def conversation(self, flow: int) -> Conversation:
        """Return one conversation by the flow id that rows have; IndexError if there is none."""
        with self._counting:
            self._count_new()
            return self._conversations.one(flow)

    def observer(self, kind: type[AnObserver]) -> AnObserver:
        """Return the observer of a kind, which has seen every packet ever appended; LookupError if there is none."""
        for observer in self._observers:
            if isinstance(observer, kind):
                return observer
        raise LookupError(f"no {kind.__name__} observes this store")

    def _count(self) -> None:
        with self._counting:
            self._count_new()

    def _count_new(self) -> None:
        while self._counted < self._next_seq:
            first, chunks = self._held
            which, start = divmod(self._counted - first, CHUNK)
            part = slice(start, min(CHUNK, self._next_seq - first - which * CHUNK))
            rows = Rows(self._counted, **{name: one[part] for name, one in chunks[which].columns.items()})
            self._conversations.count(rows.flow_and_way, rows.length, rows.time_ns)
            self._counted += len(rows)

    # Keeping

    def _keep(self, batch: FrameBatch) -> I64:
        if self._source is not None:
            if batch.position is None:
                raise QmonError("frames without positions cannot be read back from a file")
            return batch.position
        try:
            return self._spool.write(batch)
        except OSError as problem:
            raise QmonError(f"there is no memory for more packets: {problem.strerror}") from problem

    def _evict(self) -> None:
        first, chunks = self._held
        while len(chunks) > 1 and (
            len(chunks) > self._limit_chunks or self._spool.held_bytes > self._limit_bytes
        ):
            if self._counted < first + CHUNK:
                self._count()
            first, chunks = first + CHUNK, chunks[1:]
            self._held = (first, chunks)
            if self._source is None:
                self._spool.release(int(chunks[0].columns["position"][0]))

    def _one(self, seq: int) -> Rows:
        rows = self.rows(seq, seq + 1) if seq >= 0 else None
        if rows is None or not len(rows) or rows.first != seq:
            raise IndexError(f"packet {seq} is not in the store")
        return rows

    def _read(self, position: int, size: int) -> FrameBytes:
        if self._source is not None:
            return self._source.frame(position, size)
        data = self._spool.read(position, size)
        if len(data) != size:
            raise IndexError("the packet has just gone from the store")
        return data


@cache
def _keep_freed_memory() -> None:
    """Have the C library keep freed memory for the next batch instead of returning it page by page.

    glibc does so for all sizes up to the largest block it has ever seen freed (mallopt(3), M_MMAP_THRESHOLD): it is
    shown one, of which no page is ever touched. Otherwise a tenth of the time goes into page faults.
    """
    np.empty(LARGEST_KEPT_BYTES, np.uint8)
