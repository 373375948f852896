"""Frames and notes written as a pcap or pcapng file, readable at any moment by others.

Owns the order of blocks in a file: interfaces before their frames, statistics at the end. Must never hold back
what it was given for longer than the call.
"""

from __future__ import annotations

import platform
import struct
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from qmon import __version__
from qmon.errors import UsageError
from qmon.export.byte_sink import ByteSink, ReaderLeft
from qmon.packets.batch import FrameBatch, Interface, Note, Statistics
from qmon.packets.files.pcap import PcapWriter
from qmon.packets.files.pcapng_writer import PcapngWriter

PCAP, PCAPNG = "pcap", "pcapng"
_ENHANCED_PACKET = 6
_FAREWELL_S = 1.0


class Output(Protocol):
    """What a recording goes to. A batch's `interface` is an index into `interfaces`, which only grow."""

    @property
    def written(self) -> int:
        """How many packets were taken."""

    @property
    def size_bytes(self) -> int:
        """How many bytes were written; 0 where that means nothing."""

    @property
    def congested(self) -> bool:
        """Whether more should be given only later."""

    @property
    def full(self) -> bool:
        """Whether it has taken all it was meant to."""

    def packets(self, batch: FrameBatch, interfaces: Sequence[Interface]) -> None:
        """Take frames."""

    def note(self, note: Note, interfaces: Sequence[Interface]) -> None:
        """Take a note."""

    def push(self) -> None:
        """Hand on what a slow reader has not taken yet."""

    async def close(self, interfaces: Sequence[Interface], statistics: Sequence[Statistics]) -> None:
        """End in order; the statistics say what each interface received and lost."""


@dataclass(frozen=True, slots=True)
class FileOptions:
    """What a file says of itself. `names` are addresses and what they stand for."""

    comment: str = ""
    names: Mapping[str, str] | None = None
    snaplen: int = 262_144


def format_of(path: str, wanted: str | None) -> str:
    """Return `pcap` or `pcapng`: what is asked for, else by the suffix."""
    if wanted is not None:
        return wanted
    return PCAP if path.endswith(".pcap") else PCAPNG


class CaptureFileOutput:
    """One capture file; made by `open_file`."""

    def __init__(self, sink: ByteSink, encoder: _PcapEncoder | _PcapngEncoder) -> None:
        self.written = 0
        self.full = False
        self.sink = sink
        self._encoder = encoder
        # A reader that has left already is noticed like one that leaves later.
        with suppress(ReaderLeft):
            sink.write(encoder.header())

    def __repr__(self) -> str:
        return f"<CaptureFileOutput {self.sink!r} {self.written} packets>"

    @property
    def congested(self) -> bool:
        """Whether the reader of a pipe is far behind."""
        return self.sink.waiting_bytes > 8 << 20

    @property
    def size_bytes(self) -> int:
        """How long the file is."""
        return self.sink.size

    def packets(self, batch: FrameBatch, interfaces: Sequence[Interface]) -> None:
        """Write frames; they are in the file when this returns, or on their way into the pipe."""
        if not len(batch):
            return
        before = self.sink.size
        data = self._encoder.packets(batch, interfaces)
        try:
            self.sink.write(data)
        except UsageError:
            raise
        except Exception:
            self.written += self._encoder.count(data[: self.sink.size - before])
            raise
        self.written += len(batch)

    def note(self, note: Note, interfaces: Sequence[Interface]) -> None:
        """Write a note, in a format that has room for it."""
        data = self._encoder.note(note, interfaces)
        if data:
            self.sink.write(data)

    def push(self) -> None:
        """Hand on what a slow reader has not taken yet."""
        self.sink.push()

    def end(self, interfaces: Sequence[Interface]) -> None:
        """End an ordinary file at once, without statistics: the recording goes on in another."""
        try:
            self.sink.write(self._encoder.end(interfaces, ()))
        finally:
            self.sink.close()

    async def close(self, interfaces: Sequence[Interface], statistics: Sequence[Statistics]) -> None:
        """Write what belongs at the end and close; a reader that takes nothing is given a second."""
        try:
            self.sink.write(self._encoder.end(interfaces, statistics))
            await self.sink.empty(_FAREWELL_S)
        finally:
            self.sink.close()


def open_now(path: str, *, form: str | None, options: FileOptions) -> CaptureFileOutput:
    """Open an ordinary capture file, without the waiting that a FIFO needs."""
    encoder = _PcapEncoder(options) if format_of(path, form) == PCAP else _PcapngEncoder(options)
    return CaptureFileOutput(ByteSink.open_regular(path, encoder.whole), encoder)


async def open_file(
    path: str, *, stdout: int | None = None, form: str | None = None, options: FileOptions | None = None
) -> CaptureFileOutput:
    """Open a capture file to be written; "-" is the descriptor `stdout`."""
    options = options or FileOptions()
    chosen = format_of(path, form)
    encoder = _PcapEncoder(options) if chosen == PCAP else _PcapngEncoder(options)
    if path == "-":
        if stdout is None:
            raise UsageError("there is no standard output to write to")
        sink = ByteSink.on_descriptor(stdout, "standard output", encoder.whole)
    else:
        sink = await ByteSink.open_path(path, encoder.whole)
    return CaptureFileOutput(sink, encoder)


class _PcapEncoder:
    def __init__(self, options: FileOptions) -> None:
        self._writer = PcapWriter(Interface(snaplen=options.snaplen))

    def header(self) -> bytes:
        return self._writer.header()

    def packets(self, batch: FrameBatch, interfaces: Sequence[Interface]) -> bytes:
        if len(interfaces) > 1 and (batch.interface != batch.interface[0]).any():
            raise UsageError("a pcap file holds one netdev only", hint="Write pcapng: -F pcapng.")
        return self._writer.encode(batch)

    def note(self, note: Note, interfaces: Sequence[Interface]) -> bytes:  # noqa: ARG002
        return b""

    def end(self, interfaces: Sequence[Interface], statistics: Sequence[Statistics]) -> bytes:  # noqa: ARG002
        return b""

    def whole(self, data: bytes, size: int) -> int:
        """Return where the last record ends that lies within the first `size` bytes."""
        at = 0
        while at + 16 <= size:
            after = at + 16 + int(struct.unpack_from("<I", data, at + 8)[0])
            if after > size:
                break
            at = after
        return at

    def count(self, data: bytes) -> int:
        """Count the records."""
        count = at = 0
        while at < len(data):
            at += 16 + int(struct.unpack_from("<I", data, at + 8)[0])
            count += 1
        return count


class _PcapngEncoder:
    def __init__(self, options: FileOptions) -> None:
        self._options = options
        self._index: dict[int, int] = {}
        self._map = np.empty(0, np.uint16)
        self._writer = PcapngWriter(
            application=f"qmon {__version__}", operating_system=f"{platform.system()} {platform.release()}"
        )

    def header(self) -> bytes:
        data = self._writer.header(self._options.comment)
        return data + (self._writer.names(self._options.names) if self._options.names else b"")

    def packets(self, batch: FrameBatch, interfaces: Sequence[Interface]) -> bytes:
        described = b"".join(
            self._describe(number, interfaces)
            for number in np.flatnonzero(np.bincount(batch.interface)).tolist()
        )
        shown = replace(batch, interface=self._map[batch.interface])
        return described + self._writer.encode(shown)

    def note(self, note: Note, interfaces: Sequence[Interface]) -> bytes:  # noqa: ARG002
        return self._writer.note(note)

    def end(self, interfaces: Sequence[Interface], statistics: Sequence[Statistics]) -> bytes:
        data = b"".join(self._describe(number, interfaces) for number in range(len(interfaces)))
        for one in statistics:
            moved = Statistics(self._index[one.interface], one.time_ns, one.received, one.dropped)
            data += self._writer.statistics(moved)
        return data

    def _describe(self, number: int, interfaces: Sequence[Interface]) -> bytes:
        # As late as can be: by then it is known how sure the times are.
        if number in self._index:
            return b""
        self._index[number] = len(self._index)
        self._map = np.zeros(max(self._index) + 1, np.uint16)
        for ours, theirs in self._index.items():
            self._map[ours] = theirs
        return self._writer.interface(interfaces[number])

    def whole(self, data: bytes, size: int) -> int:
        """Return where the last block ends that lies within the first `size` bytes."""
        at = 0
        while at + 12 <= size:
            after = at + int(struct.unpack_from("<I", data, at + 4)[0])
            if after > size:
                break
            at = after
        return at

    def count(self, data: bytes) -> int:
        """Count the blocks that are packets."""
        count = at = 0
        while at < len(data):
            kind, length = struct.unpack_from("<II", data, at)
            count += kind == _ENHANCED_PACKET
            at += length
        return count
