"""The three QEMUs the tests run on, and how each is had.

A QEMU is either the system's own or Debian's packages unpacked into the cache with every library they need, run
through the dynamic loader among them: nothing of the system's is mixed in, so it runs on any x86_64 Linux.
"""

import functools
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.lab import cache
from tests.lab.cache import LabError
from tests.lab.packages import Archive, unpack

__all__ = ["RECIPES", "LabError", "Qemu", "Recipe", "found", "get", "lacking", "system"]


@dataclass(frozen=True, slots=True)
class Qemu:
    """One QEMU: `version` is "7.2", `full` "7.2.22", `argv` what runs it, `env` what to add to the environment."""

    version: str
    full: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)

    @property
    def number(self) -> tuple[int, int]:
        """(major, minor), for comparing."""
        major, minor = self.version.split(".")
        return int(major), int(minor)


@dataclass(frozen=True, slots=True)
class Recipe:
    """Where a version comes from: the Debian release and the suite of it that holds the package."""

    version: str
    release: str
    suite: str


RECIPES = (
    Recipe("7.2", "bookworm", "bookworm"),
    Recipe("10.0", "bookworm", "bookworm-backports"),
    Recipe("11.1", "trixie", "trixie-backports"),
)
SYSTEM_BINARY = "qemu-system-x86_64"
_LIBRARIES = ("lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu")
_DATA = ("usr/share/qemu", "usr/share/seabios", "usr/lib/ipxe/qemu")


def _version(argv: tuple[str, ...], env: Mapping[str, str]) -> str:
    try:
        done = subprocess.run(
            [*argv, "--version"], env={**os.environ, **env}, capture_output=True, text=True, timeout=60
        )
    except OSError as error:
        raise LabError(f"{argv[0]} does not start: {error}") from error
    match = re.search(r"version (\d+\.\d+\.\d+)", done.stdout)
    if done.returncode != 0 or not match:
        raise LabError(f"{' '.join(argv)} --version gave {done.stdout.strip()!r} and {done.stderr.strip()!r}")
    return match[1]


def _short(full: str) -> str:
    return full.rpartition(".")[0]


def _unpacked(root: Path) -> tuple[tuple[str, ...], dict[str, str]]:
    """argv and environment that run the QEMU unpacked at `root` with its own loader, libraries, data and modules."""
    # lib64/ld-linux… may be an absolute link, out of the tree: only a real file of this tree will do.
    places = (root / part / "ld-linux-x86-64.so.2" for part in ("lib64", *_LIBRARIES))
    loader = next((path for path in places if path.is_file() and path.resolve().is_relative_to(root)), None)
    if loader is None:
        raise LabError(f"no dynamic loader among the packages in {root}")
    libraries = ":".join(str(root / part) for part in _LIBRARIES)
    data = [word for part in _DATA for word in ("-L", str(root / part))]
    argv = (str(loader), "--library-path", libraries, str(root / "usr/bin" / SYSTEM_BINARY), *data)
    return argv, {"QEMU_MODULE_DIR": str(root / _LIBRARIES[1] / "qemu")}


def _build(recipe: Recipe, making: Path) -> None:
    apt, tree = making / "apt", making / "tree"
    tree.mkdir()
    suites = dict.fromkeys((recipe.release, recipe.suite))
    unpack(Archive(apt, tuple(suites)).with_everything_needed("qemu-system-x86", recipe.suite), tree)
    shutil.rmtree(apt)
    for useless in ("usr/share/doc", "usr/share/man", "usr/share/locale"):
        shutil.rmtree(tree / useless, ignore_errors=True)
    argv, env = _unpacked(tree)
    (making / "version").write_text(_version(argv, env))


@functools.cache
def system() -> Qemu | None:
    """The QEMU the system itself has in its PATH, if any."""
    path = shutil.which(SYSTEM_BINARY)
    if path is None:
        return None
    full = _version((path,), {})
    return Qemu(_short(full), full, (path,))


@functools.cache
def get(version: str) -> Qemu:
    """The QEMU of `version` ("7.2"): the system's if it is that one, else from the cache, made if need be.

    Raises LabError when it cannot be had here. A newer one in the same Debian suite is taken as it is: compare
    `Qemu.version` with what was asked for.
    """
    own = system()
    if own is not None and own.version == version:
        return own
    recipe = next((recipe for recipe in RECIPES if recipe.version == version), None)
    if recipe is None:
        raise LabError(f"no recipe for QEMU {version}; there are {', '.join(one.version for one in RECIPES)}")
    root = cache.entry(f"qemu-{version}", functools.partial(_build, recipe))
    full = (root / "version").read_text()
    argv, env = _unpacked(root / "tree")
    return Qemu(_short(full), full, argv, env)


def _attempts() -> dict[str, Qemu | str]:
    tried: dict[str, Qemu | str] = {}
    for recipe in RECIPES:
        try:
            tried[recipe.version] = get(recipe.version)
        except LabError as error:
            tried[recipe.version] = str(error)
    return tried


def found() -> list[Qemu]:
    """Every QEMU of the lab that this machine can run, oldest first."""
    return [one for one in _attempts().values() if isinstance(one, Qemu)]


def lacking() -> dict[str, str]:
    """The versions this machine cannot run, each with the reason."""
    return {version: one for version, one in _attempts().items() if isinstance(one, str)}
