"""A recording spread over several files, and one that keeps only the last of it until asked to write.

Owns file names, when the next file begins, which old file goes, and what a flight recorder holds in memory. Must never
delete a file it has not written itself.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from qmon.errors import QmonError, UsageError
from qmon.export.capture_file import CaptureFileOutput, FileOptions, open_now
from qmon.packets.batch import FrameBatch, Interface, Note, Statistics

NS = 1_000_000_000
# How long frames may be on their way here: an epoch's first ones are held, and sources wait for each other.
_ON_THE_WAY_NS = 600_000_000
# What the arrays of a batch take before they hold anything, about.
_BATCH_BYTES = 2048
# About what a packet takes in a file beside its bytes.
_RECORD_BYTES = 48
TRIGGERS = frozenset({"RESET", "GUEST_PANICKED", "GUEST_CRASHLOADED", "WATCHDOG"})


@dataclass(frozen=True, slots=True)
class Rules:
    """When the next file begins: after so many bytes, seconds or packets, or at whole multiples of `interval_s`.

    `keep` is how many files stay (None: all), `stop_after` how many are written before it is enough.
    """

    size_bytes: int | None = None
    duration_s: float | None = None
    packets: int | None = None
    interval_s: float | None = None
    keep: int | None = None
    stop_after: int | None = None


@dataclass(frozen=True, slots=True)
class Names:
    """File names from a pattern: `%` signs as of strftime, else number and time before the suffix, as dumpcap does.

    With `plain_numbers` a bare number is appended from the second file on, as tcpdump -C does, padded to `digits`.
    """

    pattern: str
    plain_numbers: bool = False
    digits: int = 0

    def name(self, number: int, time_ns: int) -> str:
        """Return the name of file `number` (from 1), begun at that time."""
        moment = time.localtime(time_ns / NS)
        path = time.strftime(self.pattern, moment) if "%" in self.pattern else self.pattern
        if self.plain_numbers:
            if self.digits:
                return f"{path}{number - 1:0{self.digits}d}"
            return path if number == 1 else f"{path}{number - 1}"
        if "%" in self.pattern:
            return path
        base = Path(path)
        stamp = time.strftime("%Y%m%d%H%M%S", moment)
        return str(base.with_name(f"{base.stem}_{number:05d}_{stamp}{base.suffix}"))


class FileSeries:
    """An `Output` of many files. `opening` is told each name that is not one of its own, before it is written."""

    def __init__(
        self,
        names: Names,
        rules: Rules,
        form: str | None,
        options: FileOptions,
        opening: Callable[[str], None] | None = None,
    ) -> None:
        self.written = 0
        self.congested = False
        self.full = False
        self._names = names
        self._rules = rules
        self._form = form
        self._options = options
        self._opening = opening
        self._past_bytes = 0
        self._number = 0
        self._begun_ns = 0
        self._file: CaptureFileOutput | None = None
        self._files: deque[str] = deque()
        self._next(time.time_ns())

    def __repr__(self) -> str:
        return f"<FileSeries {self._number} files, {self._file!r}>"

    @property
    def size_bytes(self) -> int:
        """What all files so far took."""
        return self._past_bytes + (self._file.size_bytes if self._file else 0)

    def packets(self, batch: FrameBatch, interfaces: Sequence[Interface]) -> None:
        """Write frames, into as many files as it takes."""
        while len(batch) and not self.full:
            count = self._fitting(batch)
            if count:
                assert self._file is not None
                self._file.packets(batch.select(slice(0, count)), interfaces)
                self.written += count
                batch = batch.select(slice(count, None))
            else:
                self._turn(int(batch.time_ns[0]), interfaces)

    def note(self, note: Note, interfaces: Sequence[Interface]) -> None:
        """Write a note into the file that is open."""
        if self._file is not None:
            self._file.note(note, interfaces)

    def push(self) -> None:
        """Do nothing: files take everything at once."""

    async def close(
        self,
        interfaces: Sequence[Interface],
        statistics: Sequence[Statistics],
        patience_s: float | None = None,
    ) -> None:
        """End the last file."""
        if self._file is not None:
            await self._file.close(interfaces, statistics, patience_s)

    def _fitting(self, batch: FrameBatch) -> int:
        """Count the frames that still belong into the open file."""
        assert self._file is not None
        rules, count = self._rules, len(batch)
        if rules.packets is not None:
            count = min(count, rules.packets - self._file.written)
        if rules.duration_s is not None:
            count = min(count, _before(batch, self._begun_ns + int(rules.duration_s * NS)))
        if rules.interval_s is not None:
            step = int(rules.interval_s * NS)
            count = min(count, _before(batch, (self._begun_ns // step + 1) * step))
        if rules.size_bytes is not None:
            # A file holds at least one packet, and the one that fills it.
            room = max(rules.size_bytes - self._file.size_bytes, 0)
            sizes = np.cumsum(batch.captured.astype(np.int64) + _RECORD_BYTES)
            fits = int(np.searchsorted(sizes, room, side="left")) + 1
            count = min(count, fits if room else 0 if self._file.written else 1)
        return max(count, 0)

    def _turn(self, time_ns: int, interfaces: Sequence[Interface]) -> None:
        assert self._file is not None
        self._past_bytes += self._file.size_bytes
        self._file.end(interfaces)
        self._file = None
        if self._rules.stop_after is not None and self._number >= self._rules.stop_after:
            self.full = True
            return
        self._next(time_ns)

    def _next(self, time_ns: int) -> None:
        self._number += 1
        self._begun_ns = time_ns
        name = self._names.name(self._number, time_ns)
        keep = self._rules.keep
        if keep is not None and self._names.plain_numbers:
            name = self._names.name((self._number - 1) % keep + 1, time_ns)
        if name in self._files:
            self._files.remove(name)
        elif self._opening is not None:
            self._opening(name)
        self._files.append(name)
        while keep is not None and len(self._files) > keep:
            Path(self._files.popleft()).unlink(missing_ok=True)
        self._file = open_now(name, form=self._form, options=self._options)


def _before(batch: FrameBatch, limit_ns: int) -> int:
    late = np.flatnonzero(batch.time_ns >= limit_ns)
    return int(late[0]) if len(late) else len(batch)


class FlightRecorder:
    """An `Output` that keeps the last `seconds` or `size_bytes` in memory and writes them out when triggered.

    Triggers are `ask`, and the VM's reset, panic and watchdog. Every time a new file is written; where it cannot be,
    that is told and the recorder goes on. `notes` keeps those, too.
    """

    def __init__(
        self,
        names: Names,
        form: str | None,
        options: FileOptions,
        *,
        seconds: float | None,
        size_bytes: int | None,
        talk: Callable[[str], None],
        notes: bool = True,
    ) -> None:
        self.written = 0
        self.size_bytes = 0
        self.congested = False
        self.full = False
        self._names = names
        self._form = form
        self._options = options
        self._seconds = seconds
        self._limit_bytes = size_bytes
        self._talk = talk
        self._notes = notes
        self._asked: deque[tuple[str, int]] = deque()
        self._kept: deque[FrameBatch | Note] = deque()
        self._bytes = 0
        self._number = 0
        self._interfaces: Sequence[Interface] = ()

    def __repr__(self) -> str:
        return f"<FlightRecorder {self._bytes} bytes kept, {self._number} files>"

    def packets(self, batch: FrameBatch, interfaces: Sequence[Interface]) -> None:
        """Keep frames; forget the oldest."""
        self._interfaces = interfaces
        kept = batch.compact()
        self._kept.append(kept)
        self._bytes += _weight(kept)
        self._forget(int(kept.time_ns[-1]))

    def note(self, note: Note, interfaces: Sequence[Interface]) -> None:
        """Keep a note; write out if it is one of the triggers."""
        self._interfaces = interfaces
        if self._notes:
            self._kept.append(note)
            self._bytes += _RECORD_BYTES + len(note.text)
        if note.kind == "event" and note.text.split(" ", 1)[0] in TRIGGERS:
            self._write_out(note.text.split(" ", 1)[0])

    def ask(self, why: str) -> None:
        """Have what is kept written out as soon as all that came until now has arrived here."""
        self._asked.append((why, time.time_ns() + _ON_THE_WAY_NS))

    def _write_out(self, why: str) -> None:
        try:
            self._write(why)
        except QmonError as problem:
            self._talk(f"{why}: {problem}")

    def _write(self, why: str) -> None:
        self._number += 1
        now = time.time_ns()
        self._forget(now)
        path = self._names.name(self._number, now)
        file = open_now(path, form=self._form, options=self._options)
        for item in self._kept:
            if isinstance(item, Note):
                file.note(item, self._interfaces)
            else:
                file.packets(item, self._interfaces)
        file.end(self._interfaces)
        self.written += file.written
        self.size_bytes += file.size_bytes
        self._talk(f"{why}: {file.written} packets written to {path}")

    def push(self) -> None:
        """Write out what was asked for, if it is time."""
        while self._asked and self._asked[0][1] <= time.time_ns():
            self._write_out(self._asked.popleft()[0])

    async def close(
        self,
        interfaces: Sequence[Interface],
        statistics: Sequence[Statistics],
        patience_s: float | None = None,
    ) -> None:
        """Write out what was asked for, and forget the rest."""
        del interfaces, statistics, patience_s
        for why, _ in self._asked:
            self._write_out(why)
        self._asked.clear()
        if not self._number:
            self._talk("nothing triggered the flight recorder: no file was written")
        self._kept.clear()

    def _forget(self, now_ns: int) -> None:
        while self._kept and self._too_much(self._kept[0], now_ns):
            gone = self._kept.popleft()
            self._bytes -= _RECORD_BYTES + len(gone.text) if isinstance(gone, Note) else _weight(gone)

    def _too_much(self, oldest: FrameBatch | Note, now_ns: int) -> bool:
        if self._limit_bytes is not None and self._bytes > self._limit_bytes:
            return True
        last = oldest.time_ns if isinstance(oldest, Note) else int(oldest.time_ns[-1])
        return self._seconds is not None and now_ns - last > self._seconds * NS


def _weight(batch: FrameBatch) -> int:
    return _BATCH_BYTES + int(batch.captured.sum(dtype=np.int64)) + _RECORD_BYTES * len(batch)


def parse_span(text: str) -> tuple[float | None, int | None]:
    """Read `30s`, `5m`, `64MB`, `500kB` as (seconds, bytes), one of them None; UsageError for anything else."""
    units = {"s": (1.0, 0), "m": (60.0, 0), "kB": (0, 1000), "MB": (0, 1000**2), "GB": (0, 1000**3)}
    for unit in sorted(units, key=len, reverse=True):
        if text.endswith(unit):
            seconds, size = units[unit]
            try:
                value = float(text[: -len(unit)])
            except ValueError:
                break
            if value > 0 and value < 1e12:
                return (value * seconds, None) if seconds else (None, int(value * size))
    raise UsageError(f"'{text}' is neither a time nor a size", hint="For instance 30s, 5m, 64MB.")
