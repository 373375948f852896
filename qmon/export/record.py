"""The loop that moves frames from the captures of one or more VMs into an output, until something ends it.

Owns what is counted, filtered and when it is enough. Must never hold frames back for longer than the merging window,
and must never let the output's slowness reach a VM.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from qmon.capture.following import End, FollowedVm
from qmon.errors import QmonError
from qmon.export.byte_sink import FAREWELL_S, ReaderLeft
from qmon.export.capture_file import Output
from qmon.merge import Merger
from qmon.packets.batch import FrameBatch, Interface, Note, Statistics
from qmon.packets.filters.selector import Selector

if TYPE_CHECKING:
    from collections.abc import Callable

# While frames wait for the merging window, or an output for its reader.
SOON_S = 0.03
IDLE_S = 0.25


@dataclass(frozen=True, slots=True)
class Stop:
    """When it is enough: `packets` written, `seconds` passed, `kilobytes` (of 1000) written; None: never."""

    packets: int | None = None
    seconds: float | None = None
    kilobytes: int | None = None


@dataclass(frozen=True, slots=True)
class Totals:
    """What came of it. `captured` came from the VMs, `written` passed the filter and reached the output.

    `dropped` were lost, `gaps` are stretches in which an unknown number was. `ended` says why it ended; `error` is set
    where that was not in order.
    """

    captured: int
    written: int
    dropped: int
    gaps: int
    ended: str
    error: QmonError | None = None

    def line(self) -> str:
        """Return the closing line."""
        parts = f"{self.captured} packets captured, {self.written} written, {self.dropped} dropped"
        if self.gaps:
            parts += f", and an unknown number in {self.gaps} gap{'s' if self.gaps > 1 else ''}"
        return parts


@dataclass(frozen=True, slots=True)
class Source:
    """A VM in a recording; `prefix` stands before its interfaces' names. When all are over, so is the recording."""

    vm: FollowedVm
    prefix: str = ""


@dataclass(slots=True)
class _Recording:
    sources: Sequence[Source]
    output: Output
    filter: Selector | None
    stop: Stop
    with_notes: bool
    on_note: Callable[[Note], None] | None
    merger: Merger
    interfaces: list[Interface] = field(default_factory=list)
    maps: list[np.ndarray[tuple[int], np.dtype[np.uint16]]] = field(default_factory=list)
    numbers: dict[tuple[int, int], int] = field(default_factory=dict)
    captured: int = 0
    full: bool = False

    def move(self, *, last: bool = False) -> int:
        """Move what the captures have into the output; return how many frames came."""
        came = 0
        for number, source in enumerate(self.sources):
            polled = source.vm.poll()
            self._learn_interfaces(number, source)
            until = source.vm.complete_until
            for batch in polled.batches:
                came += len(batch)
                self.merger.add(number, self._renumbered(number, batch), (), complete_until=until)
            notes = [self._renumbered_note(number, note) for note in polled.notes]
            if self.on_note is not None:
                for note in notes:
                    self.on_note(note)
            self.merger.add(number, None, notes if self.with_notes else (), complete_until=until)
        self.captured += came
        for item in self.merger.take(None if last else time.time_ns()):
            if isinstance(item, Note):
                self.output.note(item, self.interfaces)
            elif not self.full:
                self._write(item)
        return came

    def _write(self, batch: FrameBatch) -> None:
        if self.filter is not None:
            batch = batch.select(self.filter.mask(batch, self.interfaces))
        if self.stop.packets is not None:
            batch = batch.select(slice(0, self.stop.packets - self.output.written))
        if len(batch):
            self.output.packets(batch, self.interfaces)
        if self.stop.packets is not None and self.output.written >= self.stop.packets:
            self.full = True

    def _learn_interfaces(self, number: int, source: Source) -> None:
        for index, interface in enumerate(source.vm.interfaces):
            named = Interface(
                name=source.prefix + interface.name,
                link_type=interface.link_type,
                snaplen=interface.snaplen,
                description=interface.description,
                mac=interface.mac,
                capture_filter="" if self.filter is None else self.filter.expression,
            )
            if (number, index) in self.numbers:
                self.interfaces[self.numbers[number, index]] = named
                continue
            self.numbers[number, index] = len(self.interfaces)
            self.interfaces.append(named)
            self.maps[number] = np.append(self.maps[number], np.uint16(len(self.interfaces) - 1))

    def _renumbered(self, number: int, batch: FrameBatch) -> FrameBatch:
        return replace(batch, interface=self.maps[number][batch.interface])

    def _renumbered_note(self, number: int, note: Note) -> Note:
        prefix = self.sources[number].prefix
        interface = None if note.interface is None else int(self.maps[number][note.interface])
        return Note(note.time_ns, prefix.replace("/", ": ") + note.text, note.kind, interface)

    def statistics(self) -> list[Statistics]:
        """What each interface received and lost."""
        now = time.time_ns()
        sums: dict[int, tuple[int, int]] = {}
        for number, source in enumerate(self.sources):
            for tap in source.vm.totals:
                index = self.numbers.get((number, tap.interface))
                if index is not None:
                    packets, dropped = sums.get(index, (0, 0))
                    sums[index] = packets + tap.packets, dropped + tap.dropped
        return [Statistics(index, now, packets, dropped) for index, (packets, dropped) in sums.items()]

    def totals(self, end: End) -> Totals:
        """Sum up."""
        taps = [tap for source in self.sources for tap in source.vm.totals]
        return Totals(
            captured=self.captured,
            written=self.output.written,
            dropped=sum(tap.dropped for tap in taps),
            gaps=sum(tap.gaps for tap in taps),
            ended=end.reason,
            error=end.error,
        )


async def record(
    sources: Sequence[Source],
    output: Output,
    *,
    filter: Selector | None = None,
    stop: Stop = Stop(),
    notes: bool = True,
    on_note: Callable[[Note], None] | None = None,
) -> Totals:
    """Record until it is enough, all VMs are over, nobody reads, or we are cancelled, which is an orderly end.

    The captures are finished and the output is closed in any case, once a slow reader of it has taken everything; one
    that was told to end waits a second for it. `notes` puts what happened into the output;
    `on_note` hears it anyway.
    """
    maps = [np.empty(0, np.uint16) for _ in sources]
    recording = _Recording(sources, output, filter, stop, notes, on_note, Merger(len(sources)), maps=maps)
    try:
        end = await _until_over(recording)
    except asyncio.CancelledError:
        _go_on()
        return recording.totals(await _finish(recording, End("interrupted"), FAREWELL_S))
    return recording.totals(await _finish(recording, end, None))


def _go_on() -> None:
    """Take a cancellation as an order to end, which is done in order."""
    task = asyncio.current_task()
    if task is not None:
        task.uncancel()


async def _until_over(recording: _Recording) -> End:
    try:
        return await _move_on(recording)
    except ReaderLeft:
        return End("the reader of the output has left")
    except QmonError as problem:
        return End("failed", problem)


async def _move_on(recording: _Recording) -> End:
    loop = asyncio.get_running_loop()
    started = loop.time()
    while True:
        # Asked for first: what came before the end is moved before it counts.
        over = _all_over(recording.sources)
        if not recording.output.congested:
            recording.move()
        recording.output.push()
        end = _enough(recording, loop.time() - started) or over
        if end is not None:
            return end
        await _wait(recording, loop.time() - started)


def _enough(recording: _Recording, elapsed_s: float) -> End | None:
    stop = recording.stop
    if recording.full:
        return End(f"{stop.packets} packets were written")
    if recording.output.full:
        return End("all files were written")
    if stop.seconds is not None and elapsed_s >= stop.seconds:
        return End(f"{stop.seconds:g} s have passed")
    if stop.kilobytes is not None and recording.output.size_bytes >= stop.kilobytes * 1000:
        return End(f"{stop.kilobytes} kB were written")
    return None


def _all_over(sources: Sequence[Source]) -> End | None:
    ends = [source.vm.end for source in sources]
    over = [end for end in ends if end is not None]
    if not ends or len(over) < len(ends):
        return None
    return next((end for end in over if end.error is not None), over[-1])


async def _wait(recording: _Recording, elapsed_s: float) -> None:
    timeout_s = IDLE_S
    if recording.stop.seconds is not None:
        timeout_s = max(0.0, min(timeout_s, recording.stop.seconds - elapsed_s))
    if len(recording.merger) or recording.output.congested:
        timeout_s = SOON_S
    if len(recording.sources) == 1:
        await recording.sources[0].vm.wait(timeout_s)
        return
    waits = [asyncio.create_task(source.vm.wait(timeout_s)) for source in recording.sources]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for one in waits:
            one.cancel()


async def _finish(recording: _Recording, end: End, patience_s: float | None) -> End:
    for source in recording.sources:
        await source.vm.finish()
    try:
        if end.error is None:
            recording.move(last=True)
    except ReaderLeft:
        pass
    except QmonError as problem:
        end = End("failed", problem)
    try:
        await recording.output.close(recording.interfaces, recording.statistics(), patience_s)
    except ReaderLeft:
        pass
    except asyncio.CancelledError:
        _go_on()  # Somebody has waited long enough for a slow reader.
    except QmonError as problem:
        end = End("failed", end.error or problem)
    return end
