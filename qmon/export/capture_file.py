"""Frames and notes written as a pcap or pcapng file, readable at any moment by others.

Owns the order of blocks in a file: interfaces before their frames and before names and notes, statistics at the end.
Must never hold back what it was given for longer than the call, but for notes that are to be comments: they wait for
their packet.
"""

from __future__ import annotations

import platform
import struct
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from typing import Protocol

import numpy as np

from qmon import __version__
from qmon.errors import UsageError
from qmon.export.byte_sink import ByteSink, ReaderLeft, Untaken
from qmon.packets.batch import Bytes, FrameBatch, Interface, Note, Statistics
from qmon.packets.copying import I64
from qmon.packets.files.notes import NoteForm, comment
from qmon.packets.files.pcap import PcapWriter
from qmon.packets.files.pcapng_writer import PcapngWriter

PCAP, PCAPNG = "pcap", "pcapng"
_ENHANCED_PACKET = 6
# With many names or waiting notes there are several blocks or packets for them: no reader has to take a huge one.
_NAMES_A_BLOCK = 500
_MOST_WAITING = 200


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

    async def close(
        self,
        interfaces: Sequence[Interface],
        statistics: Sequence[Statistics],
        patience_s: float | None = None,
    ) -> None:
        """End in order; the statistics say what each interface received and lost.

        A reader that is slow is waited for until it has taken all or left, at most `patience_s`. `written` is
        afterwards what it has taken, however this ends.
        """


@dataclass(frozen=True, slots=True)
class FileOptions:
    """What a file says of itself. `names` are addresses and what they stand for, and may grow meanwhile."""

    comments: Sequence[str] = ()
    names: Mapping[str, str] | None = None
    snaplen: int = 262_144
    notes: NoteForm = NoteForm.JOURNAL


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
        self._untaken = Untaken(sink)
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

    def packets(
        self,
        batch: FrameBatch,
        interfaces: Sequence[Interface],
        notes: Sequence[tuple[int, Note]] = (),
    ) -> None:
        """Write frames; they are in the file when this returns, or on their way into the pipe.

        `notes` are (row, note) pairs in order: each is written before that frame (or behind the last one).
        """
        data = self._encoder.packets(batch, interfaces, notes)
        start = self.sink.size + self.sink.waiting_bytes
        self.written += len(batch)
        try:
            self.sink.write(data)
        except BaseException:
            self._note_untaken(start, data, len(batch))
            self._settle()
            raise
        self._note_untaken(start, data, len(batch))

    def _note_untaken(self, start: int, data: Bytes, packets: int) -> None:
        encoder = self._encoder
        self._untaken.add(
            start, start + len(data), packets, lambda taken: encoder.count(data[: encoder.whole(data, taken)])
        )

    def _settle(self) -> None:
        self.written -= self._untaken.settle()

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

    async def close(
        self,
        interfaces: Sequence[Interface],
        statistics: Sequence[Statistics],
        patience_s: float | None = None,
    ) -> None:
        """Write what belongs at the end, hand it to the reader, and close."""
        try:
            self.sink.write(self._encoder.end(interfaces, statistics))
            await self.sink.empty(patience_s)
        finally:
            self._settle()
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

    def packets(
        self,
        batch: FrameBatch,
        interfaces: Sequence[Interface],
        notes: Sequence[tuple[int, Note]],  # noqa: ARG002
    ) -> Bytes:
        if len(interfaces) > 1 and len(batch) and (batch.interface != batch.interface[0]).any():
            raise UsageError("a pcap file holds one netdev only", hint="Write pcapng: -F pcapng.")
        return self._writer.encode(batch)

    def note(self, note: Note, interfaces: Sequence[Interface]) -> bytes:  # noqa: ARG002
        return b""

    def end(self, interfaces: Sequence[Interface], statistics: Sequence[Statistics]) -> bytes:  # noqa: ARG002
        return b""

    def whole(self, data: Bytes, size: int) -> int:
        """Return where the last record ends that lies within the first `size` bytes."""
        at = 0
        while at + 16 <= size:
            after = at + 16 + int(struct.unpack_from("<I", data, at + 8)[0])
            if after > size:
                break
            at = after
        return at

    def count(self, data: Bytes) -> int:
        """Count the records."""
        count = at = 0
        while at < len(data):
            at += 16 + int(struct.unpack_from("<I", data, at + 8)[0])
            count += 1
        return count


class _PcapngEncoder:
    def __init__(self, options: FileOptions) -> None:
        self._options = options
        self._names: Mapping[str, str] = {} if options.names is None else options.names
        self._named = 0
        # The file's index of each interface, -1 where it is not described yet; and what was said of them.
        self._map = np.empty(0, np.int32)
        self._described: list[tuple[int, str]] = []
        self._waiting: list[Note] = []
        self._writer = PcapngWriter(
            application=f"qmon {__version__}", operating_system=f"{platform.system()} {platform.release()}"
        )

    def header(self) -> bytes:
        return self._writer.header(*self._options.comments)

    def packets(
        self, batch: FrameBatch, interfaces: Sequence[Interface], notes: Sequence[tuple[int, Note]]
    ) -> Bytes:
        described = self._describe(np.flatnonzero(np.bincount(batch.interface)), interfaces)
        if notes:
            described += self._describe_one(interfaces)
        shown = replace(batch, interface=self._map[batch.interface].astype(np.uint16))
        between: list[tuple[int, bytes]] = []
        if self._options.notes is NoteForm.JOURNAL:
            between = [(row, self._writer.journal(note)) for row, note in notes]
        elif self._options.notes is NoteForm.COMMENT:
            shown = self._commented(shown, notes)
        blocks = self._writer.encode(shown, between)
        return described + bytes(blocks) if described else blocks

    def _commented(self, batch: FrameBatch, notes: Sequence[tuple[int, Note]]) -> FrameBatch:
        """Return the frames with notes as their comments; those without a frame behind them wait."""
        placed = [(0, note) for note in self._waiting] + list(notes)
        self._waiting = [note for row, note in placed if row >= len(batch)]
        comments = [(row, comment(note)) for row, note in placed if row < len(batch)]
        return replace(batch, comments=(*batch.comments, *comments)) if comments else batch

    def note(self, note: Note, interfaces: Sequence[Interface]) -> bytes:
        if self._options.notes is NoteForm.NONE:
            return b""
        if self._options.notes is NoteForm.JOURNAL:
            return self._describe_one(interfaces) + self._writer.journal(note)
        self._waiting.append(note)
        return b"" if len(self._waiting) < _MOST_WAITING else self._tell_waiting(interfaces)

    def _tell_waiting(self, interfaces: Sequence[Interface]) -> bytes:
        """Return blocks that hold the notes that have waited for a packet in vain."""
        described = self._describe_one(interfaces)
        told, self._waiting = self._waiting, []
        if not self._described:
            return b"".join(self._writer.journal(note) for note in told)
        return described + self._writer.statistics(
            Statistics(0, told[-1].time_ns), *(comment(note) for note in told)
        )

    def _describe_one(self, interfaces: Sequence[Interface]) -> bytes:
        return b"" if self._described else self._describe(np.arange(min(1, len(interfaces))), interfaces)

    def end(self, interfaces: Sequence[Interface], statistics: Sequence[Statistics]) -> bytes:
        pieces = [self._describe(np.arange(len(interfaces)), interfaces)]
        if self._waiting:
            pieces.append(self._tell_waiting(interfaces))
        pieces.append(self._new_names())
        late = {
            index: interfaces[number].description
            for index, (number, said) in enumerate(self._described)
            if interfaces[number].description != said
        }
        for one in statistics:
            index = int(self._map[one.interface])
            more = [late.pop(index)] if index in late else []
            pieces.append(self._writer.statistics(replace(one, interface=index), *more))
        return b"".join(pieces)

    def _new_names(self) -> bytes:
        pieces = []
        while len(self._names) > self._named:
            some = dict(islice(self._names.items(), self._named, self._named + _NAMES_A_BLOCK))
            pieces.append(self._writer.names(some))
            self._named += len(some)
        return b"".join(pieces)

    def _describe(self, numbers: I64, interfaces: Sequence[Interface]) -> bytes:
        """Describe what is not described yet, as late as can be: by then it is known how sure the times are."""
        if len(self._map) < len(interfaces):
            more = np.full(max(len(interfaces) - len(self._map), len(self._map)), -1, np.int32)
            self._map = np.concatenate((self._map, more))
        pieces = []
        for number in numbers[self._map[numbers] < 0].tolist():
            self._map[number] = len(self._described)
            self._described.append((number, interfaces[number].description))
            pieces.append(self._writer.interface(interfaces[number]))
        if pieces:
            pieces.append(self._new_names())
        return b"".join(pieces)

    def whole(self, data: Bytes, size: int) -> int:
        """Return where the last block ends that lies within the first `size` bytes."""
        at = 0
        while at + 12 <= size:
            after = at + int(struct.unpack_from("<I", data, at + 4)[0])
            if after > size:
                break
            at = after
        return at

    def count(self, data: Bytes) -> int:
        """Count the blocks that are packets."""
        count = at = 0
        while at < len(data):
            kind, length = struct.unpack_from("<II", data, at)
            count += kind == _ENHANCED_PACKET
            at += length
        return count
