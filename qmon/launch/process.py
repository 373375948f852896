"""A QEMU that belongs to this qmon: started, watched, and ended with it.

Owns the process, its private directory (0700; the monitor's socket lies there) and the guardian that cleans
up should qmon be killed. Must never know what the VM is for, nor speak to its monitor.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from qmon.errors import QmonError

GRACE_S = 5.0
_HERE = Path(__file__).parent
_LONGEST_SOCKET = 100  # sun_path holds 108 bytes (man 7 unix); some room for the names in the directory.
_LAST_WORDS = 4000


def leashed(command: Sequence[str]) -> list[str]:
    """Return the words that run `command` so that it gets SIGTERM when this process, its parent, dies."""
    return [sys.executable, "-I", "-S", str(_HERE / "leashed.py"), str(os.getpid()), *command]


class OwnedQemu:
    """A QEMU process and its private directory, for the length of a `with`.

    Enter it first, then `start` the process from the main thread: the kernel's leash is tied to the thread
    that starts it. Leaving sends SIGTERM, and SIGKILL when QEMU has not ended after `GRACE_S`.
    """

    def __init__(self) -> None:
        self.directory = Path()
        self._guardian: subprocess.Popen[bytes] | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        state = "not started" if self._process is None else f"pid {self.pid}"
        return f"<OwnedQemu {state} in {self.directory}>"

    def __enter__(self) -> Self:
        self.directory = _private_directory()
        self._guardian = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_HERE / "guardian.py"), str(self.directory), str(GRACE_S)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.stop()
        finally:
            assert self._guardian is not None
            assert self._guardian.stdin is not None
            self._guardian.stdin.close()
            self._guardian.wait()

    @property
    def monitor(self) -> Path:
        """Where the monitor's socket is to be."""
        return self.directory / "qmp.sock"

    @property
    def log(self) -> Path:
        """Where QEMU's messages go if it was started quietly."""
        return self.directory / "qemu.log"

    @property
    def pid(self) -> int:
        """QEMU's process id."""
        assert self._process is not None
        return self._process.pid

    @property
    def status(self) -> int | None:
        """QEMU's exit status as a shell tells it (128 + N for signal N), None while it runs."""
        if self._process is None or self._process.poll() is None:
            return None
        code = self._process.returncode
        return 128 - code if code < 0 else code

    def start(
        self,
        command: Sequence[str],
        *,
        quiet: bool,
        stdout: IO[bytes] | int | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        """Start `command`.

        `quiet`: in a session of its own, without input, its messages in `log`. Otherwise it has qmon's
        terminal and streams, its standard output replaced by `stdout` if given.
        """
        words = leashed(command)
        environment = None if env is None else {**os.environ, **env}
        if quiet:
            with self.log.open("ab") as log:
                self._process = subprocess.Popen(
                    words,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    env=environment,
                )
        else:
            self._process = subprocess.Popen(words, stdout=stdout, env=environment)
        assert self._guardian is not None
        assert self._guardian.stdin is not None
        self._guardian.stdin.write(f"{self._process.pid}\n".encode())
        self._guardian.stdin.flush()

    async def wait(self) -> int:
        """Wait until QEMU has ended by whatever cause; its `status`."""
        assert self._process is not None
        if self._process.poll() is None:
            ended = asyncio.Event()
            watched = os.pidfd_open(self._process.pid)
            loop = asyncio.get_running_loop()
            loop.add_reader(watched, ended.set)
            try:
                await ended.wait()
            finally:
                loop.remove_reader(watched)
                os.close(watched)
            self._process.wait()
        status = self.status
        assert status is not None
        return status

    def stop(self) -> None:
        """End QEMU if it still runs: SIGTERM, then SIGKILL after the grace."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def last_words(self) -> str:
        """Return the end of what a quiet QEMU wrote, without trailing blank lines."""
        try:
            return self.log.read_bytes()[-_LAST_WORDS:].decode(errors="replace").strip()
        except FileNotFoundError:
            return ""


def _private_directory() -> Path:
    """Make a directory of our own whose path leaves room for a socket's name."""
    tried: list[str] = []
    for base in (os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir(), "/tmp"):
        if not base or not Path(base).is_absolute() or set(base) & set('"\n'):
            continue  # A quote or a line end could not stand in QEMU's configuration file.
        try:
            directory = Path(tempfile.mkdtemp(prefix="qmon-vm-", dir=base))
        except OSError as problem:
            tried.append(f"{base}: {problem.strerror}")
            continue
        if len(os.fsencode(directory)) < _LONGEST_SOCKET - len("/qmp.sock"):
            return directory
        directory.rmdir()
        tried.append(f"{base}: too long a path for a socket")
    raise QmonError(
        "cannot make a private directory: " + "; ".join(tried), hint="set TMPDIR to a place you can write to"
    )
