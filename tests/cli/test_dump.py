"""What is wrong with the words of `dump` is told before a VM is touched."""

from pathlib import Path

import pytest

from tests.cli.test_main import run


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-w", "/", "-b", "filesize:1"], "is a folder"),
        (["-w", ".", "--flight-recorder", "30s"], "is a folder"),
        (["-w", "x", "--flight-recorder", "soon"], "neither a time nor a size"),
        (["-w", "x", "-b", "files:3"], "needs a rule"),
        (["-F", "pcap"], "need a file"),
        (["-w", "-", "-C", "1"], "one stream"),
        (["-w", "x", "-o", "jsonl"], "give one of them"),
        (["-r", "x.pcap"], "qmon read x.pcap"),
        (["--remote-mirror", "--sink-dir", "/tmp"], "give one of them"),
    ],
)
def test_wrong_words_are_refused_first(tmp_path: Path, words: list[str], said: str) -> None:
    nobody = ["--vm", str(tmp_path / "no-such.sock"), "dump", "--netdev", "u1"]
    done = run(*nobody, *words)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr


def test_a_netdev_given_like_a_filter_is_told_its_option() -> None:
    done = run("dump", "u1", "port", "53")
    assert done.returncode == 2
    assert "qmon dump --netdev u1 port 53" in done.stderr
