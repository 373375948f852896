"""What is seen of a QEMU process, and what is not taken for one."""

import os
from pathlib import Path

from qmon.network.hazards import Surroundings
from qmon.network.surroundings import surroundings
from tests.lab import start_vm
from tests.lab.qemus import Qemu


async def test_what_is_no_qemu_of_this_host_tells_nothing() -> None:
    assert await surroundings(None) == Surroundings()
    assert await surroundings(os.getpid()) == Surroundings()


async def test_a_qemu_of_this_host(qemu_one: Qemu) -> None:
    async with start_vm(qemu_one) as vm:
        seen = await surroundings(vm.pid)
        assert seen.descriptors is not None
        assert seen.descriptors["0"] == "/dev/null"
        try:
            os.close(os.open("/dev/vhost-net", os.O_RDWR))
        except OSError:
            assert seen.opens_vhost_net is False
        else:
            assert seen.opens_vhost_net is True
        assert Path(f"/proc/{vm.pid}/fd/0").readlink() == Path("/dev/null")
