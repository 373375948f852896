"""Becomes QEMU, on a leash: the kernel signals it when the qmon that started it dies, however it dies.

Run by path with `python -I -S`, as `leashed.py PARENT_PID COMMAND…`; it replaces itself by COMMAND, so that
the pid stays. Must never import anything but the standard library, and nothing of qmon: it has to be quick.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h; kept across execve unless the program is set-uid (man 2 prctl).


def main(words: list[str]) -> None:
    """Tie this process to its parent and become the command."""
    parent, command = int(words[0]), words[1:]
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(1)  # It died before the leash was on.
    # Python ignores these, and what is ignored stays so in the program that follows.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    try:
        os.execvp(command[0], command)
    except OSError as problem:
        sys.stderr.write(f"{command[0]}: {problem.strerror}\n")
        sys.exit(127 if isinstance(problem, FileNotFoundError) else 126)


if __name__ == "__main__":
    main(sys.argv[1:])
