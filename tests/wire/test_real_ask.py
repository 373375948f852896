"""`qmon ask`: the user-mode stack asked with no guest, and what asking must not do to a guest."""

import asyncio
import socket

import pytest

from tests.cli.program import qmon
from tests.lab import start_vm
from tests.lab.qemus import Qemu
from tests.wire.places import descriptor_0, dumped, left, user


@pytest.mark.parametrize("model", ["virtio-net-pci", "e1000", "rtl8139"])
async def test_the_user_mode_stack_answers_without_a_guest(qemu: Qemu, model: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        async with start_vm(qemu, *user(model)) as vm:
            before = descriptor_0(vm)
            offer = await qmon("ask", "dhcp", "-o", "json", vm=vm.qmp[0])
            assert offer.code == 0, offer.err
            document = offer.json
            assert document.pop("rtt_ms") > 0
            assert document == {
                "question": "dhcp",
                "netdev": "u1",
                "answered": True,
                "answer": {
                    "address": "10.0.2.15",
                    "netmask": "255.255.255.0",
                    "router": ["10.0.2.2"],
                    "dns": ["10.0.2.3"],
                    "server": "10.0.2.2",
                    "lease_s": 86400,
                    "domain": None,
                },
            }
            listening = await qmon("ask", "tcp", f"10.0.2.2:{port}", "-o", "json", vm=vm.qmp[0])
            assert listening.json["answer"] == {"address": "10.0.2.2", "state": "open"}
            # A real connection came to the host, and has ended.
            server.settimeout(5)
            peer, _ = server.accept()
            with peer:
                peer.settimeout(5)
                assert peer.recv(1) == b""
            closed = await qmon("ask", "tcp", "10.0.2.2:1", "-o", "json", vm=vm.qmp[0])
            assert (closed.code, closed.json["answer"]["state"]) == (0, "refused")
            assert await left(vm) == []
            assert descriptor_0(vm) == before


async def test_arp_ra_ping_and_dns(qemu: Qemu) -> None:
    async with start_vm(qemu, *user()) as vm:
        gateway = await qmon("ask", "arp", "10.0.2.2", "-o", "json", vm=vm.qmp[0])
        assert gateway.json["answer"] == {"mac": "52:55:0a:00:02:02"}
        router = await qmon("ask", "ra", "-o", "json", vm=vm.qmp[0])
        assert router.json["answer"]["router"] == "fe80::2"
        assert router.json["answer"]["prefixes"] == ["fec0::/64"]
        reply = await qmon("ask", "ping", "10.0.2.2", "-o", "json", vm=vm.qmp[0])
        assert reply.json["answer"] == {"address": "10.0.2.2", "ttl": 255}
        silent = await qmon("ask", "arp", "10.0.2.99", "-W", "0.2", "-o", "json", vm=vm.qmp[0])
        assert silent.code == 1
        assert (silent.json["answered"], silent.json["rtt_ms"]) == (False, None)
        assert "nobody on u1 has 10.0.2.99" in silent.err
        assert await left(vm) == []


async def test_with_restrict_a_refusal_proves_nothing(qemu: Qemu) -> None:
    restricted = ("-netdev", "user,id=u1,restrict=on", "-device", "e1000,netdev=u1,id=nic1")
    with socket.create_server(("127.0.0.1", 0)) as server:
        async with start_vm(qemu, *restricted) as vm:
            found = await qmon("ask", "tcp", f"10.0.2.2:{server.getsockname()[1]}", vm=vm.qmp[0])
            assert found.code == 0, found.err
            assert "state: refused" in found.out
            assert "restrict=on" in found.err


async def test_after_dhcp_a_guest_keeps_its_forward_and_a_fresh_one_its_address(
    qemu: Qemu, unused_tcp_port: int
) -> None:
    forward = f"user,id=u1,hostfwd=tcp:127.0.0.1:{unused_tcp_port}-:80"
    words = ("-netdev", forward, "-device", "virtio-net-pci,netdev=u1,id=nic1")
    async with start_vm(qemu, *words, guest="linux") as vm:
        # Before the guest has asked.
        async with dumped(vm) as frames:
            assert (await qmon("ask", "dhcp", vm=vm.qmp[0])).code == 0
        nic = bytes.fromhex("525400123456")
        ours = [f for f in frames if f[6:12] == nic and f[34:38] == b"\x00\x44\x00\x43"]
        assert ours
        assert await vm.wait_lease() == "10.0.2.15"
        assert await _fetch(unused_tcp_port) == b"hello from the guest\n"
        # And a static one.
        await vm.shell(
            "kill $(cat /run/udhcpc.eth0); ip addr flush dev eth0; ip addr add 10.0.2.15/24 dev eth0"
        )
        assert (await qmon("ask", "dhcp", vm=vm.qmp[0])).code == 0
        assert await _fetch(unused_tcp_port) == b"hello from the guest\n"


async def _fetch(port: int) -> bytes:
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        reply = await reader.read()
        writer.close()
    return reply.partition(b"\r\n\r\n")[2]
