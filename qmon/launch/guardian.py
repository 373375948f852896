"""Outlives qmon: ends the QEMU it left behind and removes the private directory.

Run by path with `python -I -S`, as `guardian.py DIRECTORY GRACE_S`, in a session of its own. Its standard
input is a pipe from qmon: one line with QEMU's pid, then nothing until qmon ends, in order or not. Must never
import anything but the standard library, and nothing of qmon.
"""

import contextlib
import os
import select
import shutil
import signal
import sys

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


def end(process: int, grace_s: float) -> None:
    """Ask the process behind the pidfd to end, and make it after the grace."""
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(process, signal.SIGTERM)
        if not select.select([process], [], [], grace_s)[0]:
            signal.pidfd_send_signal(process, signal.SIGKILL)
            select.select([process], [], [], grace_s)


def main(words: list[str]) -> None:
    """Wait for qmon's end, then clean up after it."""
    directory, grace_s = words[0], float(words[1])
    for number in _ENDING:
        signal.signal(number, signal.SIG_IGN)
    process = None
    line = sys.stdin.buffer.readline()
    if line.strip():
        with contextlib.suppress(ProcessLookupError):
            process = os.pidfd_open(int(line))
    sys.stdin.buffer.read()
    if process is not None:
        end(process, grace_s)
    shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1:])
