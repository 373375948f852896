"""The lab's cache outside the tree: things that are expensive to make, made once, by one process at a time.

An entry is a directory that appears under its final name only when it is complete: it is built beside it and
renamed. Interrupted builds leave a `tmp-…` directory that the next build of the same entry removes.
"""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


class LabError(Exception):
    """The lab cannot provide what was asked for; the message says what is missing and why."""


def root() -> Path:
    """The cache's directory: $QMON_LAB_CACHE, else `qmon-lab` in the user's cache directory."""
    told = os.environ.get("QMON_LAB_CACHE")
    path = (
        Path(told) if told else Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "qmon-lab"
    )
    path.mkdir(parents=True, exist_ok=True)
    return path.resolve()


@contextmanager
def _locked(name: str) -> Iterator[None]:
    with (root() / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def entry(name: str, build: Callable[[Path], None]) -> Path:
    """The directory of `name`, built by `build(directory)` if it is not there yet.

    Whatever `build` raises leaves no entry behind, so that the next call tries again.
    """
    path = root() / name
    if path.is_dir():
        return path
    with _locked(name):
        if not path.is_dir():
            making = root() / f"tmp-{name}"
            shutil.rmtree(making, ignore_errors=True)
            making.mkdir()
            build(making)
            making.rename(path)
    return path


def drop(name: str) -> None:
    """Forget the entry `name`; the next `entry` builds it anew."""
    with _locked(name):
        shutil.rmtree(root() / name, ignore_errors=True)
