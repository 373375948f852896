"""Textual's Linux driver, made fit for terminals that go away.

Owns what happens when the terminal is closed, hung up or no longer read by anybody: nothing may block, spin or
raise then, and the app is told to end. Must never decide what is drawn.
"""

from __future__ import annotations

import codecs
import os
import re
import select
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from textual import events
from textual._xterm_parser import XTermParser
from textual.drivers.linux_driver import LinuxDriver
from textual.message import Message

if TYPE_CHECKING:
    from textual.app import App

PATIENCE_S = 1.0
# An escape that nothing follows within this time was the key.
_ESCAPE_MS = 50
# What may follow an escape in what a terminal sends by itself: CSI, SS2, SS3, DCS, SOS, OSC, PM, APC (ECMA-48).
_ESCAPE_KEY = re.compile("\x1b(?![\\[NOPX\\]^_])")
_PIECE_BYTES = 2048


class TerminalOutput:
    """The terminal as a file for Textual's writer thread.

    Writes through a descriptor of its own that never blocks. What a terminal does not take within `PATIENCE_S` is
    thrown away; once it takes output again, `caught_up` is called so that the screen can be drawn anew. After
    `gone` is set everything is thrown away.
    """

    def __init__(self, descriptor: int) -> None:
        self.gone = False
        self._behind = False
        self._recovered = False
        self._fd = _own_descriptor(descriptor)

    def __repr__(self) -> str:
        state = "gone" if self.gone else "behind" if self._behind else "open"
        return f"<TerminalOutput {state}>"

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._fd

    def write(self, content: str) -> int:
        """Write, or throw away what cannot be written in time."""
        deadline = time.monotonic() + (0 if self._behind else PATIENCE_S)
        rest = memoryview(content.encode("utf-8", "backslashreplace"))
        try:
            while rest and not self.gone:
                if select.select((), (self._fd,), (), min(max(deadline - time.monotonic(), 0), 0.1))[1]:
                    rest = rest[os.write(self._fd, rest[:_PIECE_BYTES]) :]
                    if self._behind:
                        self._behind, self._recovered = False, True
                elif time.monotonic() >= deadline:
                    self._behind = True
                    break
        except BlockingIOError:
            self._behind = True
        except OSError:
            self.gone = True
        return len(content)

    def flush(self) -> None:
        """Nothing is kept back, so there is nothing to do."""

    @property
    def behind(self) -> bool:
        """Whether the terminal does not take output at present; asked anew, for nothing may be written meanwhile."""
        if self._behind and not self.gone and select.select((), (self._fd,), (), 0)[1]:
            self._behind, self._recovered = False, True
        return self._behind

    def take_recovered(self) -> bool:
        """Return, once, that output was lost and the terminal takes it again: draw everything anew."""
        recovered, self._recovered = self._recovered, False
        return recovered

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self._fd)


def _own_descriptor(descriptor: int) -> int:
    """Open the terminal a second time, so that making it non-blocking does not change it for others."""
    try:
        return os.open(os.ttyname(descriptor), os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return os.dup(descriptor)


class TypedInput:
    """What a terminal sends, made into messages; an Esc key with another key right behind it is two keys.

    Textual would take both for one key with Alt, and forget the Esc.
    """

    def __init__(self, parser: XTermParser) -> None:
        self._parser = parser
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._held = ""

    @property
    def wait_ms(self) -> int:
        """How long to wait for more."""
        return _ESCAPE_MS if self._held else 100

    def feed(self, data: bytes) -> Iterator[Message]:
        """Take some of it."""
        content = self._held + self._decode(data)
        self._held = ""
        if content.endswith("\x1b"):
            content, self._held = content[:-1], "\x1b"
        start = 0
        for found in _ESCAPE_KEY.finditer(content):
            yield from self._parsed(content[start : found.start()])
            yield events.Key("escape", "\x1b")
            start = found.end()
        yield from self._parsed(content[start:])

    def nothing_came(self) -> Iterator[Message]:
        """Take that nothing came for a while."""
        if self._held:
            self._held = ""
            yield events.Key("escape", "\x1b")
        yield from self._parser.tick()

    def _parsed(self, content: str) -> Iterator[Message]:
        if content:
            yield from self._parser.feed(content)


class PatientDriver(LinuxDriver):
    """Ends the app when its terminal is closed; never spins on it and never waits for it."""

    def __init__(self, app: App[Any], **options: Any) -> None:
        super().__init__(app, **options)
        error_output = sys.__stderr__
        assert error_output is not None
        self.output = TerminalOutput(error_output.fileno())
        self._file = self.output  # type: ignore[assignment]

    def _get_terminal_size(self) -> tuple[int, int]:
        """Ask the terminal that is drawn on: stdout may be something else, and $COLUMNS is often out of date."""
        try:
            size = os.get_terminal_size(self.output.fileno())
        except OSError:
            return super()._get_terminal_size()
        # A terminal that does not know its size says 0.
        return size.columns or 80, size.lines or 24

    def give_up(self) -> None:
        """Write nothing more: the end must not wait for a terminal nobody reads."""
        self.output.gone = True

    def run_input_thread(self) -> None:
        """Read keys and mouse until told to stop or until the terminal is gone."""
        typed = TypedInput(XTermParser(self._debug))
        poll = select.poll()
        poll.register(self.fileno, select.POLLIN)
        while not self.exit_event.is_set():
            if not poll.poll(typed.wait_ms):
                messages = typed.nothing_came()
            elif (data := self._read()) is not None:
                messages = typed.feed(data)
            else:
                self._terminal_gone()
                return
            for message in messages:
                self.process_message(message)

    def _read(self) -> bytes | None:
        """Return what was typed, None once the terminal is gone."""
        try:
            return os.read(self.fileno, 4096) or None
        except BlockingIOError:
            return b""
        except OSError:
            return None

    def _terminal_gone(self) -> None:
        self.give_up()
        self._loop.call_soon_threadsafe(self._app.exit)

    def close(self) -> None:
        """End the writer thread and let go of the terminal."""
        super().close()
        self.output.close()
