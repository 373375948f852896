"""Where `qmon dump` puts what it captures, and when it is enough: its options turned into an output.

Owns the reading of -a, -b, -C, -G, -W and --flight-recorder. Must never open a file before the options make sense.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from qmon.cli import output
from qmon.cli.recording import say_overwriting
from qmon.errors import UsageError
from qmon.text import plain

if TYPE_CHECKING:
    from qmon.export.capture_file import FileOptions, Output
    from qmon.export.live import Live
    from qmon.export.record import Stop
    from qmon.export.ring import FlightRecorder, Names, Rules
    from qmon.packets.line_text import Style

_FILE_OPTIONS = ("files",)
_RING = ("filesize", "duration", "packets", "interval", "files")
_LIMITS = ("duration", "filesize", "packets", "files")


@dataclass(frozen=True, slots=True)
class Asked:
    """The options that say where frames go.

    `lines` is text or jsonl, `style` is that of text, `notes` is a form of `NoteForm`.
    """

    file: str | None
    form: str | None
    lines: str
    style: Style
    snaplen: int
    count: int | None
    notes: str
    limits: tuple[str, ...] = ()
    ring: tuple[str, ...] = ()
    megabytes: int | None = None
    every_s: int | None = None
    files: int | None = None
    recorder: str | None = None

    @property
    def in_series(self) -> bool:
        """Whether there are to be several files."""
        return bool(self.ring or self.megabytes or self.every_s)


def pair(text: str, option: str, names: Sequence[str]) -> tuple[str, float]:
    """Read `what:number`, as in duration:10."""
    what, colon, number = text.partition(":")
    try:
        value = float(number) if what in ("duration", "interval") else int(number)
    except ValueError:
        value = 0
    if not colon or what not in names or not 0 < value < 1e15:
        raise UsageError(f"{option} {text} is not understood", hint=f"It takes {':N, '.join(names)}:N.")
    return what, value


def stop_of(asked: Asked) -> Stop:
    """Return when the recording is to end."""
    from qmon.export.record import Stop

    packets, seconds, kilobytes = asked.count, None, None
    for limit in asked.limits:
        what, number = pair(limit, "-a", _LIMITS)
        if what == "duration":
            seconds = number
        elif what == "packets":
            packets = int(number)
        elif asked.file is None or (what == "files" and not asked.in_series):
            raise UsageError(f"-a {what} needs {'-w FILE' if what == 'filesize' else '-b or -C or -G'}")
        elif what == "filesize":
            kilobytes = int(number)
    return Stop(packets, seconds, kilobytes)


def check(asked: Asked, *, several: bool) -> None:
    """Refuse options that do not go together; `several` netdevs are to be captured."""
    from qmon.export.capture_file import PCAP, format_of

    if asked.file is None and (asked.in_series or asked.recorder or asked.form):
        raise UsageError("-F, -b, -C, -G and --flight-recorder need a file: -w FILE")
    if asked.file == "-" and (asked.in_series or asked.recorder):
        raise UsageError("standard output is one stream: -b, -C, -G and --flight-recorder need a file name")
    if asked.in_series and asked.recorder:
        raise UsageError("a flight recorder writes a file whenever it is asked; it has no ring")
    if asked.files is not None and not asked.megabytes and not asked.every_s:
        raise UsageError("-W goes with -C or -G", hint="With -b it is files:N.")
    if several and asked.file is not None and format_of(asked.file, asked.form) == PCAP:
        raise UsageError(
            "the pcap format has room for one netdev only",
            hint="Write pcapng: another suffix than .pcap, or -F pcapng.",
        )


def check_words(asked: Asked) -> None:
    """Refuse what is wrong whatever the VM is like, before it is touched."""
    from qmon.export.ring import parse_span

    check(asked, several=False)
    if asked.in_series:
        _rules(asked)
    if asked.recorder is not None:
        parse_span(asked.recorder)
    named_anew = asked.in_series or asked.recorder is not None
    if named_anew and asked.file is not None and Path(asked.file).is_dir():
        raise UsageError(f"{plain(asked.file)} is a folder: -w wants the name of a file")


async def open_output(asked: Asked, live: Live) -> Output:
    """Open what was asked for."""
    from qmon.export.capture_file import FileOptions, open_file

    if asked.file is None:
        from qmon.export.lines import LineOutput
        from qmon.packets.line_batches import text_form

        form = (
            text_form(asked.style)
            if asked.lines == "text"
            else output.packet_records(absolute=asked.style.absolute)
        )
        return LineOutput(output.lines_stdout(), sys.stdout.encoding, form)
    from qmon.packets.files.notes import NoteForm

    options = FileOptions((live.comment,), live.names, asked.snaplen, NoteForm(asked.notes))
    if asked.recorder is not None:
        return _recorder(asked, options)
    if asked.in_series:
        from qmon.export.ring import FileSeries

        return FileSeries(_names(asked), _rules(asked), asked.form, options, say_overwriting)
    stdout = output.binary_stdout() if asked.file == "-" else None
    say_overwriting(asked.file)
    return await open_file(asked.file, stdout=stdout, form=asked.form, options=options)


def _names(asked: Asked) -> Names:
    from qmon.export.ring import Names

    assert asked.file is not None
    digits = len(str(asked.files - 1)) if asked.files and asked.megabytes else 0
    return Names(asked.file, plain_numbers=asked.megabytes is not None, digits=digits)


def _rules(asked: Asked) -> Rules:
    from qmon.export.ring import Rules

    given = dict(pair(one, "-b", _RING) for one in asked.ring)
    stop_after = next(
        (n for what, n in (pair(one, "-a", _LIMITS) for one in asked.limits) if what == "files"), None
    )
    if asked.files is not None and not asked.megabytes:
        stop_after = asked.files
    size = asked.megabytes * 1_000_000 if asked.megabytes else _whole(given.get("filesize"), 1000)
    keep = asked.files if asked.megabytes else _whole(given.get("files"))
    if not (size or given.keys() - set(_FILE_OPTIONS) or asked.every_s):
        raise UsageError(
            "-b files:N needs a rule for when the next file begins", hint="For instance -b filesize:1000."
        )
    return Rules(
        size_bytes=size,
        duration_s=asked.every_s or given.get("duration"),
        packets=_whole(given.get("packets")),
        interval_s=given.get("interval"),
        keep=keep,
        stop_after=_whole(stop_after),
    )


def _whole(value: float | None, unit: int = 1) -> int | None:
    return None if value is None else int(value) * unit


def _recorder(asked: Asked, options: FileOptions) -> FlightRecorder:
    from qmon.export.ring import FlightRecorder, Names, parse_span

    assert asked.file is not None
    assert asked.recorder is not None
    seconds, size = parse_span(asked.recorder)
    recorder = FlightRecorder(
        Names(asked.file),
        asked.form,
        options,
        seconds=seconds,
        size_bytes=size,
        talk=output.talk,
        notes=asked.notes != "none",
    )
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, recorder.ask, "SIGUSR1")
    if sys.stdin.isatty() and _may_read(sys.stdin.fileno()):

        def pressed() -> None:
            try:
                typed = os.read(sys.stdin.fileno(), 4096)
            except OSError:  # The terminal was closed.
                typed = b""
            if not typed:
                loop.remove_reader(sys.stdin.fileno())
                return
            recorder.ask("Enter")

        loop.add_reader(sys.stdin.fileno(), pressed)
    return recorder


def _may_read(terminal: int) -> bool:
    """Say whether reading from a terminal would not stop us: in the background of our own terminal it would."""
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return True  # Another session's terminal.
