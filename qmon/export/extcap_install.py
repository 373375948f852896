"""Putting qmon among Wireshark's capture programs, and taking it out again.

Owns the finding of the folder this Wireshark looks in, and the launcher put there. Must never leave a launcher
that Wireshark does not run: what `tshark -D` does not show is taken away again.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from qmon.distribution import Program, how_to_install
from qmon.errors import QmonError

LAUNCHER = "qmon"
ANSWER_S = 30.0
_MARK = "# Put here by `qmon extcap --install`; `qmon extcap --uninstall` takes it away."
_FOLDER = re.compile(r"^(?P<what>[^:]*extcap[^:]*):\s+(?P<path>/.*\S)\s*$", re.IGNORECASE | re.MULTILINE)
_PERSONAL = re.compile(r"^Personal configuration:\s+(?P<path>/.*\S)\s*$", re.MULTILINE)
_VERSION = re.compile(r"\b(\d+)\.(\d+)\.\d+")
# A listed interface: `18. qmon (…)`.
_LISTED = re.compile(rf"^\d+\.\s+{LAUNCHER}\b", re.MULTILINE)

Ask = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Installed:
    """Where the launcher is, and the lines of qmon's that Wireshark lists."""

    launcher: Path
    interfaces: tuple[str, ...]


def install() -> Installed:
    """Put the launcher where this Wireshark looks; `QmonError` if none of its folders takes it."""
    ask = _wireshark()
    version, listing = ask("--version"), ask("-G folders")
    candidates, systems = folders(version, listing), _systems(listing)
    _remove(
        candidates
    )  # One left in another folder, by an older Wireshark's time, would be listed in its place.
    tried: list[str] = []
    taken: Path | None = None
    for folder in candidates:
        if taken is not None and folder in systems:
            # What is there for everybody is changed on purpose, not because a personal name is taken.
            raise QmonError(
                f"{taken}: another program lies there",
                hint="Move it away, then run qmon extcap --install again.",
            )
        launcher = folder / LAUNCHER
        if launcher.exists():
            taken = launcher
            tried.append(f"{launcher}: another program lies there")
            continue
        try:
            _write(launcher)
        except OSError as problem:
            tried.append(f"{folder}: {problem.strerror}")
            continue
        listed = ask("-D")
        if _LISTED.search(listed):
            return Installed(launcher, tuple(line for line in listed.splitlines() if f" {LAUNCHER}" in line))
        launcher.unlink()
        tried.append(f"{folder}: Wireshark does not look there")
    raise QmonError(
        "Wireshark lists no interface of qmon's, wherever it was put: " + "; ".join(tried),
        hint="`tshark -D` shows what it lists; Help > About > Folders in Wireshark shows its extcap folders",
    )


def uninstall() -> tuple[Path, ...]:
    """Take our launcher out of every folder Wireshark may look in; return the paths removed."""
    ask = _wireshark()
    return _remove(folders(ask("--version"), ask("-G folders")))


def folders(version: str, listing: str) -> tuple[Path, ...]:
    """Return where a Wireshark may look for capture programs of a user's, the likeliest first.

    `version` is what it prints for --version, `listing` for -G folders. Up to 4.0 the personal folder is
    in the configuration's and is not listed; since 4.2 it is in the personal library's (release notes).
    """
    return tuple(dict.fromkeys(_folders(version, listing)))


def _folders(version: str, listing: str) -> Iterator[Path]:
    named = [(found["what"].lower(), Path(found["path"])) for found in _FOLDER.finditer(listing)]
    yield from (path for what, path in named if "personal" in what)
    personal = _PERSONAL.search(listing)
    ours = [Path(personal["path"]) / "extcap"] if personal else []
    number = _VERSION.search(version)
    library = Path.home() / ".local/lib/wireshark/extcap"
    if number and (int(number[1]), int(number[2])) >= (4, 1):
        yield from (library, *ours)
    else:
        yield from (*ours, library)
    yield from (path for what, path in named if "personal" not in what)


def _systems(listing: str) -> frozenset[Path]:
    """Return the folders that are there for all users of this host."""
    named = ((found["what"].lower(), Path(found["path"])) for found in _FOLDER.finditer(listing))
    return frozenset(path for what, path in named if "personal" not in what)


def launcher_text() -> str:
    """Return the launcher: a script that runs this very qmon with this very interpreter."""
    return f'#!/bin/sh\n{_MARK}\nexec {shlex.quote(sys.executable)} -P -m qmon extcap "$@"\n'


def _write(launcher: Path) -> None:
    launcher.parent.mkdir(parents=True, exist_ok=True)
    # Written beside and moved: Wireshark may be listing its folder right now.
    fresh = launcher.with_name(f".{LAUNCHER}.new")
    fresh.write_text(launcher_text())
    fresh.chmod(0o755)
    fresh.replace(launcher)


def _remove(candidates: tuple[Path, ...]) -> tuple[Path, ...]:
    removed = []
    for launcher in (folder / LAUNCHER for folder in candidates):
        if launcher.is_file() and _MARK.encode() in launcher.read_bytes():
            launcher.unlink()
            removed.append(launcher)
    return tuple(removed)


def _wireshark() -> Ask:
    """Return how to ask the installed Wireshark; `QmonError` if there is none."""
    program = shutil.which("tshark") or shutil.which("wireshark")
    if program is None:
        raise QmonError("neither tshark nor wireshark is installed", hint=how_to_install(Program.TSHARK))

    def ask(words: str) -> str:
        command = [program, *words.split()]
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                timeout=ANSWER_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise QmonError(f"{program} {words} gave no answer in {ANSWER_S:.0f} s") from None
        return done.stdout.decode(errors="replace")

    return ask
