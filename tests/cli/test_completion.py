"""What a shell completes, and the code that makes it."""

import os
import shutil
import subprocess
import sys

import pytest

from tests.cli.test_main import run


def completed(*words: str) -> list[str]:
    """What qmon offers for the last of the words, as bash asks for it: ``type,value`` each."""
    environment = {"COMP_WORDS": " ".join(("qmon", *words)), "COMP_CWORD": str(len(words))}
    done = subprocess.run(
        [sys.executable, "-m", "qmon"],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
        env=os.environ | environment | {"_QMON_COMPLETE": "bash_complete"},
    )
    return done.stdout.splitlines()


def test_commands_options_and_files() -> None:
    assert completed("du") == ["plain,dump"]
    assert completed("nic", "d") == ["plain,down"]
    assert "plain,--vm" in completed("--v")
    assert completed("read", "tr") == ["file,tr"]
    assert not any(completed("read", "trace.pcap", "po"))
    assert completed("dump", "-w", "x") == ["file,x"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_code_for_a_shell(shell: str) -> None:
    done = run("completion", shell)
    assert done.returncode == 0
    assert "_QMON_COMPLETE" in done.stdout
    if (program := shutil.which(shell)) is not None:
        subprocess.run([program, "-n"], input=done.stdout, text=True, timeout=30, check=True)


def test_a_shell_that_is_not_known() -> None:
    assert run("completion", "csh").returncode == 2
