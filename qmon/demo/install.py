"""What this machine lacks for the demo, and the command that installs it.

Owns the finding of QEMU and the names of its packages per distribution. Must never install anything.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from qmon.errors import QmonError

_PROGRAMS = ("qemu-system-x86_64", "qemu-system-i386")

# Distribution (ID or ID_LIKE of os-release) → the command that brings QEMU for PCs and its iPXE boot ROMs.
_COMMANDS: Mapping[str, str] = {
    "debian": "apt-get install --no-install-recommends qemu-system-x86 ipxe-qemu",
    "ubuntu": "apt-get install --no-install-recommends qemu-system-x86 ipxe-qemu",
    "fedora": "dnf install qemu-system-x86-core ipxe-roms-qemu",
    "arch": "pacman -S qemu-system-x86",
    "suse": "zypper install qemu-x86 qemu-ipxe",
    "opensuse": "zypper install qemu-x86 qemu-ipxe",
    "alpine": "apk add qemu-system-x86_64",
    "gentoo": "emerge app-emulation/qemu",
    "void": "xbps-install -S qemu-system-amd64",
}
_NIXOS = "nix-shell -p qemu"


def find_qemu(program: str | None = None) -> str:
    """Return the path of the QEMU to use: `program` if given, else the first of PATH that emulates a PC."""
    for name in (program,) if program else _PROGRAMS:
        if found := shutil.which(name):
            return found
    wanted = program or " or ".join(_PROGRAMS)
    raise QmonError(f"QEMU is not installed: there is no {wanted} in PATH", hint=how_to_install())


def how_to_install(os_release: str | None = None, *, root: bool | None = None) -> str:
    """Return the sentence with the command that installs QEMU and its boot ROMs on this distribution."""
    fields = dict(_fields(_os_release() if os_release is None else os_release))
    names = [fields.get("ID", ""), *fields.get("ID_LIKE", "").split()]
    if "nixos" in names:
        return f"For a shell that has it: {_NIXOS}"
    for name in names:
        command = _COMMANDS.get(name) or _COMMANDS.get(name.partition("-")[0])
        if command:
            sudo = "" if (os.geteuid() == 0 if root is None else root) else "sudo "
            return f"Install it with: {sudo}{command}"
    return (
        "Install QEMU's emulator of x86 PCs (often the package qemu-system-x86) and its iPXE boot ROMs "
        "(often ipxe-qemu or ipxe-roms-qemu)"
    )


def _os_release() -> str:
    # In the order of os-release(5).
    for path in (Path("/etc/os-release"), Path("/usr/lib/os-release")):
        try:
            return path.read_text(errors="replace")
        except OSError:
            continue
    return ""


def _fields(text: str) -> Iterable[tuple[str, str]]:
    for line in text.splitlines():
        name, assigned, value = line.partition("=")
        if assigned:
            yield name.strip(), value.strip().strip("\"'").lower()
