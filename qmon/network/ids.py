"""The names of qmon's objects inside QEMU: who made them, and whether that one still lives.

Every filter, chardev and descriptor that qmon gives to a VM is named here, so that the sweep knows them all. Owns the
spelling of the ids and the judgement of other qmons' objects. Must never send anything to a VM.
"""

from __future__ import annotations

import itertools
import os
import re
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Self

from qmon.monitor.processes import start_ticks

PREFIX = "qmon-"
_numbers = itertools.count()


class Purpose(StrEnum):
    """What an object of ours is for; the end of its id."""

    RX = "rx"  # A filter on what the guest sends.
    TX = "tx"  # A filter on what the guest receives.
    PROBE = "probe"  # A filter that never comes to be: it asks whether a netdev can have one.
    PATH = "path"  # A chardev that asks whether QEMU may open a path.
    MIRROR = "mirror"  # A chardev's name that stands for none.
    FD = "fd"  # A descriptor that was passed.
    WIRE = "wire"  # What frames are put on a wire through: a redirector, and the chardev of the same name.


# boot id (12 hex digits of it), pid namespace (inode), pid, start (clock ticks after boot), number, purpose.
_PATTERN = re.compile(
    r"qmon-([0-9a-f]{12})-([0-9]{1,20})-([0-9]{1,20})-([0-9]{1,20})-([0-9]{1,20})(" + "|".join(Purpose) + ")"
)


class Life(StrEnum):
    """What is known of the process that made an object."""

    OURS = "ours"
    ALIVE = "alive"
    GONE = "gone"
    FOREIGN = "foreign"


@cache
def boot_id() -> str:
    """Return what tells this run of this host from all others."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().replace("-", "")[:12]


@cache
def _pid_namespace() -> int:
    return Path("/proc/self/ns/pid").stat().st_ino


@dataclass(frozen=True, slots=True)
class Owner:
    """One process on one host, told from all others for ever."""

    boot: str
    pid_namespace: int
    pid: int
    start: int

    @classmethod
    def this_process(cls) -> Self:
        """Return what identifies the running qmon."""
        pid = os.getpid()
        return cls(boot_id(), _pid_namespace(), pid, start_ticks(pid) or 0)

    def life(self) -> Life:
        """Say whether the process lives; `FOREIGN` where that cannot be seen from here."""
        if self == Owner.this_process():
            return Life.OURS
        if self.boot != boot_id() or self.pid_namespace != _pid_namespace():
            return Life.FOREIGN
        return Life.ALIVE if start_ticks(self.pid) == self.start else Life.GONE

    def name(self, number: int, purpose: str) -> str:
        """Return the id of this owner's object `number`; `purpose` is one of `Purpose`."""
        return f"{PREFIX}{self.boot}-{self.pid_namespace}-{self.pid}-{self.start}-{number}{purpose}"


def new_id(purpose: Purpose) -> str:
    """Return an id that no other object of any qmon has, for one that this process is about to make."""
    return Owner.this_process().name(next(_numbers), purpose)


def owner_of(name: str) -> Owner | None:
    """Read the owner out of an object's id; None if no qmon made it."""
    found = _PATTERN.fullmatch(name)
    if found is None:
        return None
    return Owner(found[1], int(found[2]), int(found[3]), int(found[4]))
