"""qmon broken off at each of its steps on the host in turn: `python -m tests.host.breaking fail|kill COUNT WORDS…`.

A line with how it ended follows each turn, and the next turn waits for a line. One process for all turns, which forks:
starting Python anew takes longer than a turn. What takes steps back is a process of its own, which is not touched.
"""

import os
import signal
import sys

import pyroute2

from qmon.cli import bridge, main, tap
from qmon.errors import Refused
from qmon.host import kernel
from qmon.host.steps import HostStep

_LOADED = (bridge, tap, pyroute2)


def _break(how: str, number: int) -> None:
    done, real, qmon = 0, kernel.do, os.getpid()

    def do(step: HostStep) -> None:
        nonlocal done
        done += os.getpid() == qmon
        if os.getpid() != qmon:
            return real(step)
        if done == number and how == "kill":
            real(step)
            os.kill(os.getpid(), signal.SIGKILL)
        if done == number:
            raise Refused(f"{step}: broken")
        return real(step)

    kernel.do = do


def turns() -> None:
    """Break off each turn one step later."""
    how, count = sys.argv[1], int(sys.argv[2])
    sys.argv[1:3] = []
    for number in range(1, count + 1):
        child = os.fork()
        if not child:
            _break(how, number)
            main.main()
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
        sys.stdin.readline()


if __name__ == "__main__":
    turns()
