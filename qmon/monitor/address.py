"""The ways a user may name a VM: a monitor's address, a pid, or the VM's name. Pure.

Owns the spelling of addresses. Must never look whether anything is there.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from qmon.errors import UsageError

_PID = re.compile(r"pid:([0-9]{1,10})")
_PADDED = ",tight=off"
_HOST_PORT = re.compile(r"(?:tcp:)?(\[[0-9A-Fa-f:.%\w]+\]|[^\s/:\[\]]+):([0-9]{1,5})")


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """A unix socket; an abstract one starts with ``@``.

    The name of a `padded` one fills its address with NULs, as QEMU makes it with tight=off.
    """

    path: str
    padded: bool = False

    def __str__(self) -> str:
        return f"unix:{self.path}{_PADDED if self.padded else ''}"


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """A TCP port; `host` is a name or an address without brackets."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Pid:
    """The QEMU process with this number."""

    pid: int

    def __str__(self) -> str:
        return f"pid:{self.pid}"


@dataclass(frozen=True, slots=True)
class Name:
    """The VM that was started with this ``-name``."""

    name: str

    def __str__(self) -> str:
        return self.name


Address = UnixAddress | TcpAddress
Target = UnixAddress | TcpAddress | Pid | Name


def parse_target(text: str) -> Target:
    """Return what `text` names: ``unix:PATH``, a path with a slash, ``pid:N``, ``HOST:PORT``, or else a name.

    Raises UsageError for what cannot name anything.
    """
    if text.startswith("unix:"):
        return _unix(text.removeprefix("unix:"), text)
    if match := _PID.fullmatch(text):
        return Pid(int(match[1]))
    if "/" in text:
        return _unix(text, text)
    if match := _HOST_PORT.fullmatch(text):
        port = int(match[2])
        if not 0 < port < 65536:
            raise UsageError(f"'{text}': {port} is not a TCP port", hint="a port is a number from 1 to 65535")
        return TcpAddress(match[1].strip("[]"), port)
    if not text or "\0" in text:
        raise UsageError("the name of the VM is empty", hint="`qmon ls` lists the VMs running here")
    return Name(text)


def _unix(path: str, given: str) -> UnixAddress:
    if not path or "\0" in path:
        raise UsageError(f"'{given}' names no socket", hint="say unix:/path/to/socket")
    if path.startswith("@"):
        return UnixAddress(path.removesuffix(_PADDED), padded=path.endswith(_PADDED))
    return UnixAddress(os.path.abspath(path))  # noqa: PTH100
