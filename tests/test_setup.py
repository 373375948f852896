"""scripts/setup.sh, on machines that are made up of a few programs in a directory."""

import shutil
import stat
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "scripts" / "setup.sh"
_TOOLS = (
    "sh",
    "dirname",
    "uname",
    "date",
    "sleep",
    "env",
    "tr",
    "sort",
    "head",
    "grep",
    "cat",
    "cksum",
    "mkdir",
    "rm",
)

# Stands for python3: makes environments of itself, and pip writes down what it was asked for.
_PYTHON = """\
#!/bin/sh
case "$1 $2" in
"-m venv")
    mkdir -p "$3/bin"
    cp "$0" "$3/bin/python"
    printf '#!%s/bin/python\\n' "$3" > "$3/bin/pip"
    ;;
"-m pip")
    echo "pip $*" >> "$LOG"
    [ -z "$PIP_BREAKS" ] || exit 1
    : > "${0%/*}/qmon"; chmod +x "${0%/*}/qmon"
    ;;
"-c import venv, ensurepip") [ -e "$MACHINE/venv" ] ;;
*) exec "$REAL_PYTHON" "$@" ;;
esac
"""
_APT = """\
#!/bin/sh
echo "apt-get $*" >> "$LOG"
[ -z "$APT_SAYS" ] || [ -e "$MACHINE/apt-once" ] || { : > "$MACHINE/apt-once"; echo "$APT_SAYS"; exit 100; }
case "$*" in
*" install "*) cp "$MACHINE/store/"* "$MACHINE/bin/"; : > "$MACHINE/venv" ;;
esac
"""


@dataclass
class Machine:
    """A directory that stands for a machine; `bin` is all there is in its PATH."""

    root: Path
    user: int = 0
    release: str = "ID=debian"

    @property
    def environment(self) -> Path:
        return self.root / "tree" / ".venv"

    def program(self, name: str, text: str, where: str = "bin") -> None:
        path = self.root / where / name
        path.write_text(text)
        path.chmod(0o755)

    def run(self, purpose: str = "demo", **env: str) -> subprocess.CompletedProcess[str]:
        self.program("id", f"#!/bin/sh\necho {self.user}\n")
        (self.root / "os-release").write_text(self.release + "\n")
        return subprocess.run(
            ["sh", str(self.root / "tree" / "scripts" / "setup.sh"), purpose],
            env={
                "PATH": str(self.root / "bin"),
                "MACHINE": str(self.root),
                "LOG": str(self.root / "log"),
                "REAL_PYTHON": sys.executable,
                "OS_RELEASE": str(self.root / "os-release"),
                "APT_SAYS": "",
                "PIP_BREAKS": "",
                **env,
            },
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # no terminal to ask on
            capture_output=True,
            text=True,
            timeout=60,
        )

    def log(self) -> list[str]:
        path = self.root / "log"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A Debian without QEMU and without the venv module, used by root."""
    made = Machine(tmp_path)
    for name in ("bin", "store", "roms", "tree/scripts"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "roms" / "efi-virtio.rom").touch()
    for name in (*_TOOLS, "cp", "chmod", "printf", "mv"):
        found = shutil.which(name)
        assert found is not None
        (tmp_path / "bin" / name).symlink_to(found)
    shutil.copy(SCRIPT, tmp_path / "tree" / "scripts")
    (tmp_path / "tree" / "pyproject.toml").write_text("one")
    made.program("python3", _PYTHON)
    made.program("apt-get", _APT)
    made.program("dpkg", '#!/bin/sh\necho "dpkg $*" >> "$LOG"\n')
    made.program("qemu-system-x86_64", f"#!/bin/sh\necho {tmp_path}/roms\n", where="store")
    made.program("cc", "#!/bin/sh\n")
    return made


def _complete(machine: Machine) -> None:
    shutil.copy(machine.root / "store" / "qemu-system-x86_64", machine.root / "bin")
    (machine.root / "venv").touch()


def test_root_installs_what_is_missing_after_reading_the_lists(machine: Machine) -> None:
    done = machine.run()
    assert done.returncode == 0, done.stderr
    update, install, pip = machine.log()
    assert update.endswith(" update")
    assert "install --no-install-recommends" in install
    assert {"qemu-system-x86", "ipxe-qemu", "python3-venv"} <= set(install.split())
    assert "DPkg::Lock::Timeout" in install
    assert pip.endswith("-e .")
    assert (machine.environment / "bin" / "qmon").exists()


def test_the_second_run_does_nothing(machine: Machine) -> None:
    assert machine.run().returncode == 0
    before = machine.log()
    again = machine.run()
    assert (again.returncode, again.stderr) == (0, "")
    assert machine.log() == before


def test_nothing_is_installed_where_everything_is(machine: Machine) -> None:
    _complete(machine)
    machine.user = 1000
    assert machine.run().returncode == 0
    assert [line.split()[0] for line in machine.log()] == ["pip"]


def test_a_changed_project_is_installed_again(machine: Machine) -> None:
    _complete(machine)
    machine.run()
    (machine.root / "tree" / "pyproject.toml").write_text("two")
    machine.run()
    machine.run()
    assert len(machine.log()) == 2


def test_the_development_tools_come_with_the_tests(machine: Machine) -> None:
    _complete(machine)
    machine.run("develop")
    machine.run("demo")
    assert [line.rpartition(" ")[2] for line in machine.log()] == [".[dev]"]


def test_a_user_without_sudo_is_told_what_root_must_run(machine: Machine) -> None:
    machine.user = 1000
    done = machine.run()
    assert done.returncode == 1
    assert "no sudo here" in done.stderr
    assert "apt-get update && apt-get install --no-install-recommends ipxe-qemu" in done.stderr
    assert machine.log() == []


def test_sudo_that_cannot_ask_is_not_waited_for(machine: Machine) -> None:
    machine.user = 1000
    machine.program("sudo", '#!/bin/sh\necho "sudo $*" >> "$LOG"\nexit 1\n')
    done = machine.run()
    assert done.returncode == 1
    assert "no terminal to ask on" in done.stderr
    assert "sudo apt-get update && sudo apt-get install" in done.stderr
    assert machine.log() == ["sudo -n true"]


def test_sudo_without_a_password_is_used_and_asks_no_questions(machine: Machine) -> None:
    machine.user = 1000
    machine.program("sudo", '#!/bin/sh\necho "sudo $*" >> "$LOG"\nshift\nexec "$@"\n')
    machine.program("true", "#!/bin/sh\n")
    assert machine.run().returncode == 0
    assert any(
        "sudo -n env DEBIAN_FRONTEND=noninteractive" in line and "install" in line for line in machine.log()
    )


def test_a_lock_is_waited_for(machine: Machine) -> None:
    done = machine.run(APT_SAYS="E: Could not get lock /var/lib/apt/lists/lock.")
    assert done.returncode == 0, done.stderr
    assert "waiting for it" in done.stderr


def test_an_interrupted_installation_is_finished_first(machine: Machine) -> None:
    done = machine.run(APT_SAYS="E: dpkg was interrupted, you must manually run 'dpkg --configure -a'")
    assert done.returncode == 0, done.stderr
    assert any(line.startswith("dpkg") and "--configure -a" in line for line in machine.log())


def test_a_failed_installation_shows_what_apt_said(machine: Machine) -> None:
    machine.program("apt-get", '#!/bin/sh\necho "E: Unable to locate package"; exit 100\n')
    done = machine.run()
    assert done.returncode == 1
    assert "E: Unable to locate package" in done.stderr
    assert "could not install" in done.stderr


_LONG_APT = """\
#!/bin/sh
case "$*" in *" install "*) ;; *) exit 0 ;; esac
echo "0 upgraded, 41 newly installed, 0 to remove and 0 not upgraded."
echo "Need to get 95.3 MB of archives."
for n in $SEQUENCE; do echo "Get:$n http://mirror.invalid/debian bookworm/main amd64 lib$n amd64 1.0-$n [9 kB]"; done
echo "Fetched 95.3 MB in 2s (50 MB/s)"
for n in $SEQUENCE; do echo "Unpacking lib$n:amd64 (1.0-$n) ..."; done
for n in $SEQUENCE; do echo "Setting up lib$n:amd64 (1.0-$n) ..."; done
cp "$MACHINE/store/"* "$MACHINE/bin/"; : > "$MACHINE/venv"
"""


def test_a_long_installation_says_what_goes_on(machine: Machine) -> None:
    machine.program("apt-get", _LONG_APT)
    machine.program(
        "python3",
        _PYTHON.replace(
            'echo "pip $*" >> "$LOG"',
            "echo Collecting scapy; echo '  Downloading scapy-2.6-py3-none-any.whl (3.1 MB)'; "
            "echo Installing collected packages: scapy, qmon",
        ),
    )
    done = machine.run(SEQUENCE=" ".join(map(str, range(1, 42))))
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    told = done.stderr.splitlines()
    assert [line.strip() for line in told[2:-3]] == [
        "packages: 41",
        "Need to get 95.3 MB of archives",
        *(f"downloading lib{n}" for n in (1, 21, 41)),
        "Fetched 95.3 MB in 2s (50 MB/s)",
        *(f"unpacking lib{n}:amd64 ({n} of 41)" for n in (1, 21, 41)),
        *(f"setting up lib{n}:amd64 ({n} of 41)" for n in (1, 21, 41)),
        f"Making .venv with Python {sys.version.split()[0]}",
    ]
    assert told[-3:] == [
        "Installing qmon and what it needs into .venv",
        "  looking for scapy",
        "  packages to install: 2",
    ]


@pytest.mark.parametrize("harm", ["half made", "interrupted", "moved"])
def test_an_environment_that_is_not_sound_is_made_anew(machine: Machine, harm: str) -> None:
    _complete(machine)
    if harm == "half made":
        (machine.environment / "bin").mkdir(parents=True)
    elif harm == "interrupted":
        assert machine.run(PIP_BREAKS="yes").returncode == 1
    else:
        machine.run()
        (machine.root / "tree").rename(machine.root / "moved")
        (machine.root / "moved").rename(machine.root / "tree")
        (machine.environment / "bin" / "pip").write_text("#!/another/tree/.venv/bin/python\n")
    (machine.environment / "left over").touch()
    done = machine.run()
    assert done.returncode == 0, done.stderr
    assert "anew" in done.stderr
    assert not (machine.environment / "left over").exists()
    assert (machine.environment / "bin" / "qmon").exists()


def test_settings_for_other_places_do_not_reach_pip(machine: Machine) -> None:
    _complete(machine)
    machine.program(
        "python3", _PYTHON.replace('echo "pip $*"', 'echo "pip $PIP_USER $PIP_TARGET $PYTHONPATH"')
    )
    machine.run(PIP_USER="1", PIP_TARGET="/elsewhere", PYTHONPATH="/somewhere", PIP_REQUIRE_VIRTUALENV="1")
    assert machine.log() == ["pip 0  "]


@pytest.mark.parametrize(
    ("release", "command"),
    [
        ("ID=fedora", "sudo dnf install ipxe-roms-qemu python3 qemu-system-x86-core"),
        ("ID=manjaro\nID_LIKE=arch", "sudo pacman -S --needed python qemu-base"),
        (
            'ID="opensuse-tumbleweed"\nID_LIKE="opensuse suse"',
            "sudo zypper install python312 qemu-ipxe qemu-x86",
        ),
        ("ID=alpine", "apk add python3 qemu-system-x86_64"),
        (
            "ID=nixos",
            "Missing here: Python 3.11 or newer with its venv module; qemu-system-x86_64; QEMU's iPXE",
        ),
    ],
)
def test_other_distributions_are_told_their_packages(machine: Machine, release: str, command: str) -> None:
    machine.release = release
    done = machine.run()
    assert done.returncode == 1
    assert command in done.stderr
    assert machine.log() == []


def test_other_distributions_go_on_where_everything_is(machine: Machine) -> None:
    machine.release = "ID=nixos"
    _complete(machine)
    assert machine.run().returncode == 0


def test_an_old_python_is_named(machine: Machine) -> None:
    _complete(machine)
    machine.release = "ID=ubuntu"
    machine.program("python3", '#!/bin/sh\n[ "$1" != -V ] || echo Python 3.10.12\n[ "$1" = -V ]\n')
    done = machine.run()
    assert done.returncode == 1
    assert "3.11 or newer; this system's python3 is Python 3.10.12" in done.stderr
    assert not machine.environment.exists()


def test_the_script_is_executable_and_says_how_it_is_used(machine: Machine) -> None:
    assert SCRIPT.stat().st_mode & stat.S_IXUSR
    done = machine.run("everything")
    assert done.returncode == 1
    assert "usage: scripts/setup.sh demo|test|develop" in done.stderr
