"""Wireshark, started on a stream of ours.

Owns the process and the pipe into it. Must never end it: what it has captured is the user's to look at, also when
qmon has gone.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import threading
from types import TracebackType
from typing import IO, Self

from qmon.distribution import Program, how_to_install
from qmon.errors import QmonError

_LAST_WORDS = 2000


class Wireshark:
    """A Wireshark that shows what is written to `descriptor`, for the length of a `with`; it outlives the block.

    `QmonError` if it is not installed.
    """

    def __init__(self) -> None:
        program = shutil.which("wireshark")
        if program is None:
            raise QmonError(
                "Wireshark is not installed",
                hint=f"{how_to_install(Program.WIRESHARK)}\nOr look at the packets here: qmon dump, or "
                "qmon dump -w - | tshark -r -",
            )
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None
        self._messages: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by __exit__.

    def __repr__(self) -> str:
        return f"<Wireshark {self._process.pid if self._process else 'not started'}>"

    def __enter__(self) -> Self:
        # A session of its own: Ctrl-C ends the capture, and leaves Wireshark with what it has.
        self._process = subprocess.Popen(
            [self._program, "-k", "-i", "-"],
            stdin=subprocess.PIPE,
            stdout=self._messages,
            stderr=self._messages,
            start_new_session=True,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end_of_stream()
        self._messages.close()
        assert self._process is not None
        # It may outlive us; should it not, somebody has to take note of its end.
        threading.Thread(target=self._process.wait, daemon=True, name="wait for Wireshark").start()

    @property
    def descriptor(self) -> int:
        """Where to write the capture."""
        assert self._process is not None
        assert self._process.stdin is not None
        return self._process.stdin.fileno()

    def end_of_stream(self) -> None:
        """Let Wireshark know that nothing more comes."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()

    def failure(self, timeout_s: float = 0.5) -> QmonError | None:
        """Return why Wireshark ended, if it did so by itself and not in order; it is given a moment to."""
        assert self._process is not None
        try:
            status = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None
        if status == 0:
            return None
        size = self._messages.seek(0, os.SEEK_END)
        self._messages.seek(max(size - _LAST_WORDS, 0))
        said = self._messages.read().decode(errors="replace").strip()
        return QmonError(f"Wireshark ended with status {status}", hint=said or None)
