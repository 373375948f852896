"""The only writer of stdout (data) and stderr (talk).

Owns the table, JSON and JSON-lines forms, the refusal to print binary on a terminal, and how a signal ends
a command. Must never hold what a command means: values come in, text goes out.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from qmon import text
from qmon.cli import streams
from qmon.errors import ExitCode, QmonError, UsageError

if TYPE_CHECKING:
    from qmon.packets.line_batches import Records

SCHEMA_VERSION = 1
_SURROGATE = re.compile("[\ud800-\udfff]")
_ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

# What is printed while a command's coroutine runs, until it is flushed or the coroutine has ended: to wait there for a
# reader would be to hear no signal.
_held: list[str] | None = None

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


def output_option(command: F) -> F:
    """Give a click command `-o table|json`, passed as `output`."""
    option = click.option(
        "-o",
        "--output",
        type=click.Choice(["table", "json"]),
        default="table",
        show_default=True,
        help="A table for people, or one JSON document for programs.",
    )
    return option(command)


def stream_option(command: F) -> F:
    """Give a click command that prints a stream `-o text|jsonl`, passed as `output`."""
    option = click.option(
        "-o",
        "--output",
        type=click.Choice(["text", "jsonl"]),
        default="text",
        show_default=True,
        help="Lines for people, or one JSON object a line for programs.",
    )
    return option(command)


def _styled() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print aligned columns; every cell is made plain, None is shown as ``-``."""
    lines = [["-" if cell is None else text.plain(str(cell)) for cell in row] for row in rows]
    widths = [
        max([text.width(head), *(text.width(line[i]) for line in lines)]) for i, head in enumerate(headers)
    ]

    def joined(cells: Sequence[str]) -> str:
        padded = (cell + " " * (width - text.width(cell)) for cell, width in zip(cells, widths, strict=True))
        return "  ".join(padded).rstrip()

    heading = joined(list(headers))
    data(f"\x1b[1m{heading}\x1b[22m" if _styled() else heading, harmless=True)
    for line in lines:
        data(joined(line), harmless=True)


def document(content: Mapping[str, object]) -> None:
    """Print one JSON object, indented, with its schema version first."""
    data(_json({"schema_version": SCHEMA_VERSION, **content}, indent=2), harmless=True)


def _json(content: object, *, indent: int | None = None, separators: tuple[str, str] | None = None) -> str:
    said = json.dumps(content, indent=indent, separators=separators)
    if "\\ud" in said:  # Perhaps a lone surrogate, at which most readers of JSON stop.
        said = json.dumps(_encodable(content), indent=indent, separators=separators)
    return said


def _encodable(value: object) -> object:
    """Return a value of JSON with each lone surrogate in its texts shown as an escape: a byte as ``\\xNN``."""
    if isinstance(value, str):
        return _SURROGATE.sub(_shown, value)
    if isinstance(value, Mapping):
        return {_SURROGATE.sub(_shown, str(key)): _encodable(member) for key, member in value.items()}
    return [_encodable(member) for member in value] if isinstance(value, list | tuple) else value


def _shown(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"


def packet_records(*, absolute: bool) -> Records:
    """Return how packets are printed for programs, one JSON object a line; TCP's numbers `absolute` or not."""
    from qmon.packets.line_batches import Records

    return Records(compact({})[:-1] + ",", _json, absolute=absolute)


def compact(content: Mapping[str, object]) -> str:
    """Return one JSON object on one line, with its schema version first, for streams."""
    return _json({"schema_version": SCHEMA_VERSION, **content}, separators=(",", ":"))


def data(content: str, *, harmless: bool = False) -> None:
    """Print text and a line end on stdout.

    On a terminal, control characters are escaped unless the caller vouches that the text is `harmless`; into
    a file or pipe the text goes as it is.
    """
    if not harmless and sys.stdout.isatty():
        content = text.plain_lines(content)
    content = content if content.endswith("\n") else content + "\n"
    if _held is None:
        sys.stdout.write(content)
    else:
        _held.append(content)


def flush() -> None:
    """Hand what was printed to the reader now, however long it takes; for streams."""
    if _held:
        sys.stdout.write("".join(_held))
        _held.clear()
    sys.stdout.flush()


def binary_stdout() -> int:
    """Return stdout's descriptor for bytes; refused on a terminal, which they would only confuse."""
    if sys.stdout.isatty():
        raise UsageError(
            "refusing to write a capture to the terminal",
            hint="name a file with -w FILE, or pipe it: qmon dump -w - … | wireshark -k -i -",
        )
    return lines_stdout()


def lines_stdout() -> int:
    """Return stdout's descriptor, for one that writes to it without waiting for its reader."""
    require_stdout()
    flush()
    return sys.stdout.fileno()


def require_stdout() -> None:
    """Raise `QmonError` if stdout is closed, before waiting for what would be printed."""
    if not streams.is_writable(sys.stdout):
        raise QmonError(f"cannot write {streams.STDOUT}: it is closed")


def talk(content: str) -> None:
    """Say something to the person on stderr, made plain; a closed stderr is nobody listening."""
    try:
        sys.stderr.write(text.plain_lines(content).rstrip("\n") + "\n")
        sys.stderr.flush()
    except OSError:
        return


def error(message: str, hint: str | None) -> None:
    """Say why the command failed, and what to do next."""
    talk(f"qmon: {message}")
    if hint:
        talk(hint)


def run(main: Coroutine[Any, Any, T], *, until_reader_leaves: bool = False) -> T:
    """Run a command's coroutine; SIGINT, SIGTERM and SIGHUP cancel it once, and it may end in order.

    A coroutine that takes the cancellation as its end returns normally. One that lets it through ends the
    process as the signal would: exit status 128 + its number. With `until_reader_leaves` it is cancelled as well
    when the reader of the pipe on stdout has closed it, which is a normal end: exit status 0.
    """
    import asyncio  # A third of the start-up time of commands that do not need it.

    global _held
    _held = []
    try:
        return asyncio.run(_until_signalled(main, until_reader_leaves))
    finally:
        printed, _held = _held, None
        sys.stdout.write("".join(printed))


async def _until_signalled(main: Coroutine[Any, Any, T], until_reader_leaves: bool) -> T:
    import asyncio

    loop = asyncio.get_running_loop()
    task = loop.create_task(main, name="qmon command")
    codes: list[int] = []

    def end(code: int) -> None:
        codes.append(code)
        # Signals come in pairs (HUP and TERM, Ctrl-C under sudo): the second must not cut the ending short.
        if len(codes) == 1:
            task.cancel()

    def reader_left() -> None:
        loop.remove_reader(1)
        end(ExitCode.DONE)

    for number in _ENDING_SIGNALS:
        # nohup stays in force; an ignored SIGINT is only what shells give to `qmon … &` in a script, where kill -INT
        # is meant to end it (as it does tcpdump).
        if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            loop.add_signal_handler(number, end, 128 + number)
    if until_reader_leaves and streams.is_pipe(1):
        # Nothing can be read from it; what wakes us is the error state of a pipe without a reader.
        loop.add_reader(1, reader_left)
    try:
        return await task
    except asyncio.CancelledError:
        if not codes:
            raise
        raise SystemExit(codes[0]) from None
