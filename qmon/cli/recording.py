"""What the commands that record have in common: the filter's words, what is said meanwhile, and the last line.

Owns nothing of the recording itself. Must never attach or tap: that is `export.live`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from qmon.cli import output
from qmon.errors import ExitCode, UsageError
from qmon.text import plain

if TYPE_CHECKING:
    from qmon.export.record import Totals
    from qmon.packets.batch import Note
    from qmon.packets.filters.selector import Selector

F = TypeVar("F", bound=Callable[..., Any])

_TOLD = frozenset({"gap", "change", "monitor"})


def filter_of(words: Sequence[str], *, command: str = "") -> Selector | None:
    """Return the filter that a command's trailing words make; None without words, UsageError for a wrong one.

    With `command`, a filter that goes wrong at its first word is told how that command is given a netdev.
    """
    from qmon.packets.filters.selector import WrongExpression
    from qmon.packets.filters.words import selector_of

    try:
        return selector_of(words)
    except WrongExpression as problem:
        if command and problem.at == 0:
            problem.hint = f"Is {plain(words[0])} a netdev? qmon {command} --netdev {plain(' '.join(words))}"
        raise


def no_file_option(command: F) -> F:
    """Give a command that captures tcpdump's -r, only to say which command it is here."""
    return click.option("-r", callback=_refuse_file, expose_value=False, hidden=True)(command)


def _refuse_file(_: click.Context, __: click.Parameter, value: str | None) -> None:
    if value is not None:
        raise UsageError(f"a capture file is read by: qmon read {plain(value)}")


def say_note(note: Note) -> None:
    """Say aloud what concerns how complete the recording is; the rest is for the file only."""
    if note.kind in _TOLD:
        output.talk(f"qmon: {note.text}")


def say_overwriting(path: str) -> None:
    """Say that a capture that is there already will be overwritten, as tcpdump does without a word."""
    try:
        there = Path(path).is_file() and Path(path).stat().st_size > 0
    except (OSError, ValueError):
        return  # Opening it will say what is wrong.
    if there and path != "-":
        output.talk(f"qmon: {path} exists and is overwritten")


def close(totals: Totals) -> ExitCode:
    """Print the closing line, and why the recording failed if it did; return the exit code it deserves."""
    output.talk(totals.line())
    if totals.error is None:
        return ExitCode.DONE
    output.error(totals.error.message, totals.error.hint)
    return ExitCode.FAILED
