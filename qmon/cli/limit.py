"""`--limit SIZE`: how much memory packets may wait in, the same for every command that captures.

Owns the spelling of sizes on the command line.
"""

from __future__ import annotations

import re

import click

_UNITS = {"kB": 1000, "MB": 1000**2, "GB": 1000**3, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_SIZE = re.compile(rf"([0-9]{{1,9}}(?:\.[0-9]{{1,3}})?) ?({'|'.join(_UNITS)})")
_LEAST_BYTES = 1_000_000


def size_of(text: str) -> int:
    """Read `256MB`, `1.5GiB` as bytes; a usage error for anything else, and for what is too little."""
    read = _SIZE.fullmatch(text.strip())
    if read is None:
        raise click.BadParameter(f"'{text}' is not a size; for instance 256MB or 1GiB")
    size = int(float(read[1]) * _UNITS[read[2]])
    if size < _LEAST_BYTES:
        raise click.BadParameter(f"{text} is too little: at least 1MB")
    return size


limit_option = click.option(
    "--limit",
    "limit_bytes",
    callback=lambda _context, _option, text: None if text is None else size_of(text),
    metavar="SIZE",
    help="Memory in which packets may wait, such as 256MB. Default: 1GiB, but at most a quarter of what is free.",
)
