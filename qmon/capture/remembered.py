"""What qmons know of a VM's addresses, kept for each other in the runtime directory as long as the VM lives.

One file a VM, named by its process and start, so that a later process of the same pid is not taken for it. Owns the
file's form. Must never fail its user: what cannot be kept or read is not known.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from pathlib import Path

from qmon.errors import QmonError
from qmon.monitor.processes import start_ticks
from qmon.monitor.sharing import runtime_directory
from qmon.packets.analysis.addresses import AddressBook, Source

_SAVED_EVERY_S = 1.0
_LIMIT_BYTES = 1 << 20
_SOURCES = frozenset(Source)


class Remembered:
    """The addresses of the VM with the process `pid`, shared among qmons; with None they stay here."""

    def __init__(self, pid: int | None) -> None:
        self.book = AddressBook()
        self._path = _path_of(pid)
        self._saved_version = 0
        self._saved_s = 0.0
        if self._path is not None:
            _load(self._path, self.book)
            self._saved_version = self.book.version

    def __repr__(self) -> str:
        return f"<Remembered {self.book!r}>"

    def save(self, *, at_once: bool = False) -> None:
        """Keep what is new for the others, at most once a second unless `at_once`."""
        now = time.monotonic()
        if (
            self._path is None
            or self.book.version == self._saved_version
            or (now - self._saved_s < _SAVED_EVERY_S and not at_once)
        ):
            return
        self._saved_version, self._saved_s = self.book.version, now
        # What another qmon has learnt meanwhile is not lost.
        _load(self._path, self.book)
        with suppress(OSError):
            _write(self._path, self.book)


def _path_of(pid: int | None) -> Path | None:
    start = start_ticks(pid) if pid else None
    if start is None:
        return None
    try:
        return runtime_directory() / f"addresses-{pid}-{start}.json"
    except (QmonError, OSError):
        return None


def _write(path: Path, book: AddressBook) -> None:
    if not path.exists():
        _forget_the_dead(path.parent)
    rows = [
        [netdev, mac, one.address, one.source, one.seen_ns]
        for (netdev, mac), known in book.entries().items()
        for one in known
    ]
    made = path.with_suffix(f".{os.getpid()}")
    made.write_text(json.dumps(rows))
    made.replace(path)


def _load(path: Path, book: AddressBook) -> None:
    try:
        if path.stat().st_size > _LIMIT_BYTES:
            return
        rows = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        return
    for row in rows if isinstance(rows, list) else ():
        match row:
            case [str(netdev), str(mac), str(address), str(source), int(seen_ns)] if source in _SOURCES:
                book.learn(netdev, mac, address, Source(source), seen_ns)


def _forget_the_dead(folder: Path) -> None:
    for path in folder.glob("addresses-*-*"):
        pid, _, start = path.stem.removeprefix("addresses-").partition("-")
        if pid.isdecimal() and start_ticks(int(pid)) != (int(start) if start.isdecimal() else None):
            with suppress(OSError):
                path.unlink()
