"""Whether this machine's KVM runs a guest, found by running one.

Owns the probe. A /dev/kvm that can be opened proves little: nested or half-configured KVM fails at the first
instruction, or hangs there. So a machine without any device is started, and its firmware must say a word.
"""

from __future__ import annotations

import os
import select
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

PROBE_S = 4.0
_DEVICE = Path("/dev/kvm")
# SeaBIOS names itself on its debug port (its src/output.c, CONFIG_DEBUG_IO) as the first thing it does.
_FIRST_WORD = b"SeaBIOS"
_DEBUG_PORT = "isa-debugcon.iobase=0x402"


def kvm_works(qemu: Sequence[str], *, deadline_s: float = PROBE_S, device: Path = _DEVICE) -> bool:
    """Tell whether a guest's first instructions ran under KVM before the deadline (0.2 s if they do)."""
    if not os.access(device, os.R_OK | os.W_OK):
        return False
    command = [*qemu, "-accel", "kvm", "-machine", "pc,graphics=off", "-m", "16", "-nodefaults"]
    command += ["-no-user-config", "-display", "none", "-debugcon", "stdio", "-global", _DEBUG_PORT]
    try:
        probe = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError:
        return False
    with probe:
        try:
            assert probe.stdout is not None
            return _says(probe.stdout.fileno(), _FIRST_WORD, time.monotonic() + deadline_s)
        finally:
            probe.kill()


def _says(descriptor: int, word: bytes, deadline: float) -> bool:
    heard = b""
    while (left := deadline - time.monotonic()) > 0:
        if not select.select([descriptor], [], [], left)[0]:
            return False
        piece = os.read(descriptor, 4096)
        if not piece:
            return False
        heard += piece
        if word in heard:
            return True
    return False
