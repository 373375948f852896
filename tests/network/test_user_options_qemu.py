"""Every option of the user-mode network with a guest that uses it, on netdevs plugged in while it runs."""

import asyncio
import socket
from pathlib import Path

import pytest

from qmon.errors import Refused
from qmon.monitor.address import UnixAddress
from qmon.monitor.session import Session
from qmon.network import change
from qmon.network.answering import wait_answer
from qmon.network.inspect import inspect
from tests.lab import start_vm
from tests.lab.qemus import Qemu
from tests.lab.vm import LabVm

# Writes down what the DHCP server said, and takes the address.
ASK = """
cat > /tmp/said <<'END'
#!/bin/sh
[ "$1" = bound ] || exit 0
env > /tmp/env
ip addr add "$ip/$mask" dev "$interface"
ip route add default via "$router" dev "$interface"
END
chmod +x /tmp/said
until ip link show eth0 2>/dev/null; do sleep 0.2; done
ip link set eth0 up
udhcpc -i eth0 -n -q -s /tmp/said -O hostname -O domain -O search -O bootfile -O tftp -O dns
cat /tmp/env
"""
UNHEARD = "grep '^Udp: [0-9]' /proc/net/snmp | cut -d' ' -f3"
QUIET = "for n in $(seq 0 9); do mkdir /run/seen.eth$n; done"


def spec(directory: Path, port: int) -> str:
    return ",".join(
        [
            "user,id=u1,net=10.7.0.0/24,host=10.7.0.9,dhcpstart=10.7.0.40,dns=10.7.0.8",
            "hostname=guesthost,domainname=lab.example,dnssearch=a.example,dnssearch=b.example",
            f"tftp={directory},bootfile=boot.bin,tftp-server-name=boot.example",
            "hostfwd=tcp:127.0.0.1:0-:80,hostfwd=udp:127.0.0.1:0-:6900",
            "guestfwd=tcp:10.7.0.100:7-cmd:cat",
            f"guestfwd=tcp:10.7.0.101:9-tcp:127.0.0.1:{port}",
            "ipv6-net=fd00:7::/64,ipv6-host=fd00:7::9,ipv6-dns=fd00:7::8",
        ]
    )


async def _greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"hello from the host\n")
    writer.close()


@pytest.mark.timeout(240)
async def test_a_guest_uses_every_option(qemu: Qemu, tmp_path: Path) -> None:
    (tmp_path / "boot.bin").write_bytes(b"what the guest boots\n")
    server = await asyncio.start_server(_greet, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with (
        server,
        start_vm(qemu, guest="linux") as vm,
        await Session.attach(UnixAddress(vm.qmp[0])) as session,
    ):
        await vm.shell(QUIET)
        await change.plug(session, spec(tmp_path, port), "virtio-net-pci,id=nic1")
        said = dict(line.partition("=")[::2] for line in (await vm.shell(ASK, timeout_s=60)).splitlines())
        expected = {
            "ip": "10.7.0.40",
            "router": "10.7.0.9",
            "dns": "10.7.0.8",
            "hostname": "guesthost",
            "domain": "lab.example",
            "search": "a.example b.example",
            "boot_file": "boot.bin",
        }
        assert {name: said.get(name) for name in expected} == expected
        assert "boot.example" in said.values()
        assert "what the guest boots" in await vm.shell(
            "tftp -g -r boot.bin -l /tmp/got 10.7.0.9 && cat /tmp/got"
        )
        assert "echoed" in await vm.shell("(echo echoed; sleep 1) | timeout 4 nc 10.7.0.100 7 || true")
        assert "hello from the host" in await vm.shell("timeout 4 nc 10.7.0.101 9 </dev/null || true")
        await _forwards(vm, session)
        # The guest makes its address of what the router says.
        await vm.shell("until ip -6 addr show dev eth0 | grep -q 'inet6 fd00:7:'; do sleep 0.2; done")
        assert "via fe80::" in await vm.shell("ip -6 route show default")
        assert "1 packets received" in await vm.shell("ping6 -c 1 -W 10 fd00:7::9")
        await change.unplug(session, "nic1")
        await _shut_in(vm, session, port)
        await _one_family(vm, session)
        # Where the server is not installed, QEMU says so before anything is there.
        if Path("/usr/sbin/smbd").exists():
            await change.remove_netdev(
                session, await change.add_netdev(session, f"user,id=s1,smb={tmp_path}")
            )
        else:
            with pytest.raises(Refused, match="/usr/sbin/smbd"):
                await change.add_netdev(session, f"user,id=s1,smb={tmp_path}")
        assert (await inspect(session)).netdevs == ()


async def _forwards(vm: LabVm, session: Session) -> None:
    tcp, udp = sorted(await change.list_forwards(session), key=lambda one: one.protocol)
    assert (tcp.guest_address, tcp.guest_port, udp.guest_port) == ("10.7.0.40", 80, 6900)
    await wait_answer(session, tcp, timeout_s=20)
    # Nothing listens there; the kernel counts what comes all the same.
    before = int(await vm.shell(UNHEARD))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"a datagram\n", ("127.0.0.1", udp.host_port))
    await vm.shell(f"until [ $({UNHEARD}) -gt {before} ]; do sleep 0.1; done")


async def _shut_in(vm: LabVm, session: Session, port: int) -> None:
    """restrict=on: an address, and no way out but what guestfwd gives."""
    await change.plug(
        session, f"user,id=u1,restrict=on,guestfwd=tcp:10.0.2.100:9-tcp:127.0.0.1:{port}", "e1000,id=nic1"
    )
    await vm.shell(ASK, timeout_s=60)
    assert await vm.shell(f"timeout 4 nc 10.0.2.2 {port} </dev/null 2>/dev/null || echo shut") == "shut\n"
    assert "hello from the host" in await vm.shell("timeout 4 nc 10.0.2.100 9 </dev/null || true")
    await change.unplug(session, "nic1")


async def _one_family(vm: LabVm, session: Session) -> None:
    """ipv4=off: nobody gives an IPv4 address, and the router still speaks IPv6."""
    await change.plug(
        session, "user,id=u1,ipv4=off,ipv6-prefix=fd00:8::,ipv6-prefixlen=64", "rtl8139,id=nic1"
    )
    await vm.shell("until ip link set eth0 up 2>/dev/null; do sleep 0.2; done")
    await vm.shell("until ip -6 addr show dev eth0 | grep -q 'inet6 fd00:8:'; do sleep 0.2; done")
    assert "none" in await vm.shell(
        "udhcpc -i eth0 -n -q -t 2 -T 1 -s /tmp/said >/dev/null 2>&1 || echo none"
    )
    await change.unplug(session, "nic1")
