"""What the wire's tests ask a VM: what of qmon's is in it, and what an independent dump saw."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from qmon.packets.files.source import CaptureFile
from tests.lab.vm import LabVm

USER = ("-netdev", "user,id=u1", "-device", "{model},netdev=u1,id=nic1")


def user(model: str = "virtio-net-pci") -> tuple[str, ...]:
    """The arguments for a user netdev `u1` with a NIC `nic1`."""
    return tuple(word.replace("{model}", model) for word in USER)


async def left(vm: LabVm) -> list[str]:
    """What of any qmon's is in the VM."""
    names = [entry["name"] for entry in await vm.qmp_raw("qom-list", {"path": "/objects"})]
    names += [entry["label"] for entry in await vm.qmp_raw("query-chardev")]
    names += [str(fd.get("opaque")) for one in await vm.qmp_raw("query-fdsets") for fd in one["fds"]]
    return sorted(name for name in names if name.startswith("qmon-"))


def descriptor_0(vm: LabVm) -> str:
    """What QEMU's descriptor 0 is."""
    return os.readlink(f"/proc/{vm.pid}/fd/0")


@asynccontextmanager
async def dumped(vm: LabVm, netdev: str = "u1") -> AsyncIterator[list[bytes]]:
    """QEMU's own dump of a netdev for the length of the block; its frames are in the list afterwards."""
    path = vm.directory / f"independent-{netdev}.pcap"
    await vm.qmp_raw(
        "object-add", {"qom-type": "filter-dump", "id": "independent", "netdev": netdev, "file": str(path)}
    )
    frames: list[bytes] = []
    yield frames
    await vm.qmp_raw("object-del", {"id": "independent"})
    frames += frames_of(path)


def frames_of(path: Path) -> list[bytes]:
    """The frames of a capture file."""
    frames: list[bytes] = []
    with CaptureFile(path) as file:
        while (batch := file.read_batch()) is not None:
            frames += [bytes(batch.frame(i)) for i in range(len(batch))]
    return frames
