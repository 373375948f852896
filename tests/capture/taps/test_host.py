import asyncio
import subprocess
from pathlib import Path

import pytest

from qmon.capture.taps.host import interface_of, open_host_tap
from qmon.capture.vm import VmCapture
from qmon.errors import Refused
from qmon.monitor.address import UnixAddress
from qmon.monitor.discovery import find_vm
from qmon.monitor.session import Session
from qmon.network.model import Netdev, Network
from qmon.packets.batch import Direction
from tests.lab import start_vm
from tests.lab.namespace import namespace
from tests.lab.qemus import Qemu

QUEUES = (
    "-netdev",
    "tap,id=t1,ifname=tap0,script=no,downscript=no,queues=2",
    "-device",
    "virtio-net-pci,netdev=t1,id=n1,mq=on,vectors=6,mac=52:54:00:00:00:07",
)


def network(*infos: str) -> Network:
    return Network(tuple(Netdev(f"t{number}", "tap", info) for number, info in enumerate(infos)))


def test_the_name_qemu_says_is_taken() -> None:
    assert interface_of(network("index=0,ifname=tap4,script=no"), "t0", 1) == "tap4"


def test_the_name_behind_a_descriptor(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = {"/proc/7/fdinfo/29": "pos: 0\niff:\tvnet3\n", "/proc/7/fdinfo/30": "pos: 0\n"}
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_text", lambda self, **_: entries[str(self)])
        assert interface_of(network("fd=29"), "t0", 7) == "vnet3"
        patch.setattr(Path, "iterdir", lambda self: [Path("29"), Path("30")])
        assert interface_of(network("helper=x,br=br0"), "t0", 7) == "vnet3"


def test_without_an_interface_there_is_a_reason() -> None:
    for netdev in ("t0", "nothing"):
        with pytest.raises(Refused):
            interface_of(network("helper=x"), netdev, 2**22 + 1)
    with pytest.raises(Refused, match="does not run where"):
        open_host_tap(network(), "t0", None, 100)


async def test_a_netdev_with_queues_is_captured_on_the_host(qemu: Qemu) -> None:
    async with namespace() as network, start_vm(network.qemu(qemu), *QUEUES, guest="linux") as vm:
        network.give("tap0", "192.168.77.1/24")
        await vm.wait_serial("## ready")
        address = UnixAddress(vm.qmp[0])
        seen: set[tuple[int, bytes]] = set()
        async with (
            await Session.attach(address) as session,
            VmCapture(session, find_vm(address)) as capture,
        ):
            await capture.tap("t1")
            assert "captured on the host's tap0" in capture.interfaces[0].description
            # DHCP requests go out; what the host asks comes in.
            ping = await asyncio.create_subprocess_exec(
                *(*network.inside, "busybox", "ping", "-c", "20", "192.168.77.9"),
                stdout=subprocess.DEVNULL,
            )
            async with asyncio.timeout(60):
                while {direction for direction, _ in seen} != {Direction.IN, Direction.OUT}:
                    await capture.wait(0.1)
                    batch = capture.poll().batch
                    for i in range(len(batch) if batch else 0):
                        assert batch is not None
                        seen.add((int(batch.direction[i]), bytes(batch.frame(i)[6:12])))
            ping.kill()
            await ping.wait()
            assert capture.taps[0].packets >= 2
        # By the source addresses: the guest's own went out, and nothing of it came in.
        guest = bytes.fromhex("525400000007")
        assert (Direction.OUT, guest) in seen
        assert (Direction.IN, guest) not in seen
