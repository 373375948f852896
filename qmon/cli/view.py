"""`qmon view FILE`: a capture file in the dashboard's packet views.

Owns the command's words; the screen lives in `qmon.tui`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from qmon.cli import output
from qmon.errors import ExitCode, UsageError


@click.command()
@click.argument("path", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--time-shift",
    "time_shift_s",
    type=float,
    default=0.0,
    metavar="SECONDS",
    help="Add this to every time stamp.",
)
def view(path: Path, time_shift_s: float) -> int:
    """Look through a capture file (pcap or pcapng, gzipped or not)."""
    if not sys.stdin.isatty() or not sys.stderr.isatty():
        raise UsageError("the viewer needs a terminal", hint="use `qmon read` to print a capture")
    from qmon.packets.file import CaptureFile
    from qmon.tui.run import run_viewer

    with CaptureFile(path, time_shift_ns=round(time_shift_s * 1e9)) as file:
        output.run(run_viewer(file, path.name))
        for damage in file.damage:
            output.error(f"{path}: damaged {damage}", None)
        return ExitCode.FAILED if file.damage else ExitCode.DONE
