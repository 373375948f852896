"""Debian packages into a directory, through apt, without touching the system's packages.

apt runs with a configuration, lists, archive and (empty) dpkg status of its own; packages are unpacked with
`dpkg -x`, never installed. The mirror is the one the system's own apt uses, where that is a Debian mirror.
"""

import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.lab.cache import LabError

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
DEFAULT_MIRROR = "http://deb.debian.org/debian"

# Read after the system's configuration, so that its proxies stay and its hooks do not run here.
_CONFIGURATION = """\
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Pre-Install-Pkgs;
#clear DPkg::Pre-Invoke;
#clear DPkg::Post-Invoke;
#clear Dir::Etc::SourceParts;
#clear Acquire::IndexTargets;
Acquire::IndexTargets::deb::Packages {{
  MetaKey "$(COMPONENT)/binary-$(ARCHITECTURE)/Packages";
  flatMetaKey "Packages";
  ShortDescription "Packages";
  Description "$(RELEASE)/$(COMPONENT) $(ARCHITECTURE) Packages";
  Optional "0";
}};
Acquire::Retries "3";
Acquire::Languages "none";
APT::Architecture "amd64";
APT::Architectures {{ "amd64"; }};
APT::Sandbox::User "root";
APT::Install-Recommends "0";
Debug::NoLocking "1";
Dir::Etc::SourceList "{directory}/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::Etc::Preferences "/dev/null";
Dir::Etc::PreferencesParts "/dev/null";
Dir::State::Lists "{directory}/lists";
Dir::State::status "{directory}/status";
Dir::State::extended_states "{directory}/extended_states";
Dir::Cache "{directory}/cache";
"""


def _run(argv: Sequence[str], *, cwd: Path, timeout_s: float = 300.0) -> str:
    environment = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(
            argv,
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )
    except subprocess.TimeoutExpired as error:
        raise LabError(f"{' '.join(argv[:3])} … gave no answer within {timeout_s:.0f} s") from error
    if done.returncode != 0:
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-8:])
        raise LabError(f"{' '.join(argv)} failed ({done.returncode}):\n{tail}")
    return done.stdout


def mirror() -> str:
    """The Debian mirror of this system's apt, else Debian's own name for the nearest one."""
    try:
        lines = _run(
            ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE)"], cwd=Path("/"), timeout_s=30
        )
    except LabError:
        return DEFAULT_MIRROR
    for line in lines.splitlines():
        uri, _, _ = line.partition(" ")
        if uri.rstrip("/").endswith("/debian"):
            return uri.rstrip("/")
    return DEFAULT_MIRROR


def why_not() -> str | None:
    """Why Debian's packages cannot be had on this machine, or None if they can."""
    if platform.machine() != "x86_64":
        return f"the lab's packages are for x86_64, this machine is {platform.machine()}"
    for tool in ("apt-get", "dpkg"):
        if shutil.which(tool) is None:
            return f"{tool} is not here (the lab takes Debian's packages)"
    if not KEYRING.exists():
        return f"{KEYRING} is not here (package debian-archive-keyring)"
    return None


class Archive:
    """One apt of our own in `directory`, knowing `suites` of Debian."""

    def __init__(self, directory: Path, suites: Sequence[str]) -> None:
        reason = why_not()
        if reason:
            raise LabError(reason)
        self.directory = directory
        (directory / "lists" / "partial").mkdir(parents=True)
        (directory / "cache" / "archives" / "partial").mkdir(parents=True)
        (directory / "status").touch()
        (directory / "apt.conf").write_text(_CONFIGURATION.format(directory=directory))
        where = mirror()
        (directory / "sources.list").write_text(
            "".join(f"deb [signed-by={KEYRING}] {where} {suite} main\n" for suite in suites)
        )
        self._apt("update")

    def _apt(self, *words: str) -> str:
        return _run(["apt-get", "-c", str(self.directory / "apt.conf"), "-q", *words], cwd=self.directory)

    def with_everything_needed(self, package: str, suite: str) -> list[Path]:
        """Fetch `package` of `suite` and all it depends on, the C library included; their .deb files."""
        self._apt("install", "--yes", "--download-only", "-t", suite, package)
        return sorted((self.directory / "cache" / "archives").glob("*.deb"))

    def alone(self, *packages: str) -> list[Path]:
        """Fetch `packages` without what they depend on; their .deb files."""
        into = self.directory / "alone"
        into.mkdir(exist_ok=True)
        _run(["apt-get", "-c", str(self.directory / "apt.conf"), "-q", "download", *packages], cwd=into)
        return sorted(into.glob("*.deb"))

    def depends(self, package: str, prefix: str) -> str:
        """The first package whose name starts with `prefix` among those `package` depends on."""
        text = _run(
            ["apt-cache", "-c", str(self.directory / "apt.conf"), "depends", package], cwd=self.directory
        )
        for line in text.splitlines():
            name = line.partition("Depends:")[2].strip()
            if name.startswith(prefix):
                return name
        raise LabError(f"{package} depends on no {prefix}…:\n{text}")


def unpack(archives: Sequence[Path], into: Path) -> None:
    """Unpack the .deb files `archives` into the directory `into`, without running any of their scripts."""
    for archive in archives:
        _run(["dpkg", "-x", str(archive), str(into)], cwd=into)
