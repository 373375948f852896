"""The command line's frame: help without imports, errors as messages and exit codes."""

import os
import subprocess
import sys

import pytest

from qmon.cli import main as command_line
from qmon.errors import CannotAttach, QmonError, Refused, TimedOut, UsageError


def run(*words: str, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "qmon", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, **options)  # type: ignore[call-overload, no-any-return]


def test_version() -> None:
    done = run("--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("qmon ")


def test_help_lists_every_command() -> None:
    done = run("--help")
    assert done.returncode == 0
    for name, _, _ in command_line._COMMANDS:
        assert f"\n  {name} " in done.stdout


@pytest.mark.parametrize("name", [name for name, _, _ in command_line._COMMANDS])
def test_every_command_explains_itself(name: str) -> None:
    done = run(name, "--help")
    assert done.returncode == 0, done.stderr
    assert "Usage:" in done.stdout


def test_an_unknown_command_is_wrong_usage() -> None:
    done = run("frobnicate")
    assert done.returncode == 2
    assert "frobnicate" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["dmp"], "Did you mean 'dump'?"),
        (["tcpdump"], "Did you mean 'dump'?"),
        (["usernet"], "Did you mean 'info usernet'?"),
        (["nic", "lst"], "Did you mean 'ls'?"),
        (["/tmp/vm.qmp"], "qmon --vm /tmp/vm.qmp"),
    ],
)
def test_a_word_that_is_almost_a_command(words: list[str], said: str) -> None:
    done = run(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


def test_options_of_the_dashboard_before_a_command_are_wrong_usage() -> None:
    done = run("--netdev", "u1", "ls")
    assert done.returncode == 2
    assert "after 'ls'" in done.stderr


@pytest.mark.parametrize(
    ("problem", "code"),
    [
        (QmonError("it failed", hint="do this"), 1),
        (Refused("no"), 1),
        (UsageError("what?"), 2),
        (CannotAttach("nobody there"), 3),
        (TimedOut("too long"), 124),
        (FileNotFoundError(2, "No such file or directory", "x.pcap"), 1),
    ],
)
def test_errors_become_messages_and_codes(
    problem: Exception, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise problem

    monkeypatch.setattr(command_line.qmon, "make_context", fail)
    with pytest.raises(SystemExit) as ended:
        command_line.main()
    assert ended.value.code == code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("qmon: ")
    assert "Traceback" not in printed.err


def test_a_reader_who_left_is_a_normal_end() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    command = [sys.executable, "-m", "qmon", "--help"]
    done = subprocess.run(command, stdout=write_end, stderr=subprocess.PIPE, text=True, timeout=30)
    os.close(write_end)
    assert (done.returncode, done.stderr) == (0, "")
