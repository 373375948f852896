"""tcpdump's flags for lines, with tcpdump's meaning, and those of its flags that qmon needs no telling of.

Owns the spelling of -e -q -t -v -x -X -A. Must never hold what a line looks like: that is `packets.line_text`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

_OPTIONS = (
    click.option("-e", "link", is_flag=True, help="Lines: the link layer too (MACs, VLANs, frame length)."),
    click.option("-q", "quiet", is_flag=True, help="Lines: addresses, ports and length only."),
    click.option("-S", "absolute", is_flag=True, help="Lines: TCP's sequence numbers as on the wire."),
    click.option("-v", "verbose", count=True, help="Lines: TTL, id, flags and length of IP, too."),
    click.option(
        "-t",
        "times",
        count=True,
        metavar="",
        help="Lines: no time; -tt seconds since 1970; -ttt since the last packet; -tttt with the date; "
        "-ttttt since the first packet.",
    ),
    click.option(
        "-x", "hex_", count=True, help="Lines: the packet in hex; -xx with the link layer's header."
    ),
    click.option("-X", "both", count=True, help="The same in hex and ASCII; -XX."),
    click.option("-A", "ascii_", count=True, help="The same in ASCII; -AA."),
    click.option(
        "-n",
        "-l",
        "-U",
        "-p",
        "-K",
        "_",
        count=True,
        help="As tcpdump's. Not needed: qmon looks up no names, buffers no lines, and so on.",
    ),
)


def line_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command that prints packets tcpdump's flags; it gets them as `style`, a `line_text.Style`."""

    @functools.wraps(command)
    def wrapped(
        *args: Any,
        link: bool,
        quiet: bool,
        absolute: bool,
        verbose: int,
        times: int,
        hex_: int,
        both: int,
        ascii_: int,
        _: int,
        **others: Any,
    ) -> Any:
        from qmon.packets.line_text import Bytes, Style, Times

        form = Bytes.NONE
        for count, one in ((ascii_, Bytes.ASCII), (hex_, Bytes.HEX), (both, Bytes.HEX_AND_ASCII)):
            form = one if count else form
        style = Style(
            times=Times(min(times, max(Times))),
            link=link,
            quiet=quiet,
            verbose=bool(verbose),
            bytes=form,
            whole_frame=max(hex_, both, ascii_) > 1,
            absolute=absolute,
        )
        return command(*args, style=style, **others)

    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped
