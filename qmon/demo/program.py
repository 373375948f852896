"""The QEMU that the demo runs in. Owns the looking for it; must never install one."""

from __future__ import annotations

import shutil

from qmon.distribution import Program, how_to_install
from qmon.errors import QmonError

_PROGRAMS = ("qemu-system-x86_64", "qemu-system-i386")


def find_qemu(program: str | None = None) -> str:
    """Return the path of the QEMU to use: `program` if given, else the first of PATH that emulates a PC."""
    for name in (program,) if program else _PROGRAMS:
        if found := shutil.which(name):
            return found
    wanted = program or " or ".join(_PROGRAMS)
    raise QmonError(f"QEMU is not installed: there is no {wanted} in PATH", hint=how_to_install(Program.QEMU))
