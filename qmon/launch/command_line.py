"""The user's QEMU command line and what qmon makes of it (pure).

Owns the monitor that is added, and the moving of what wants the terminal to a pty. Must never change what the
guest sees, nor which monitors the user asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from qmon.errors import Refused, UsageError

# Options whose value is a character device in the short form of QEMU's `-serial`.
_DEVICE_OPTIONS = frozenset({"serial", "monitor", "qmp", "qmp-pretty", "parallel", "debugcon", "gdb"})
_MONITOR_OPTIONS = frozenset({"monitor", "qmp", "qmp-pretty", "mon"})


@dataclass(frozen=True, slots=True)
class Plan:
    """`words` to start; `starts_paused` is the user's own -S, so that it is not for qmon to let the VM go."""

    words: tuple[str, ...]
    starts_paused: bool


def plan(command: Sequence[str], configuration: Path, *, dashboard: bool) -> Plan:
    """Return what to start for `command`, with the monitor of the file `configuration` added and paused.

    With the `dashboard`, what would read and write the terminal goes to a pty. Raises `Refused` for what qmon
    cannot own, `UsageError` for no command.
    """
    if not command:
        raise UsageError("no QEMU command", hint="qmon run -- qemu-system-x86_64 …")
    options = {_option(word) for word in command[1:]}
    if "daemonize" in options:
        raise Refused(
            "-daemonize is refused: QEMU would leave this qmon, which is to end it and to return its status",
            hint="run it in the background with your shell: qmon run -w FILE -- … &",
        )
    if "preconfig" in options:
        raise Refused(
            "-preconfig is refused: QEMU would not make its netdevs before a client sends x-exit-preconfig",
            hint="start QEMU by hand and attach with `qmon dump` or `qmon`",
        )
    words = list(_on_ptys(command)) if dashboard else list(command)
    # By -readconfig, for -mon or -qmp would take QEMU's default monitor away (system/vl.c: default_monitor).
    words += ["-S", "-readconfig", str(configuration)]
    return Plan(tuple(words), "S" in options)


def configuration(socket: Path) -> str:
    """Return the text of a file for -readconfig that adds a QMP monitor listening on `socket`."""
    return (
        f'[chardev "qmon"]\n  backend = "socket"\n  path = "{socket}"\n  server = "on"\n  wait = "off"\n'
        '[mon "qmon"]\n  chardev = "qmon"\n  mode = "control"\n'
    )


def _option(word: str) -> str | None:
    """Return the name if the word is an option; QEMU takes one dash or two."""
    return word.removeprefix("-").removeprefix("-") if word.startswith("-") else None


def _on_ptys(command: Sequence[str]) -> Iterable[str]:
    """Yield the words with every use of the terminal replaced by a pty of QEMU's own."""
    options: list[str] = []
    for number, word in enumerate(command):
        before = _option(command[number - 1]) if number > 1 else None
        option = _option(word) if before not in _DEVICE_OPTIONS else None
        if option is not None:
            options.append(option)
        if option == "curses" or (before == "display" and word.split(",")[0] == "curses"):
            raise Refused(
                "a curses display and the dashboard cannot share the terminal",
                hint="record without the dashboard: qmon run -w FILE -- …",
            )
        yield _on_pty(before, word)
    yield from _nographic_on_ptys(options, command)


def _on_pty(option: str | None, value: str) -> str:
    if option in _DEVICE_OPTIONS and value in ("stdio", "mon:stdio"):
        return value.replace("stdio", "pty")
    if option == "chardev" and value.split(",")[0] == "stdio":
        # `signal` is an option of stdio alone.
        kept = [part for part in value.split(",")[1:] if not part.startswith(("signal=", "nosignal"))]
        return ",".join(["pty", *kept])
    return value


def _nographic_on_ptys(options: Sequence[str], command: Sequence[str]) -> Iterable[str]:
    """Yield the options that give -nographic's default devices a pty.

    Which these are: QEMU's system/vl.c, qemu_create_default_devices.
    """
    if "nographic" not in options or "nodefaults" in options:
        return
    serial = "serial" not in options
    monitor = not _MONITOR_OPTIONS.intersection(options) and not _multiplexed(command)
    if serial:
        yield from ("-serial", "mon:pty" if monitor else "pty")
    elif monitor:
        yield from ("-monitor", "pty")


def _multiplexed(command: Sequence[str]) -> bool:
    """Tell whether a -serial carries the monitor too."""
    return any(_option(word) == "serial" and value.startswith("mon:") for word, value in pairwise(command))
