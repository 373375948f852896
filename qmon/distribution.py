"""The command that installs a program on this distribution.

Owns the names of packages per distribution. Must never install anything.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path


class Program(StrEnum):
    """What can be missing; the value is what to look for where the distribution is unknown."""

    QEMU = "QEMU's emulator of x86 PCs and its iPXE boot ROMs (often qemu-system-x86 and ipxe-qemu)"
    WIRESHARK = "Wireshark (often the package wireshark)"
    TSHARK = "tshark (often the package tshark or wireshark-cli)"


_APT = "apt-get install --no-install-recommends "
_DEBIAN = {
    Program.QEMU: _APT + "qemu-system-x86 ipxe-qemu",
    Program.WIRESHARK: "apt-get install wireshark",
    Program.TSHARK: "apt-get install tshark",
}
_SUSE = {
    Program.QEMU: "zypper install qemu-x86 qemu-ipxe",
    Program.WIRESHARK: "zypper install wireshark",
    Program.TSHARK: "zypper install wireshark",
}
# Distribution (ID or ID_LIKE of os-release) → program → the command, to be run as root.
_COMMANDS: Mapping[str, Mapping[Program, str]] = {
    "debian": _DEBIAN,
    "ubuntu": _DEBIAN,
    "fedora": {
        Program.QEMU: "dnf install qemu-system-x86-core ipxe-roms-qemu",
        Program.WIRESHARK: "dnf install wireshark",
        Program.TSHARK: "dnf install wireshark-cli",
    },
    "arch": {
        Program.QEMU: "pacman -S qemu-system-x86",
        Program.WIRESHARK: "pacman -S wireshark-qt",
        Program.TSHARK: "pacman -S wireshark-cli",
    },
    "suse": _SUSE,
    "opensuse": _SUSE,
    "alpine": {
        Program.QEMU: "apk add qemu-system-x86_64",
        Program.WIRESHARK: "apk add wireshark",
        Program.TSHARK: "apk add tshark",
    },
    "gentoo": {
        Program.QEMU: "emerge app-emulation/qemu",
        Program.WIRESHARK: "emerge net-analyzer/wireshark",
        Program.TSHARK: "emerge net-analyzer/wireshark",
    },
}
_NIXOS = {Program.QEMU: "qemu", Program.WIRESHARK: "wireshark", Program.TSHARK: "tshark"}


def how_to_install(program: Program, os_release: str | None = None, *, root: bool | None = None) -> str:
    """Return the sentence with the command that installs a program on this distribution.

    `os_release` is the text of /etc/os-release, `root` whether no sudo is needed; both are found out if not told.
    """
    fields = dict(_fields(_os_release() if os_release is None else os_release))
    names = [fields.get("ID", ""), *fields.get("ID_LIKE", "").split()]
    if "nixos" in names:
        return f"For a shell that has it: nix-shell -p {_NIXOS[program]}"
    for name in names:
        commands = _COMMANDS.get(name) or _COMMANDS.get(name.partition("-")[0])
        if commands:
            sudo = "" if (os.geteuid() == 0 if root is None else root) else "sudo "
            return f"Install it with: {sudo}{commands[program]}"
    return f"Install {program}"


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
