"""Our end of the guardian: the little process that outlives qmon and seals what it left behind.

Owns the one guardian of this process: started when the first memfd is to be guarded, ended with the last. It must
be told of a memfd before QEMU is.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from qmon.capture.reading.channel import Full
from qmon.errors import QmonError

_MAIN = Path(__file__).with_name("guardian_main.py")
_ENDING_S = 5.0


@dataclass(frozen=True, slots=True)
class Guarded:
    """One memfd under guard; `number` names it."""

    number: int
    fd: int
    vm: int
    pid: int
    limit_bytes: int
    largest_bytes: int

    def message(self) -> bytes:
        """Return what the guardian is told of it."""
        return f"hold {self.number} {self.vm} {self.pid} {self.limit_bytes} {self.largest_bytes}".encode()

    def drop(self) -> None:
        """Guard it no longer (`Guardian.drop`)."""
        _guardian.drop(self)

    @property
    def full(self) -> Full | None:
        """Why the guardian sealed it; None if it did not (`Guardian.why_full`)."""
        return _guardian.why_full(self)


class Guardian:
    """Starts, feeds and ends the process; a guardian that died is replaced by the next call."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._held: dict[int, Guarded] = {}
        self._full: dict[int, Full] = {}
        self._next = 0

    def __repr__(self) -> str:
        return f"<Guardian pid={self._process.pid if self._process else None} of {len(self._held)} files>"

    @property
    def pid(self) -> int | None:
        """The process that guards now."""
        return self._process.pid if self._process else None

    def hold(
        self, fd: int, *, vm: int, pid: int | None, limit_bytes: int, largest_bytes: int = 1 << 62
    ) -> Guarded:
        """Guard a memfd: one of the VM known to us as `vm`, whose process is `pid` where that is known.

        The VM's memfds together may have `limit_bytes` allocated, each may be `largest_bytes` long.
        """
        guarded = Guarded(self._next, fd, vm, pid or 0, limit_bytes, largest_bytes)
        self._next += 1
        self._held[guarded.number] = guarded
        try:
            if not self.check():
                self._tell(guarded)
        except BaseException:
            del self._held[guarded.number]
            raise
        return guarded

    def drop(self, guarded: Guarded) -> None:
        """Guard it no longer: QEMU has stopped to write there. Without anything to guard the process ends."""
        self._full.pop(guarded.number, None)
        if self._held.pop(guarded.number, None) is None:
            return
        if self._held and self.check():
            return
        if self._socket is not None:
            self._send(f"drop {guarded.number}".encode(), [])
        if not self._held:
            self._end()

    def why_full(self, guarded: Guarded) -> Full | None:
        """Say why the guardian sealed a memfd: what its VM's memfds hold together, or its own length; None: not yet."""
        while self._socket is not None:
            try:
                said = self._socket.recv(65_536, socket.MSG_DONTWAIT).split()
            except OSError:
                break
            if not said:
                break
            self._full |= dict.fromkeys(map(int, said[2:]), Full(said[1].decode()))
        return self._full.get(guarded.number)

    def check(self) -> bool:
        """Start a guardian where there is none (any more) though something is to be guarded; say if it was so."""
        if not self._held or (self._process is not None and self._process.poll() is None):
            return False
        self._end()
        self._start()
        for guarded in self._held.values():
            self._tell(guarded)
        return True

    def _start(self) -> None:
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ourselves = os.pidfd_open(os.getpid())
        try:
            words = [sys.executable, "-I", "-S", str(_MAIN), str(its.fileno()), str(ourselves)]
            self._process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(its.fileno(), ourselves),
                start_new_session=True,
                cwd="/",
            )
        except OSError as problem:
            ours.close()
            raise QmonError(
                f"cannot start the process that cleans up after qmon: {problem.strerror}",
                hint="Nothing was captured: qmon does not tap a VM without it.",
            ) from problem
        finally:
            its.close()
            os.close(ourselves)
        self._socket = ours

    def _tell(self, guarded: Guarded) -> None:
        self._send(guarded.message(), [guarded.fd])

    def _send(self, message: bytes, fds: list[int]) -> None:
        assert self._socket is not None
        try:
            socket.send_fds(self._socket, [message], fds)
        except (BrokenPipeError, ConnectionResetError):
            return  # It has just died; the next `check` starts another and tells it all.

    def _end(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._process is not None:
            try:
                self._process.wait(_ENDING_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None


_guardian = Guardian()


def guardian() -> Guardian:
    """Return this process's guardian."""
    return _guardian
