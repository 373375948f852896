"""The three standard descriptors, as whoever started qmon left them.

Owns what stands in for one that is closed, and what is said about one that is of no use. Must never write to them:
that is output.py's.
"""

from __future__ import annotations

import fcntl
import io
import os
import stat
import sys
from typing import TYPE_CHECKING, TextIO

from qmon.errors import UsageError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

STDOUT = "standard output"
_NAMES = {0: "standard input", 1: STDOUT, 2: "standard error"}
# Reading from a closed input is to find nothing. Writing to a closed output is to fail, like writing to the closed
# descriptor, and therefore goes to an opening that cannot be written to. Talk that nobody hears is no failure.
_STAND_INS = ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY))


class _Stdout(io.FileIO):
    """Standard output whose errors say what they are about."""

    def write(self, data: Buffer, /) -> int:
        try:
            return super().write(data)
        except OSError as problem:
            problem.filename = STDOUT
            raise


def set_up() -> None:
    """Put something on each standard descriptor that is closed, and make every text printable.

    Otherwise a monitor or a capture file would get its number, and be what is printed to. An OSError in writing to
    stdout has `STDOUT` for its file's name from here on.
    """
    for fd, flags in _STAND_INS:
        if not _is_open(fd):
            opened = os.open(os.devnull, flags | os.O_CLOEXEC)
            os.dup2(opened, fd)
            if opened != fd:
                os.close(opened)
    if sys.stdin is None:
        sys.stdin = os.fdopen(0, closefd=False)
    if sys.stdout is sys.__stdout__:  # Not so in a test that catches what is printed.
        sys.stdout = io.TextIOWrapper(
            io.BufferedWriter(_Stdout(1, "w", closefd=False)),
            encoding=None if sys.stdout is None else sys.stdout.encoding,
            errors="backslashreplace",
            line_buffering=os.isatty(1),
        )
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", errors="backslashreplace", closefd=False)


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def is_pipe(fd: int) -> bool:
    """Say whether a descriptor is a pipe, whose reader may leave."""
    return stat.S_ISFIFO(os.fstat(fd).st_mode)


def is_writable(stream: TextIO) -> bool:
    """Say whether a stream was opened for writing; a closed one was not."""
    return fcntl.fcntl(stream.fileno(), fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY


def give_up(fd: int) -> None:
    """Let what is still buffered for a stream that takes nothing go nowhere: it would be a failure at the exit."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, fd)
    os.close(null)


def require_terminal(what: str, hint: str) -> None:
    """Raise `UsageError`, naming the stream at fault, unless `what` can read keys and draw.

    Textual reads keys from stdin and draws on stderr, which leaves stdout to data.
    """
    for fd in (0, 2):
        if not os.isatty(fd):
            raise UsageError(f"{what} needs a terminal, but {_NAMES[fd]} is {_kind(fd)}", hint=hint)


def _kind(fd: int) -> str:
    mode = os.fstat(fd).st_mode
    if stat.S_ISREG(mode):
        return "a file"
    if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
        return "a pipe"
    return "not one"
