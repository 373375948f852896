"""Wireshark started on a stream. A script stands for it: there is no screen here."""

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from qmon.errors import QmonError
from qmon.export.wireshark import Wireshark


@pytest.fixture
def wireshark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Install a script as Wireshark; the path where it may write."""

    def install(script: str) -> Path:
        program = tmp_path / "wireshark"
        program.write_text(f'#!/bin/sh\nout="{tmp_path}/out"\n{script}\n')
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        return tmp_path / "out"

    return install


def until(fact: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not fact():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_it_gets_the_stream_and_its_end(wireshark: Callable[[str], Path]) -> None:
    out = wireshark('echo "$@" >"$out.new"; cat >>"$out.new"; mv "$out.new" "$out"')
    with Wireshark() as started:
        os.write(started.descriptor, b"frames\n")
        assert "not started" not in repr(started)
    until(out.exists)
    assert out.read_text() == "-k -i -\nframes\n"


def test_one_that_still_runs_has_not_failed(wireshark: Callable[[str], Path]) -> None:
    wireshark("cat >/dev/null")
    with Wireshark() as started:
        assert started.failure(0.05) is None
        started.end_of_stream()
        assert started.failure(10) is None


def test_one_without_a_screen_says_why(wireshark: Callable[[str], Path]) -> None:
    wireshark("echo could not connect to display >&2; exit 1")
    with Wireshark() as started:
        failure = started.failure(10)
        assert isinstance(failure, QmonError)
        assert "status 1" in failure.message
        assert "display" in str(failure.hint)


def test_none_installed_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(QmonError, match="not installed") as caught:
        Wireshark()
    assert "tshark -r -" in str(caught.value.hint)


def test_it_is_in_a_session_of_its_own(wireshark: Callable[[str], Path]) -> None:
    """Ctrl-C ends the capture, not Wireshark."""
    out = wireshark('ps -o sid= -p $$ >"$out.new"; mv "$out.new" "$out"; cat >/dev/null')
    with Wireshark():
        until(out.exists)
    ours = subprocess.run(["ps", "-o", "sid=", "-p", str(os.getpid())], capture_output=True, text=True).stdout
    assert out.read_text().strip() != ours.strip()
