"""The lab: real QEMUs of three versions, two guests without a disk image, and VMs of them that always go away.

Owns everything a test needs to stand before a real QEMU. It must never touch the system's packages, a VM it did
not start, or a network other than loopback. `python -m tests.lab prepare` fills the cache beforehand.
"""

from tests.lab.qemus import LabError, Qemu, found, lacking
from tests.lab.vm import LabVm, start_vm

__all__ = ["LabError", "LabVm", "Qemu", "found", "lacking", "start_vm"]
