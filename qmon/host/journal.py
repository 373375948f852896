"""A change of the host's network, whole or taken back, whatever becomes of the qmon that makes it.

Before the first step, what takes all of them back is written to a file below `/run/qmon`, and a process is forked that
watches. It holds one end of a pipe: told "keep", it leaves the change; when the other end closes
without that word, or a change that was to be confirmed is not in time, it takes everything back. Owns that order. Must
never do a step before that process says that it watches.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NoReturn

from qmon.errors import QmonError, Refused
from qmon.host import kernel
from qmon.host.steps import Deed, HostStep

DIRECTORY = Path("/run/qmon/host")
CONFIRM_S = 30.0
READY, KEEP, KEPT, UNDONE = b"watching\n", b"keep\n", b"kept\n", b"taken back\n"
_LONGEST_WORD = 64


@dataclass(frozen=True, slots=True)
class Record:
    """What was done, or is about to be, and what takes it back, each in the order it is to be done in."""

    done: tuple[HostStep, ...]
    back: tuple[HostStep, ...]


def take_back(steps: Iterable[HostStep]) -> list[str]:
    """Do all of these steps, also after one that fails; return what failed."""
    failed = []
    for step in steps:
        try:
            kernel.do(step)
        except QmonError as problem:
            failed.append(problem.message)
    return failed


def read(path: Path) -> Record:
    """Read a journal; OSError if there is none, `Refused` if it is damaged."""
    try:
        content = json.loads(path.read_text())
        done, back = (tuple(HostStep(**step) for step in content[part]) for part in ("done", "back"))
    except (ValueError, KeyError, TypeError) as problem:
        raise Refused(f"{path} is damaged: {problem}") from None
    return Record(done, back)


def made(name: str) -> Path:
    """Return the journal that is kept for as long as the interface `name`, which qmon made, is there."""
    return DIRECTORY / "made" / f"{name}.json"


def carry_out(name: str, deeds: Sequence[Deed], *, confirm: Callable[[], bool] | None = None) -> None:
    """Do all of it or none, and keep for `name` what takes it back.

    `confirm` is called when all is done, and has `CONFIRM_S` for its answer; without a yes everything is taken back.
    `Refused` says which step failed.
    """
    back = tuple(step for deed in reversed(deeds) for step in deed.back)
    _carry_out(name, Record(tuple(deed.step for deed in deeds), back), "keep", confirm)


def carry_back(name: str, record: Record, *, confirm: Callable[[], bool] | None = None) -> None:
    """Take back what was done for `name`, all of it or nothing; as `carry_out` otherwise."""
    _carry_out(name, Record(record.back, record.done), "forget", confirm)


def _carry_out(name: str, record: Record, then: str, confirm: Callable[[], bool] | None) -> None:
    recover()
    with _Watcher(name, record, then) as watcher:
        try:
            for step in record.done:
                kernel.do(step)
            if confirm is not None and not confirm():
                raise Refused("not confirmed")
        except BaseException as problem:
            watcher.undo()
            if isinstance(problem, QmonError):
                problem.message = f"{problem.message}; everything is as it was before"
            raise
        watcher.keep()


def recover() -> None:
    """Take back the changes whose qmon and whose watching process were both killed in the middle."""
    for path in sorted(DIRECTORY.glob("*.json")):
        with path.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue  # It is being watched.
            take_back(read(path).back)
            path.unlink(missing_ok=True)


def _write(path: Path, record: Record) -> int:
    """Write a journal that is there whole or not at all; return a descriptor that holds its lock."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    fcntl.flock(fd, fcntl.LOCK_EX)
    steps = {"done": [asdict(step) for step in record.done], "back": [asdict(step) for step in record.back]}
    os.write(fd, json.dumps({"version": 1, **steps}).encode())
    os.fsync(fd)
    new.rename(path)
    return fd


class _Watcher:
    """The process that takes a change back unless it is told to keep it."""

    def __init__(self, name: str, record: Record, then: str) -> None:
        path = DIRECTORY / f"{name}.{os.getpid()}.json"
        try:
            made(name).parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            lock = _write(path, record)
        except PermissionError:
            raise Refused("the host's network is root's to change", hint="sudo qmon …") from None
        heard, say = os.pipe()
        self._hear, said = os.pipe()
        self._say: int | None = say
        # A fork and not a new program: nothing has to be loaded when the way to it may be cut.
        self._pid = os.fork()
        if not self._pid:
            os.close(say)
            os.close(self._hear)
            watch(path, made(name), record.back, then, heard=heard, said=said)
        for fd in (lock, heard, said):
            os.close(fd)

    def __enter__(self) -> _Watcher:
        if self._answer() != READY:
            raise QmonError("the process that would take the change back does not run; nothing was done")
        return self

    def __exit__(self, *_: object) -> None:
        if self._say is not None:
            os.close(self._say)
        os.close(self._hear)
        os.waitpid(self._pid, 0)

    def keep(self) -> None:
        """Keep the change; `Refused` if it was too late for that."""
        assert self._say is not None
        with suppress(BrokenPipeError):
            os.write(self._say, KEEP)
        if self._answer() != KEPT:
            raise Refused("not confirmed in time; everything is as it was before")

    def undo(self) -> None:
        """Have everything taken back, and wait until it is."""
        assert self._say is not None
        os.close(self._say)
        self._say = None
        self._answer()

    def _answer(self) -> bytes:
        return os.read(self._hear, _LONGEST_WORD)


def watch(path: Path, kept: Path, back: Sequence[HostStep], then: str, *, heard: int, said: int) -> NoReturn:
    """Be the process that watches: wait for the word, the end of the pipe or of the time; keep or take back; end.

    It outlives the qmon that it was forked from, a closed terminal and a lost ssh. `then` says what becomes of the
    journal of a change that is kept: ``keep`` puts it at `kept`, ``forget`` removes both.
    """
    try:
        os.setsid()
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE):
            signal.signal(number, signal.SIG_IGN)
        nothing = os.open(os.devnull, os.O_RDWR)
        for fd in range(3):
            os.dup2(nothing, fd)
        os.write(said, READY)
        waited = select.select([heard], [], [], CONFIRM_S)[0]
        if waited and os.read(heard, _LONGEST_WORD) == KEEP:
            answer = _kept(path, kept, then)
        else:
            failed = take_back(back)
            if failed:
                path.with_suffix(".failed").write_text("\n".join(failed) + "\n")
            path.unlink(missing_ok=True)
            answer = UNDONE
        with suppress(OSError):  # Nobody may be left to hear it.
            os.write(said, answer)
    finally:
        os._exit(0)


def _kept(path: Path, kept: Path, then: str) -> bytes:
    if then == "keep":
        path.rename(kept)
    else:
        kept.unlink(missing_ok=True)
        path.unlink(missing_ok=True)
    return KEPT
