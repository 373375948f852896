"""The launcher goes where this Wireshark looks. Scripts stand for the Wiresharks that are not installed here."""

import os
import subprocess
from pathlib import Path

import pytest

from qmon.errors import QmonError
from qmon.export.extcap_install import folders, install, launcher_text, uninstall

OLD = """Temp:                   /tmp
Personal configuration: /home/me/.config/wireshark
Extcap path:            /usr/lib/x86_64-linux-gnu/wireshark/extcap
"""
NEW = """Personal configuration: /home/me/.config/wireshark
Personal Extcap path:   /home/me/.local/lib/wireshark/extcap
Global Extcap path:     /usr/libexec/wireshark/extcap
"""


def test_up_to_4_0_the_configurations_folder_comes_first() -> None:
    found = folders("TShark (Wireshark) 4.0.17 (Git v4.0.17).", OLD)
    assert found[0] == Path("/home/me/.config/wireshark/extcap")
    assert found[-1] == Path("/usr/lib/x86_64-linux-gnu/wireshark/extcap")


def test_a_personal_folder_that_is_listed_comes_first() -> None:
    assert folders("TShark (Wireshark) 4.4.2.", NEW)[0] == Path("/home/me/.local/lib/wireshark/extcap")


def test_since_4_2_the_personal_library_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert folders("TShark (Wireshark) 4.2.2.", OLD)[0] == Path("/home/me/.local/lib/wireshark/extcap")


@pytest.mark.parametrize("version", ["", "nonsense", "TShark 99"])
def test_an_unknown_version_still_has_folders(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert folders(version, "") == (Path("/home/me/.local/lib/wireshark/extcap"),)


def test_the_launcher_runs_this_very_qmon(tmp_path: Path) -> None:
    launcher = tmp_path / "qmon"
    launcher.write_text(launcher_text())
    launcher.chmod(0o755)
    # Elsewhere, with another Python's modules in the way and nothing in PATH: as Wireshark may start it.
    environment = {"PATH": "/nonexistent", "HOME": str(tmp_path)}
    (tmp_path / "qmon.py").write_text("raise SystemExit('not this one')")
    done = subprocess.run(
        ["/bin/sh", launcher, "--extcap-dlts", "--extcap-interface", "qmon"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
        timeout=30,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("dlt {")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    return tmp_path


def fake_tshark(home: Path, monkeypatch: pytest.MonkeyPatch, looks_in: str, version: str = "4.0.17") -> None:
    """A Wireshark that runs what lies in one folder, as the real one does."""
    programs = home / "programs"
    programs.mkdir()
    program = programs / "tshark"
    program.write_text(
        "#!/bin/sh\n"
        f'case "$1" in --version) echo "TShark (Wireshark) {version}";;\n'
        f'-G) printf "Personal configuration:\\t{home}/.config/wireshark\\nExtcap path:\\t{home}/system\\n";;\n'
        f'-D) echo "1. eth0"; [ -x "{looks_in}/qmon" ] && "{looks_in}/qmon" --extcap-interfaces |'
        " sed -n 's/interface {value=\\([^}]*\\)}{display=\\(.*\\)}$/2. \\1 (\\2)/p';;\n"
        "esac; exit 0\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")


@pytest.mark.parametrize("folder", [".config/wireshark/extcap", ".local/lib/wireshark/extcap", "system"])
def test_the_folder_is_found_by_trying(home: Path, monkeypatch: pytest.MonkeyPatch, folder: str) -> None:
    fake_tshark(home, monkeypatch, str(home / folder))
    installed = install()
    assert installed.launcher == home / folder / "qmon"
    assert installed.interfaces[0].startswith("2. qmon (QEMU VM")
    assert os.access(installed.launcher, os.X_OK)
    assert list(home.rglob("qmon")) == [installed.launcher]
    assert not list(home.rglob(".qmon*"))
    assert install().launcher == installed.launcher
    assert uninstall() == (installed.launcher,)
    assert not list(home.rglob("qmon"))
    assert uninstall() == ()


def test_a_wireshark_that_looks_nowhere(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_tshark(home, monkeypatch, "/nonexistent")
    with pytest.raises(QmonError, match="does not look there") as caught:
        install()
    assert caught.value.hint
    assert not list(home.rglob("qmon"))


def test_what_is_anothers_is_left_alone(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = home / ".config/wireshark/extcap"
    fake_tshark(home, monkeypatch, str(folder))
    folder.mkdir(parents=True)
    (folder / "qmon").write_text("another's")
    with pytest.raises(QmonError, match="another program lies there"):
        install()
    assert uninstall() == ()
    assert (folder / "qmon").read_text() == "another's"
    assert not (home / "system").exists()


def test_a_launcher_of_an_older_wireshark_s_time_goes(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = home / ".config/wireshark/extcap", home / ".local/lib/wireshark/extcap"
    fake_tshark(home, monkeypatch, str(new))
    old.mkdir(parents=True)
    (old / "qmon").write_text(launcher_text())
    assert install().launcher == new / "qmon"
    assert not (old / "qmon").exists()


def test_a_folder_that_cannot_be_written(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_tshark(home, monkeypatch, str(home / "system"))
    (home / ".config").write_text("a file where a folder should be")
    assert install().launcher == home / "system/qmon"


def test_no_wireshark_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    for act in (install, uninstall):
        with pytest.raises(QmonError, match="installed") as caught:
            act()
        assert caught.value.hint


def test_a_wireshark_that_hangs(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_tshark(home, monkeypatch, "/nonexistent")
    (home / "programs/tshark").write_text("#!/bin/sh\nexec sleep 60\n")
    monkeypatch.setattr("qmon.export.extcap_install.ANSWER_S", 0.2)
    with pytest.raises(QmonError, match="no answer"):
        install()
