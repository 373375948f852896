"""Whether this machine's KVM runs a guest, found by running one.

Owns the probe. A /dev/kvm that can be opened proves little: nested or half-configured KVM fails at the first
instruction, hangs, or is far slower than emulation. So a machine with the demo's own boot ROM is started, and the
firmware must come to booting from it in good time.
"""

from __future__ import annotations

import os
import select
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from qmon.launch.process import leashed

# On good KVM it takes 0.3 s, and emulation takes no longer than this.
PROBE_S = 2.0
_DEVICE = Path("/dev/kvm")
# SeaBIOS says so when the ROM has looked for its devices, and waited for a key by the guest's own clock.
_BOOTS = b"Booting from"
_MACHINE = ("-machine", "pc,graphics=off", "-m", "64", "-nodefaults", "-no-user-config", "-display", "none")
_GUEST = (
    "-netdev",
    "user,id=probe",
    "-device",
    "virtio-net-pci,netdev=probe,bootindex=1",
    "-serial",
    "stdio",
)


def kvm_works(qemu: Sequence[str], *, deadline_s: float = PROBE_S, device: Path = _DEVICE) -> bool:
    """Tell whether a guest comes to booting under KVM before the deadline."""
    if not os.access(device, os.R_OK | os.W_OK):
        return False
    with subprocess.Popen(
        leashed([*qemu, "-accel", "kvm", *_MACHINE, *_GUEST]),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as probe:
        try:
            assert probe.stdout is not None
            return _says(probe.stdout.fileno(), _BOOTS, time.monotonic() + deadline_s)
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
