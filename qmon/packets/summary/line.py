"""The line of one packet while it is being worded, and how addresses are written."""

from __future__ import annotations

import functools
import struct
from socket import AF_INET6, inet_ntop

from qmon.packets.summary.talk import Talk
from qmon.text import plain_bytes

BROADCAST = b"\xff" * 6


class Line:
    """What is known so far; every level overwrites what it knows better. `data` ends where the current level
    does, or where the captured bytes do; `end` is where the level ended on the wire.

    `ports` are the source's and the destination's; `payload` is how many bytes the innermost level known carries.
    `talk` is what is known of the conversation, None where a frame is read alone.

    `tcp` is how sequence number, acknowledgement and window of the next TCP header are to be read, where that is known.

    `depth` counts packets within packets, which a hostile frame may nest without end. Reading behind the data
    raises IndexError or struct.error: the frame was cut short or is malformed.
    """

    __slots__ = (
        "data",
        "depth",
        "destination",
        "end",
        "info",
        "length",
        "payload",
        "ports",
        "protocol",
        "source",
        "talk",
        "tcp",
    )

    def __init__(self, data: bytes, length: int) -> None:
        self.data = data
        self.length = self.end = self.payload = length
        self.depth = 0
        self.ports: tuple[int, int] | None = None
        self.talk: Talk | None = None
        self.tcp: tuple[int, int, int] | None = None
        self.source = self.destination = self.protocol = self.info = ""

    def set(self, protocol: str, info: str) -> None:
        """Name the protocol and the info of this level."""
        self.protocol, self.info = protocol, info

    def limit(self, end: int) -> None:
        """Say where the current level ends: what follows is padding, or a trailer."""
        if end < self.end:
            self.end = end
            if end < len(self.data):
                self.data = self.data[:end]

    def nest(self) -> bool:
        """Note one more packet within a packet; return False when it is enough."""
        self.depth += 1
        return self.depth <= 8

    def u16(self, at: int) -> int:
        """Return two bytes as a number."""
        return int(struct.unpack_from(">H", self.data, at)[0])

    def u32(self, at: int) -> int:
        """Return four bytes as a number."""
        return int(struct.unpack_from(">I", self.data, at)[0])

    def bytes(self, at: int, count: int) -> bytes:
        """Return exactly so many bytes."""
        found = self.data[at : at + count]
        if len(found) != count:
            raise IndexError(at)
        return found

    def text_line(self, at: int) -> str:
        """Return the text up to the end of its line, however long."""
        return plain_bytes(self.data[at : at + 200].partition(b"\n")[0].rstrip(b"\r"))


# Addresses repeat: a VM talks to few others.
@functools.lru_cache(8192)
def mac(address: bytes) -> str:
    """Write a hardware address."""
    if address == BROADCAST:
        return "Broadcast"
    return address.hex(":")


@functools.lru_cache(8192)
def ipv4(address: bytes) -> str:
    """Write four bytes."""
    return ".".join(map(str, address))


@functools.lru_cache(8192)
def ipv6(address: bytes) -> str:
    """Write sixteen bytes, the short way of RFC 5952."""
    return inet_ntop(AF_INET6, address)
