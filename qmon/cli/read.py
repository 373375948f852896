"""`qmon read`: a capture file as lines, or written anew through a filter.

Owns the spelling of the options. Must never hold what a file or a filter is.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from qmon.cli import output as out
from qmon.cli.completing import complete_file
from qmon.cli.display_option import FieldsCommand, display_option, fields_options
from qmon.cli.line_options import line_options
from qmon.cli.recording import say_note, say_overwriting
from qmon.errors import ExitCode, UsageError
from qmon.text import plain

if TYPE_CHECKING:
    from qmon.packets.analysis.segments import TcpColumns
    from qmon.packets.batch import FrameBatch
    from qmon.packets.files.source import CaptureFile
    from qmon.packets.filters.selector import Selector
    from qmon.packets.line_batches import Form
    from qmon.packets.line_text import Style


def _seconds(text: str) -> int | None:
    """Return a number of seconds as ns, exactly; None if it is none."""
    match = re.fullmatch(r"([+-]?)(\d{1,10})(?:\.(\d{1,9}))?", text)
    if match is None:
        return None
    amount = int(match[2]) * 10**9 + int((match[3] or "0").ljust(9, "0"))
    if amount >= 1 << 63:
        return None  # Beyond the years that packets can have.
    return -amount if match[1] == "-" else amount


def _read_shift(_: click.Context, __: click.Parameter, value: str | None) -> int:
    shift = 0 if value is None else _seconds(value)
    if shift is None:
        raise click.BadParameter(f"{value!r} is not a number of seconds, such as -259200 or 3.5")
    return shift


def _read_moment(_: click.Context, __: click.Parameter, value: str | None) -> int | None:
    """Read ISO 8601 (local unless it names a zone), or seconds since 1970."""
    if value is None or (seconds := _seconds(value)) is not None:
        return None if value is None else seconds
    try:
        moment = datetime.fromisoformat(value).astimezone()
        return int(moment.timestamp()) * 10**9 + moment.microsecond * 1000
    except (ValueError, OverflowError, OSError) as problem:
        raise click.BadParameter(
            f"{value!r} is not a time, such as 2024-05-01T12:00:00 or 1714557600.5"
        ) from problem


def file_options(command: click.decorators.FC) -> click.decorators.FC:
    """Give a command that reads a capture the options that mend somebody else's file."""
    options = (
        click.option("--time-shift", callback=_read_shift, metavar="S", help="Add S seconds to every time."),
        click.option(
            "--started-at",
            callback=_read_moment,
            metavar="TIME",
            help="Shift all times so that the first packet is at TIME.",
        ),
        click.option(
            "--virtio-header",
            type=click.Choice(["auto", "0", "10", "12"]),
            default="auto",
            show_default=True,
            help="Bytes of virtio-net header that an old QEMU left before each frame.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def open_capture(
    path: str, *, time_shift: int, started_at: int | None, virtio_header: str, reuse_buffer: bool = False
) -> CaptureFile:
    """Open a capture file as the options say."""
    from qmon.packets.files.source import CaptureFile

    if time_shift and started_at is not None:
        raise UsageError("--time-shift and --started-at say the same thing twice", hint="give one of them")
    return CaptureFile(
        path,
        time_shift_ns=time_shift,
        started_at_ns=started_at,
        virtio_header=None if virtio_header == "auto" else int(virtio_header),
        reuse_buffer=reuse_buffer,
    )


@click.command(
    cls=FieldsCommand,
    epilog="Flags are tcpdump's where it has them: -r -i -n -e -v -q -t -x -X -A -c -w -l. From a damaged file comes "
    "what could be read, then a message, and exit status 1.\n\n\b\nExamples:\n"
    "  qmon read trace.pcapng port 53\n"
    "  qmon read -c 10 -o jsonl trace.pcap\n"
    "  qmon read trace.pcapng -w dns.pcapng port 53\n"
    "  qmon read --started-at 2024-05-01T12:00:00 dump.dat",
)
@click.option("-r", "file", metavar="FILE", hidden=True, shell_complete=complete_file)
@click.option(
    "-i", "--netdev", "netdevs", multiple=True, metavar="ID", help="Only packets of this netdev; repeats."
)
@click.option("-c", "count", type=click.IntRange(min=1), metavar="N", help="End after N packets that match.")
@click.option(
    "-w",
    "target",
    metavar="FILE",
    shell_complete=complete_file,
    help="Write them to a capture file; - is standard output.",
)
@click.option("-F", "form", type=click.Choice(["pcap", "pcapng"]), help="Its format. Default: by the suffix.")
@click.option(
    "--events",
    type=click.Choice(["journal", "comment", "none"]),
    default="journal",
    show_default=True,
    help="With -w, a VM's events in pcapng: journal entries, comments on the next packet, none.",
)
@display_option
@fields_options
@file_options
@line_options
@out.stream_option
@click.argument("words", nargs=-1, metavar="FILE [FILTER]", shell_complete=complete_file)
def read(
    words: tuple[str, ...],
    *,
    file: str | None,
    netdevs: tuple[str, ...],
    count: int | None,
    target: str | None,
    form: str | None,
    events: str,
    time_shift: int,
    started_at: int | None,
    virtio_header: str,
    display: str,
    names: tuple[str, ...],
    style: Style,
    output: str,
) -> int:
    """Print a capture file's packets, a line each, or write them to another file.

    FILE is pcap or pcapng, also gzipped; - is standard input. FILTER is in the language of tcpdump, -Y takes
    one in Wireshark's.
    """
    if file is None:
        if not words:
            raise UsageError("which file?", hint="qmon read FILE [FILTER]")
        file, words = words[0], words[1:]
    if target is not None and _same_file(file, target):
        raise UsageError(
            f"{'standard output' if target == '-' else target} is the file that is read",
            hint="write to another one",
        )
    from qmon.packets.filters.capture_filter import COMMON_LINK_TYPES
    from qmon.packets.filters.words import both_of, display_filter, selector_of

    chosen = both_of(display_filter(display), selector_of(words, COMMON_LINK_TYPES))
    form_of_lines = _form(style, names, output) if target is None else None

    with closing(
        open_capture(file, time_shift=time_shift, started_at=started_at, virtio_header=virtio_header)
    ) as capture:
        selection = Selection(capture, chosen, count, netdevs, tracked=bool(display) and target is None)
        if target is None:
            assert form_of_lines is not None
            _print(selection, form_of_lines)
        else:
            out.run(_write(selection, target, form, events))
        selection.require_netdevs()
        return _verdict(capture)


def _form(style: Style, names: Sequence[str], output: str) -> Form:
    from qmon.packets.field_lines import FieldLines
    from qmon.packets.line_batches import text_form

    if names:
        return FieldLines(names)
    return out.packet_records(absolute=style.absolute) if output == "jsonl" else text_form(style)


def _same_file(source: str, target: str) -> bool:
    """Say whether both are one regular file; "-" are the standard streams."""
    try:
        read = os.fstat(0) if source == "-" else Path(source).stat()
        written = os.fstat(1) if target == "-" else Path(target).stat()
    except (OSError, ValueError):
        return False
    return stat.S_ISREG(read.st_mode) and os.path.samestat(read, written)


def _verdict(capture: CaptureFile) -> int:
    for damage in capture.damage:
        out.talk(f"qmon: {damage}")
    return ExitCode.FAILED if capture.damage else ExitCode.DONE


@dataclass(frozen=True, slots=True)
class Selection:
    """The packets of a file that match a filter, at most `count` of them; of all netdevs if `netdevs` is empty."""

    capture: CaptureFile
    chosen: Selector | None
    count: int | None
    netdevs: Sequence[str] = ()
    tracked: bool = False

    def require_netdevs(self) -> None:
        """Raise UsageError for a netdev that the file, as far as it was read, does not have."""
        present = {interface.name for interface in self.capture.interfaces}
        for name in self.netdevs:
            if name not in present:
                there = ", ".join(plain(one) for one in sorted(present) if one) or "none that has a name"
                raise UsageError(f"there is no netdev {plain(name)!r} in the file", hint=f"It has: {there}")

    def batches(self) -> Iterator[tuple[FrameBatch, Sequence[int], TcpColumns | None]]:
        """Yield what matches, with the number each packet has in the file (from 1).

        With `tracked` what is known of their TCP is from all of the file's packets; else it is None.
        """
        import numpy as np

        from qmon.packets.analysis.segments import TcpTracker

        tracker = TcpTracker() if self.tracked else None
        before, left = 0, self.count
        while (batch := self.capture.read_batch()) is not None:
            numbers = np.arange(before + 1, before + 1 + len(batch))
            before += len(batch)
            tcp = None if tracker is None else tracker.of(batch, self.capture.interfaces)
            if self.chosen is not None or self.netdevs:
                mask = np.ones(len(batch), np.bool_)
                if self.chosen is not None:
                    # It is given all packets: it may count them.
                    self.chosen.require(self.capture.interfaces)
                    mask = self.chosen.mask(batch, self.capture.interfaces)
                if self.netdevs:
                    mask &= np.isin(batch.interface, self._wanted_interfaces())
                batch, numbers = batch.select(mask), numbers[mask]
                tcp = None if tcp is None else tcp.select(mask)
            if left is not None:
                batch, numbers = batch.select(slice(0, left)), numbers[:left]
                tcp = None if tcp is None else tcp.select(slice(0, left))
                left -= len(batch)
            yield batch, numbers.tolist(), tcp
            if left == 0:
                return

    def _wanted_interfaces(self) -> list[int]:
        return [i for i, one in enumerate(self.capture.interfaces) if one.name in self.netdevs]


def _print(selection: Selection, form: Form) -> None:
    for batch, numbers, tcp in selection.batches():
        if len(batch):
            lines = form(batch, selection.capture.interfaces, numbers, tcp)
            out.data("\n".join(lines) + "\n", harmless=True)
            out.flush()
        for note in selection.capture.notes:
            say_note(note)
        selection.capture.notes.clear()


async def _write(selection: Selection, target: str, form: str | None, events: str) -> None:
    from qmon.export.capture_file import FileOptions, format_of, open_file
    from qmon.export.rewrite import rewrite
    from qmon.packets.files.notes import NoteForm

    stdout = out.binary_stdout() if target == "-" else None
    options = FileOptions(names=selection.capture.names, notes=NoteForm(events))
    say_overwriting(target)
    written = await open_file(target, stdout=stdout, form=form, options=options)
    stamps = _Stamps(format_of(target, form))
    try:
        await rewrite(selection.capture, stamps.counted(batch for batch, *_ in selection.batches()), written)
    finally:
        shown = "standard output" if target == "-" else target
        out.talk(f"{written.written} packets written to {shown}")
        for told in stamps.told():
            out.talk(told)


class _Stamps:
    """Counts the times that a file of a format cannot hold as they are."""

    def __init__(self, form: str) -> None:
        from qmon.packets.files.pcap import LAST_STAMP_NS

        self._last_ns = LAST_STAMP_NS if form == "pcap" else (1 << 63) - 1
        self._years = "1970 to 2106" if form == "pcap" else "1970 to 2262"
        self._none = self._moved = 0

    def counted(self, batches: Iterator[FrameBatch]) -> Iterator[FrameBatch]:
        """Hand the batches on."""
        from qmon.packets.batch import NO_TIME

        for batch in batches:
            none = int((batch.time_ns == NO_TIME).sum())
            moved = int(((batch.time_ns < 0) | (batch.time_ns > self._last_ns)).sum()) - none
            self._none, self._moved = self._none + none, self._moved + moved
            yield batch

    def told(self) -> Iterator[str]:
        """Say what was found."""
        if self._none:
            yield f"qmon: {self._none:,} of them have no time: other tools will show 1970 for it"
        if self._moved:
            yield f"qmon: {self._moved:,} of them have times outside of {self._years}: the nearest one was written"
