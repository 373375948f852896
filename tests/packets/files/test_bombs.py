"""Small files that ask for much memory: `qmon read` takes little, and says what it left out."""

import gzip
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.packets.files.bombs import ALL

MOST_MIB = 200
# Prints the greatest memory that a run took, in KiB.
MEASURE = """
import os, subprocess, sys
child = subprocess.Popen([sys.executable, "-m", "qmon", "read", *sys.argv[1:]])
_, status, used = os.wait4(child.pid, 0)
child.returncode = os.waitstatus_to_exitcode(status)
print("status", child.returncode, "used", used.ru_maxrss, file=sys.stderr)
"""


@pytest.mark.parametrize("writing", [False, True])
@pytest.mark.parametrize("name", ALL)
def test_memory_stays_small(name: str, writing: bool, tmp_path: Path) -> None:
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(ALL[name](), 1))
    words = [str(path), *(("-w", str(tmp_path / "out.pcapng")) if writing else ())]
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, *words], capture_output=True, text=True, timeout=60, env=os.environ
    )
    assert "Traceback" not in done.stderr
    *told, last = done.stderr.splitlines()
    _, status, _, used = last.split()
    assert int(status) in (0, 1)
    assert int(used) < MOST_MIB * 1024, (name, int(used) // 1024)
    assert len(told) < 30
