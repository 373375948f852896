"""What tests/conftest.py promises about every test, tried on tests made up for it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def _run(directory: Path, text: str, *more: str, ci: bool = False) -> subprocess.CompletedProcess[str]:
    file = directory / "test_made_up.py"
    file.write_text(text)
    env = {**os.environ, "CI": "true" if ci else ""}
    words = [
        "-q",
        "-p",
        "tests.conftest",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(directory),
        *more,
        str(file),
    ]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *words],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=100,
    )


_SKIPS = {
    "by mark": "import pytest\n@pytest.mark.skip('so')\ndef test_a(): pass\n",
    "in the test": "import pytest\ndef test_a(): pytest.skip('so')\n",
    "in a fixture": "import pytest\n@pytest.fixture\ndef f(): pytest.skip('so')\ndef test_a(f): pass\n",
    "the module": "import pytest\npytest.importorskip('no_such_module', reason='so')\ndef test_a(): pass\n",
}


@pytest.mark.parametrize("text", _SKIPS.values(), ids=_SKIPS.keys())
def test_a_skip_fails_in_ci_and_only_there(tmp_path: Path, text: str) -> None:
    in_ci = _run(tmp_path, text, ci=True)
    assert in_ci.returncode != 0
    assert "nothing is skipped in CI" in in_ci.stdout
    assert "failed" in in_ci.stdout or "error" in in_ci.stdout
    assert _run(tmp_path, text).returncode in {0, 5}


def test_an_expected_failure_is_no_skip(tmp_path: Path) -> None:
    text = "import pytest\n@pytest.mark.xfail(strict=True)\ndef test_a(): assert False\n"
    assert _run(tmp_path, text, ci=True).returncode == 0


def test_finding_no_test_is_a_failure(tmp_path: Path) -> None:
    assert _run(tmp_path, "").returncode == 5


def test_a_process_left_behind_fails_its_test_and_is_ended(tmp_path: Path) -> None:
    text = f"""
import subprocess
from pathlib import Path
def test_a():
    left = subprocess.Popen(["sleep", "1000"])
    Path({str(tmp_path / "pid")!r}).write_text(str(left.pid))
"""
    done = _run(tmp_path, text)
    assert done.returncode == 1
    assert "left processes behind" in done.stdout
    status = Path("/proc", (tmp_path / "pid").read_text(), "stat")
    assert not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "Z"


def test_every_test_has_its_own_runtime_directory(tmp_path: Path) -> None:
    text = """
import os
from pathlib import Path
seen = set()
def test_a(): seen.add(os.environ["XDG_RUNTIME_DIR"])
def test_b(): seen.add(os.environ["XDG_RUNTIME_DIR"])
def test_c(runtime_directory):
    assert len(seen) == 2 and not any(Path(path).exists() for path in seen)
    assert runtime_directory.stat().st_mode & 0o777 == 0o700
"""
    done = _run(tmp_path, text, "-p", "no:randomly")
    assert done.returncode == 0, done.stdout


_ON_QEMUS = """
import pytest
from qmon import __version__
def test_one(qemu): pass
@pytest.mark.parametrize("word", ["a", "b"])
def test_two(qemu, word): pass
@pytest.mark.always_on("7.2", "11.1")
def test_three(qemu): pass
"""


def _collected(directory: Path, monkeypatch: pytest.MonkeyPatch, **settings: str) -> list[str]:
    for name in ("QMON_QEMUS", "QMON_QEMU_TURN"):
        monkeypatch.delenv(name, raising=False)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    done = _run(
        directory, _ON_QEMUS, "--collect-only", "-p", "no:randomly", "-c", str(ROOT / "pyproject.toml")
    )
    assert done.returncode == 0, done.stdout
    return [line.partition("::")[2] for line in done.stdout.splitlines() if "::" in line]


def test_three_turns_bring_each_test_to_every_qemu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    turns = [_collected(tmp_path, monkeypatch, QMON_QEMU_TURN=turn) for turn in ("7", "8", "9")]
    assert [len(turn) for turn in turns] == [5, 5, 5]
    assert {name for turn in turns for name in turn} == set(
        _collected(tmp_path, monkeypatch, QMON_QEMUS="all")
    ) - {"test_three[10.0]"}
    for turn in turns:
        assert {"test_three[7.2]", "test_three[11.1]"} <= set(turn)


def test_one_version_can_be_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = _collected(tmp_path, monkeypatch, QMON_QEMUS="10.0")
    assert len(names) == 4
    assert all("10.0" in name for name in names)
