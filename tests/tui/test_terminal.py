"""The terminal's end of the dashboard, on real pseudo-terminals."""

from __future__ import annotations

import os
import pty
import select
from collections.abc import Iterator

import pytest
from textual import events
from textual._xterm_parser import XTermParser

from qmon.tui.terminal import TerminalOutput, TypedInput


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    ours, theirs = pty.openpty()
    yield ours, theirs
    for descriptor in (ours, theirs):
        try:
            os.close(descriptor)
        except OSError:
            continue


def test_what_is_written_arrives(terminal: tuple[int, int]) -> None:
    output = TerminalOutput(terminal[1])
    output.write("héllo \ud800")
    assert os.read(terminal[0], 100) == "héllo \\ud800".encode()
    output.close()


def test_a_terminal_nobody_reads_is_not_waited_for(
    terminal: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qmon.tui.terminal.PATIENCE_S", 0.05)
    output = TerminalOutput(terminal[1])
    output.write("x" * 1_000_000)
    assert output.behind
    monkeypatch.setattr("qmon.tui.terminal.PATIENCE_S", 600)
    output.write("y" * 1_000_000)  # No patience is left for this one.
    assert output.behind
    assert not output.take_recovered()
    while select.select([terminal[0]], (), (), 0.05)[0]:
        os.read(terminal[0], 65536)
    # Without anything being written: what does not draw while it is behind would be so for ever.
    assert not output.behind
    output.write("z")
    assert output.take_recovered()
    assert not output.take_recovered()
    output.close()


def test_a_closed_terminal_swallows_everything(terminal: tuple[int, int]) -> None:
    output = TerminalOutput(terminal[1])
    os.close(terminal[0])
    output.write("gone")
    assert output.gone
    output.write("gone too")
    output.close()


def test_blocking_of_the_shared_descriptor_is_left_alone(terminal: tuple[int, int]) -> None:
    output = TerminalOutput(terminal[1])
    assert os.get_blocking(terminal[1])
    assert not os.get_blocking(output.fileno())
    output.close()


def _keys(*pieces: bytes) -> list[str]:
    typed = TypedInput(XTermParser(False))
    messages = [message for piece in pieces for message in typed.feed(piece)] + list(typed.nothing_came())
    return [message.key for message in messages if isinstance(message, events.Key)]


@pytest.mark.parametrize(
    ("pieces", "keys"),
    [
        ((b"\x1bG",), ["escape", "G"]),
        ((b"\x1b", b"G"), ["escape", "G"]),
        ((b"j\x1b2k",), ["j", "escape", "2", "k"]),
        ((b"\x1b\x1b",), ["escape", "escape"]),
        ((b"\x1b\r",), ["escape", "enter"]),
        ((b"\x1b",), ["escape"]),
        ((b"\x1b[A\x1b",), ["up", "escape"]),
        ((b"\x1b", b"[", b"B"), ["down"]),
        ((b"\x1bOP",), ["f1"]),
        ((b"\xc3", b"\xa9"), ["\u00e9"]),
    ],
)
def test_an_escape_and_what_is_typed_right_behind_it_are_two_keys(
    pieces: tuple[bytes, ...], keys: list[str]
) -> None:
    assert [{"latin_small_letter_e_with_acute": "\u00e9"}.get(key, key) for key in _keys(*pieces)] == keys
