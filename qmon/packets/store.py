"""The packets of a capture, indexed: rows of 32 bytes, and where each frame's bytes lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol as Shape

from qmon.packets.batch import I64, U8, U16, U32, Direction, FrameBatch, Interface, Mask
from qmon.packets.conversations import Conversation, ConversationTable

NO_FLOW = 0x7FFF_FFFF


class FrameSource(Shape):
    """Something that can give a frame's bytes again, such as a capture file."""

    def frame(self, position: int, captured: int) -> bytes:
        """Return the bytes at a position of the file."""


@dataclass(frozen=True, slots=True)
class Row:
    """What the store knows of one packet. `seq` counts from 0; people are shown `seq + 1`, as by Wireshark."""

    seq: int
    time_ns: int
    captured: int
    length: int
    interface: int
    direction: Direction
    protocol: int
    flow: int | None
    reversed: bool
    tcp_flags: int
    offload: int


@dataclass(frozen=True, slots=True)
class Rows:
    """Columns of the packets `first` … `first + n - 1`. `flow` is NO_FLOW where there is none; `reversed` is true where
    the packet goes against the conversation's first one (B to A)."""

    first: int
    time_ns: I64
    captured: U32
    length: U32
    interface: U16
    direction: U8
    protocol: U8
    flow: U32
    reversed: Mask
    tcp_flags: U8
    offload: U8

    def __len__(self) -> int:
        return len(self.time_ns)


@dataclass(frozen=True, slots=True)
class Traffic:
    """Traffic of one interface, a row a second in which there was any; ascending. Bytes as on the wire."""

    second: I64
    in_packets: I64
    in_bytes: I64
    out_packets: I64
    out_bytes: I64
    unknown_packets: I64
    unknown_bytes: I64


class PacketStore:
    """Append-only, but for the oldest packets, which go when a limit is reached (and are counted).

    One thread may append while others read. A packet's `seq` never changes. Frames with a `position` are read back
    from `source`; others are kept in a spool.
    """

    def __init__(
        self,
        *,
        source: FrameSource | None = None,
        limit_bytes: int = 1 << 30,
        limit_packets: int = 20_000_000,
    ) -> None:
        self._source = source

    # Filling

    def add_interface(self, interface: Interface) -> int:
        """Return the index for an interface's frames; an equal one has the same index."""
        raise NotImplementedError

    def append(self, batch: FrameBatch) -> None:
        """Index the frames of a batch; its bytes are not needed afterwards."""
        raise NotImplementedError

    def close(self) -> None:
        """Give the spool's room back."""

    # Counters

    def __len__(self) -> int:
        """Return how many packets can be read now: those from `first_seq` to `next_seq - 1`."""
        return self.next_seq - self.first_seq

    @property
    def first_seq(self) -> int:
        """The oldest packet still kept."""
        raise NotImplementedError

    @property
    def next_seq(self) -> int:
        """The number the next packet will have."""
        raise NotImplementedError

    @property
    def packets(self) -> int:
        """Packets ever appended."""
        raise NotImplementedError

    @property
    def bytes(self) -> int:
        """Bytes on the wire of the packets ever appended."""
        raise NotImplementedError

    @property
    def evicted(self) -> int:
        """Packets that had to go because of a limit."""
        raise NotImplementedError

    @property
    def interfaces(self) -> tuple[Interface, ...]:
        """All interfaces so far, by index."""
        raise NotImplementedError

    # Reading

    def row(self, seq: int) -> Row:
        """Return one packet's row; IndexError if it is not (or no longer) there."""
        raise NotImplementedError

    def rows(self, start: int, stop: int) -> Rows:
        """Return the columns of the packets from `start` to `stop - 1`, cut to what is there."""
        raise NotImplementedError

    def frame(self, seq: int) -> bytes:
        """Return one packet's bytes; IndexError if it is not there, DamagedFile if its file was cut short."""
        raise NotImplementedError

    def link_type(self, seq: int) -> int:
        """Return the link type of the interface one packet was seen on."""
        raise NotImplementedError

    def batch(self, start: int, stop: int) -> FrameBatch:
        """Read frames back, in few large reads, cut to what is there: for filtering and saving."""
        raise NotImplementedError

    # What is summed up

    def conversations(self) -> ConversationTable:
        """Return all conversations up to now."""
        raise NotImplementedError

    def conversation(self, flow: int) -> Conversation:
        """Return one conversation; the flow id is that of the rows."""
        raise NotImplementedError

    def traffic(self, interface: int) -> Traffic:
        """Return what passed on one interface per second (evicted packets included)."""
        raise NotImplementedError
