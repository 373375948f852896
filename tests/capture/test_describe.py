"""What a file says of where its frames come from."""

import asyncio
import subprocess
from pathlib import Path

from qmon.capture.describe import names
from qmon.network.model import Netdev
from qmon.packets.files.source import CaptureFile
from tests.capture.test_real import QMON
from tests.capture.test_real_many import tshark
from tests.lab import start_vm
from tests.lab.qemus import Qemu

ONE = Netdev("u1", "user", "net=10.0.2.0,restrict=off")
TWO = Netdev("u2", "user", "net=10.0.2.0,restrict=off")
IPV4 = {"type": "user", "ipv6": "off"}


def test_addresses_have_the_name_of_their_netdev() -> None:
    networks = [{**IPV4, "id": "u1"}]
    assert names([(ONE, networks)]) == {"10.0.2.2": "gateway.u1.qemu", "10.0.2.3": "dns.u1.qemu"}
    assert names([(ONE, ())]) == {}


def test_an_address_of_two_stacks_is_neithers() -> None:
    networks = [{**IPV4, "id": "u1"}, {**IPV4, "id": "u2", "host": "10.0.2.3", "dns": "10.0.2.9"}]
    assert names([(ONE, networks), (TWO, networks)]) == {
        "10.0.2.2": "gateway.u1.qemu",
        "10.0.2.9": "dns.u2.qemu",
    }
    networks[1] = {**IPV4, "id": "u2"}
    assert names([(ONE, networks), (TWO, networks)]) == {"10.0.2.2": "gateway.qemu", "10.0.2.3": "dns.qemu"}


async def test_names_are_those_that_the_guest_is_told(qemu: Qemu, tmp_path: Path) -> None:
    """The stack's own DHCP server says what its gateway and its name server are."""
    path = tmp_path / "a.pcapng"
    netdev = "user,id=u1,net=192.168.64.0/20,dns=192.168.64.9,tftp={directory}/tftp,bootfile=boot.ipxe"
    words = ("-netdev", netdev, "-device", "virtio-net-pci,id=nic1,netdev=u1")
    # Held until it is listened to: the guest asks for its address once, right after it started.
    async with start_vm(qemu, *words, "-S", guest="ipxe") as vm:
        dump = await asyncio.create_subprocess_exec(
            *(*QMON, "--vm", vm.qmp[0], "dump", "--netdev", "u1", "-w", str(path), "-c", "2"),
            *("udp", "src", "port", "67"),
            stderr=subprocess.DEVNULL,
        )
        async with asyncio.timeout(60):
            while "filter-dump" not in await vm.hmp_raw("info network"):
                assert dump.returncode is None
                await asyncio.sleep(0.05)
            await vm.qmp_raw("cont")
            assert await dump.wait() == 0
    fields = ("dhcp.option.router", "dhcp.option.domain_name_server")
    rows = await tshark(
        path, "-Y", "dhcp", "-T", "fields", *(word for name in fields for word in ("-e", name))
    )
    with CaptureFile(path) as file:
        while file.read_batch() is not None:
            pass
        known = dict(file.names)
    gateway, dns = rows[0].split("\t")
    assert known == {
        gateway: "gateway.u1.qemu",
        dns: "dns.u1.qemu",
        "fec0::2": "gateway.u1.qemu",
        "fec0::3": "dns.u1.qemu",
    }
    assert (gateway, dns) == ("192.168.66.2", "192.168.64.9")
