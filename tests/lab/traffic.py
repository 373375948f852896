"""Capture files for the fixtures, written by QEMU's own filter-dump from guests that really talk."""

import asyncio
import shutil
from pathlib import Path

from tests.lab.qemus import Qemu
from tests.lab.scenes import host, run_in_namespace
from tests.lab.vm import LabVm, start_vm

_IPXE_BYTES = 30_000
_DUMP = "-object filter-dump,id=dump,file={directory}/dump.pcap,netdev="


async def _keep(vm: LabVm, path: Path) -> None:
    await vm.qmp_raw("object-del", {"id": "dump"})
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(vm.directory / "dump.pcap", path)


async def user_linux(qemu: Qemu, path: Path) -> None:
    """DHCP, ARP, IPv6 neighbours, ICMP, DNS and HTTP of a Linux guest behind the user-mode stack."""
    words = f"-netdev user,id=u1 -device virtio-net-pci,id=nic1,netdev=u1 {_DUMP}u1"
    async with start_vm(qemu, *words.split(), guest="linux") as vm:
        await vm.wait_lease("eth0")
        async with host(vm, clients=False):
            await vm.shell(
                "wget -q -O- http://10.0.2.2:8002/; ping -c 2 -W 2 10.0.2.2; ping -6 -c 1 -W 2 fec0::2; true"
            )
            await vm.shell("nslookup demo.invalid 10.0.2.3; true", timeout_s=60)
            await vm.shell("nc -w 2 10.0.2.2 9; ping -c 1 -W 2 -s 4000 10.0.2.2; true")
        await _keep(vm, path)


async def tap_linux(qemu: Qemu, path: Path) -> None:
    """ARP, ICMP, HTTP on a tap with virtio-net: before QEMU 8.0 each frame has a virtio-net header in the file."""
    words = "-netdev tap,id=t1,ifname=tap1,script=no,downscript=no -device virtio-net-pci,id=nic1,netdev=t1 "
    async with start_vm(qemu, *(words + _DUMP + "t1").split(), guest="linux") as vm:
        await vm.wait_serial("## nic eth0")
        await run_in_namespace(vm, "ip", "addr", "add", "10.5.0.1/24", "dev", "tap1")
        await run_in_namespace(vm, "ip", "link", "set", "tap1", "up")
        async with host(vm, clients=False):
            # Its DHCP client would take the address away again.
            await vm.shell("until [ -s /run/udhcpc.eth0 ]; do sleep 1; done; kill $(cat /run/udhcpc.eth0)")
            await vm.shell("ip addr add 10.5.0.2/24 dev eth0; ip link set eth0 up")
            await vm.shell("ping -c 2 -W 2 10.5.0.1; wget -q -O- http://10.5.0.1:8002/")
        await _keep(vm, path)


async def ipxe(qemu: Qemu, path: Path) -> None:
    """DHCP and TFTP of the iPXE boot ROM."""
    async with start_vm(qemu, *(_DUMP + "u1").split(), guest="ipxe") as vm:
        dump = vm.directory / "dump.pcap"
        async with asyncio.timeout(60):
            while dump.stat().st_size < _IPXE_BYTES:  # noqa: ASYNC110 (QEMU tells nobody that it writes)
                await asyncio.sleep(0.1)
        await _keep(vm, path)


CAPTURES = {"user-linux": user_linux, "tap-linux": tap_linux, "ipxe": ipxe}
