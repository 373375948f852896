"""Reading pcapng. Does no I/O."""

from __future__ import annotations

from qmon.packets.batch import Bytes
from qmon.packets.pcap import Item


class PcapngReader:
    """Takes the bytes of a capture, cut anywhere; hands out interfaces, batches, notes, statistics and damage."""

    def __init__(self, *, base: int = 0) -> None:
        self._base = base

    def feed(self, data: Bytes) -> list[Item]:
        """Take more bytes; return what they complete, in order. The batches own their bytes."""
        raise NotImplementedError

    def finish(self) -> list[Item]:
        """Say that no more bytes come; a half-written block becomes damage."""
        raise NotImplementedError
