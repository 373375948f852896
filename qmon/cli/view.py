"""`qmon view FILE`: a capture file in the dashboard's packet views.

Owns the command's words; the screen lives in `qmon.tui`.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import click

from qmon.cli import output, streams
from qmon.cli.completing import complete_file
from qmon.cli.display_option import display_option
from qmon.cli.read import file_options, open_capture
from qmon.errors import ExitCode, UsageError


@click.command(
    epilog="\b\nExamples:\n  qmon view trace.pcapng\n  qmon view --started-at 2024-05-01T12:00:00 dump.dat",
)
@display_option
@file_options
@click.argument("file", metavar="FILE", shell_complete=complete_file)
def view(file: str, *, display: str, time_shift: int, started_at: int | None, virtio_header: str) -> int:
    """Look through a capture file (pcap or pcapng, also gzipped)."""
    if file == "-":
        raise UsageError(
            "the viewer needs its standard input for keys", hint="save the stream to a file first"
        )
    from qmon.packets.filters.words import display_filter

    display_filter(display)  # What is wrong with it is told before the screen changes.
    streams.require_terminal("the viewer", "`qmon read` prints a capture file without one.")
    from qmon.tui.run import run_viewer

    with closing(
        open_capture(file, time_shift=time_shift, started_at=started_at, virtio_header=virtio_header)
    ) as capture:
        output.run(run_viewer(capture, Path(file).name, display))
        for damage in capture.damage:
            output.error(f"{file}: damaged {damage}", None)
        return ExitCode.FAILED if capture.damage else ExitCode.DONE
