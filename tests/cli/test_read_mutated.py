"""Damaged captures, as they come: no traceback, an exit status that says so, and no run that does not end."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.packets.files.mutated import mutants

COUNT = 20
# Runs qmon in forks of itself, which cost far less than new processes: words in, (status, stderr) out.
PROGRAM = """
import json, os, signal, sys
import qmon.cli.read, qmon.packets.files.source, qmon.export.rewrite, qmon.packets.filters.words
from qmon.cli.main import main
results, errors = [], sys.argv[1]
for words in json.load(sys.stdin):
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        sys.argv = ["qmon", *words]
        main()
    _, status = os.waitpid(child, 0)
    results.append((os.waitstatus_to_exitcode(status), open(errors, errors="replace").read()))
print(json.dumps(results))
"""


@pytest.mark.parametrize("words", [[], ["-o", "jsonl"], ["-w"]], ids=["lines", "jsonl", "rewritten"])
def test_mutated_captures(words: list[str], tmp_path: Path) -> None:
    runs = []
    for number, data in enumerate(mutants(COUNT)):
        path = tmp_path / f"mutant{number}"
        path.write_bytes(data)
        runs.append(["read", str(path), *words, *([str(tmp_path / "out.pcapng")] if words == ["-w"] else [])])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, tmp_path / "errors"],
        input=json.dumps(runs),
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    results = json.loads(done.stdout)
    assert len(results) == COUNT
    for number, (status, said) in enumerate(results):
        assert status in (0, 1), (number, status, said)
        assert "Traceback" not in said, (number, said)
        assert status == 0 or said, number
