"""The classic capture format, in both directions; bytes in, batches out, and back. Does no I/O."""

from __future__ import annotations

from qmon.packets.batch import Bytes, Damage, FrameBatch, Interface, Note, Statistics

Item = FrameBatch | Interface | Note | Damage | Statistics


class PcapReader:
    """Takes the bytes of one capture, cut anywhere; hands out what is complete.

    `base` is where the first byte fed lies in the file, for positions. After the 24 bytes of the header, `interface`
    is known.
    """

    def __init__(self, *, base: int = 0) -> None:
        self.interface: Interface | None = None
        self._base = base

    def feed(self, data: Bytes) -> list[Item]:
        """Take more bytes; return what they complete, in order. The batches own their bytes."""
        raise NotImplementedError

    def finish(self) -> list[Item]:
        """Say that no more bytes come; a half-written record becomes damage."""
        raise NotImplementedError


class PcapWriter:
    """Encodes frames of one interface; `nanoseconds` chooses the finer of the two stamps."""

    def __init__(self, interface: Interface, *, nanoseconds: bool = False) -> None:
        self._interface = interface
        self._nanoseconds = nanoseconds

    def header(self) -> bytes:
        """Return the 24 bytes a file starts with."""
        raise NotImplementedError

    def encode(self, batch: FrameBatch) -> bytes:
        """Return the records of a batch."""
        raise NotImplementedError
