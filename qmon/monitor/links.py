"""How qmons have set the links of a VM's NICs, kept for each other in the runtime directory: QEMU cannot be asked.

One file a VM, named by its process and start, so that a later process of the same pid is not taken for it. Owns the
file's form. Must never fail its user: what cannot be kept or read is not known.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

from qmon.errors import QmonError
from qmon.monitor.processes import start_ticks
from qmon.monitor.sharing import runtime_directory

_PREFIX = "links-"
_LIMIT_BYTES = 1 << 20


def known(pid: int | None) -> dict[str, bool]:
    """Return the states known, by NIC (or netdev): True is up."""
    path = _path_of(pid)
    try:
        if path is None or path.stat().st_size > _LIMIT_BYTES:
            return {}
        states = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    return (
        {name: up for name, up in states.items() if isinstance(up, bool)} if isinstance(states, dict) else {}
    )


def remember(pid: int | None, name: str, up: bool | None) -> None:
    """Keep how a link was set; None: nothing is known any longer, for a new NIC begins with its link up."""
    path = _path_of(pid)
    if path is None:
        return
    states = known(pid)
    before = dict(states)
    states.pop(name, None)
    if up is not None:
        states[name] = up
    if states == before:
        return
    with suppress(OSError):
        if not path.exists():
            _forget_the_dead(path.parent)
        made = path.with_suffix(f".{os.getpid()}")
        made.write_text(json.dumps(states))
        made.replace(path)


def _path_of(pid: int | None) -> Path | None:
    start = start_ticks(pid) if pid else None
    if start is None:
        return None
    try:
        return runtime_directory() / f"{_PREFIX}{pid}-{start}.json"
    except (QmonError, OSError):
        return None


def _forget_the_dead(folder: Path) -> None:
    for path in folder.glob(f"{_PREFIX}*-*"):
        pid, _, start = path.stem.removeprefix(_PREFIX).partition("-")
        if pid.isdecimal() and str(start_ticks(int(pid))) != start:
            with suppress(OSError):
                path.unlink()
