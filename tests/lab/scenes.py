"""The VMs that fixtures are recorded from: one scene a configuration.

A scene runs in a network namespace of its own, so that ports, interface names and addresses are the same on
every machine. It must never touch the host's network.
"""

import asyncio
import shlex
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Literal

from qmon.monitor.session import Session
from tests.lab.vm import LabVm

# What a scene does; it yields the name of each moment at which the texts are to be taken.
Act = Callable[[LabVm, Session], AsyncIterator[str]]


@dataclass(frozen=True)
class Scene:
    """`args` start the VM; `act` moves it from moment to moment (without one there is a single moment)."""

    name: str
    args: str
    act: Act | None = None
    guest: Literal["linux", "ipxe"] | None = None
    machine: str = "pc"
    since: tuple[int, int] = (0, 0)

    @property
    def words(self) -> list[str]:
        """The arguments apart, as a shell would take them."""
        return shlex.split(self.args)


async def run_in_namespace(vm: LabVm, *argv: str) -> str:
    """Run a command in the VM's network namespace; its output."""
    process = await asyncio.create_subprocess_exec(
        "nsenter", f"--net=/proc/{vm.pid}/ns/net", *argv, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"{argv} ended with {process.returncode}")
    return output.decode()


# A host of three habits: 8000 holds connections, 8001 ends its half at once, 8002 answers and ends.
_HOST = """
import socket, threading, time
def listen(port, habit):
    server = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
    kept = []
    def accept():
        while True:
            peer, _ = server.accept()
            kept.append(peer)
            habit(peer)
    threading.Thread(target=accept, daemon=True).start()
def answer(peer):
    peer.recv(4096)
    peer.sendall(b"HTTP/1.0 200 OK\\r\\n\\r\\nhello\\n")
    peer.close()
listen(8000, lambda peer: None)
listen(8001, lambda peer: peer.shutdown(socket.SHUT_WR))
listen(8002, answer)
clients = [socket.create_connection(("127.0.0.1", port)) for port in (8080, 8024)] if CLIENTS else []
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.sendto(b"x" * 16, ("127.0.0.1", 5353))
print("ready", flush=True)
time.sleep(600)
"""


@asynccontextmanager
async def host(vm: LabVm, *, clients: bool) -> AsyncIterator[None]:
    """Run the host's servers (and, if asked for, clients of its forwards) in the VM's namespace."""
    code = _HOST.replace("CLIENTS", str(clients))
    process = await asyncio.create_subprocess_exec(
        "nsenter", f"--net=/proc/{vm.pid}/ns/net", sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(20):
            await process.stdout.readline()
        yield
    finally:
        process.kill()
        await process.wait()


async def until(session: Session, line: str, word: str) -> None:
    """Ask HMP until the answer holds `word`."""
    async with asyncio.timeout(20):
        while word not in await session.hmp(line):  # noqa: ASYNC110 (there is no event to wait for)
            await asyncio.sleep(0.1)


async def _filters(vm: LabVm, session: Session) -> AsyncIterator[str]:
    await session.execute(
        "object-add", {"qom-type": "filter-buffer", "id": "slow", "netdev": "u1", "interval": 2000}
    )
    dump = {"qom-type": "filter-dump", "id": "dump1", "netdev": "u1", "file": f"{vm.directory}/a b,c=d.pcap"}
    await session.execute("object-add", dump)
    dump = {
        "qom-type": "filter-dump",
        "id": "dump2",
        "netdev": "u1",
        "file": f"{vm.directory}/rx.pcap",
        "queue": "rx",
    }
    await session.execute("object-add", dump)
    mirror = {"qom-type": "filter-mirror", "id": "mirror1", "netdev": "s1", "outdev": "c1"}
    await session.execute("object-add", mirror)
    redirector = {
        "qom-type": "filter-redirector",
        "id": "away",
        "netdev": "s1",
        "outdev": "c2",
        "queue": "tx",
    }
    await session.execute("object-add", redirector)
    await session.execute("object-add", {"qom-type": "filter-rewriter", "id": "rewriter1", "netdev": "u1"})
    yield "added"
    await session.execute("qom-set", {"path": "/objects/dump1", "property": "status", "value": "off"})
    yield "off"
    await session.execute("object-del", {"id": "dump1"})
    yield "removed"


async def _ghosts(vm: LabVm, session: Session) -> AsyncIterator[str]:
    dump = {"qom-type": "filter-dump", "id": "dump1", "netdev": "u1", "file": f"{vm.directory}/dump.pcap"}
    await session.execute("object-add", dump)
    yield "before"
    await session.execute("netdev_del", {"id": "u1"})
    yield "deleted"
    await session.execute("netdev_add", {"type": "user", "id": "u1"})
    yield "again"
    await session.execute("device_add", {"driver": "e1000", "id": "nic3", "netdev": "u1"})
    yield "plugged"
    await session.execute("netdev_del", {"id": "u2"})
    yield "both-deleted"


async def _links(vm: LabVm, session: Session) -> AsyncIterator[str]:
    yield "up"
    await session.execute("set_link", {"name": "nic1", "up": False})
    yield "down"
    await session.execute(
        "netdev_add", {"type": "user", "id": "hot", "hostfwd": [{"str": "tcp:127.0.0.1:0-:22"}]}
    )
    yield "hot-netdev"
    await session.execute("device_add", {"driver": "e1000", "id": "hotnic", "netdev": "hot"})
    yield "hot-nic"


async def _connections(vm: LabVm, session: Session) -> AsyncIterator[str]:
    yield "boot"
    await vm.wait_lease("eth0")
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(host(vm, clients=True))
        await vm.shell("(sleep 300 | nc 10.0.2.2 8000) > /dev/null 2>&1 &")
        await until(session, "info usernet", "TCP[ESTABLISHED]")
        yield "established"
        await vm.shell("(sleep 300 | nc 10.0.2.2 8001) > /dev/null 2>&1 & wget -q -O- http://10.0.2.2:8002/")
        await vm.shell("nslookup demo.invalid 10.0.2.3; ping -c 1 -W 2 192.0.2.1; true", timeout_s=60)
        yield "busy"
        await vm.shell(
            "(sleep 300 | nc fec0::2 8000) > /dev/null 2>&1 & sleep 1; ping -6 -c 1 -W 2 fec0::2; true"
        )
        yield "ipv6"
        await vm.shell(
            "for i in 1 2 3 4 5 6; do (sleep 300 | nc 10.0.2.2 8000) > /dev/null 2>&1 & done; sleep 1"
        )
        yield "many"
        await vm.shell("killall nc sleep; true")
        yield "closing"
    yield "host-gone"


async def _forwards(vm: LabVm, session: Session) -> AsyncIterator[str]:
    yield "start"
    for line in (
        "hostfwd_add u1 tcp:127.0.0.1:0-:22",
        "hostfwd_add u1 udp::6969-:69",
        "hostfwd_add u2 tcp::2222-10.9.0.15:22",
    ):
        await session.hmp(line)
    yield "added"
    await session.hmp("hostfwd_remove u2 tcp::2222")
    yield "removed"


_FORWARDS = (
    "hostfwd=tcp:127.0.0.1:8022-:22,hostfwd=udp:127.0.0.1:5353-:53,hostfwd=tcp::8080-:80,"
    "hostfwd=tcp:127.0.0.1:8024-10.0.2.99:22"
)
_MODELS = (
    "e1000",
    "e1000e",
    "rtl8139",
    "ne2k_pci",
    "pcnet",
    "i82559er",
    "tulip",
    "vmxnet3",
    "virtio-net-pci",
)
_NO_SCRIPT = "script=no,downscript=no"

SCENES = (
    Scene("none", "-nic none"),
    Scene("user", "-netdev user,id=u1 -device virtio-net-pci,id=nic1,netdev=u1", _links),
    Scene("nic-option", "-nic user,model=e1000 -nic user,id=n2,model=virtio-net-pci,mac=52:54:00:12:34:99"),
    Scene("net-options", "-net nic,model=e1000 -net user -net nic,model=rtl8139"),
    Scene(
        "anonymous",
        """-netdev user,id=u1 -netdev user,id=u2 -device e1000,netdev=u1 -device virtio-net-pci,netdev=u2
        -device e1000 -device rtl8139""",
    ),
    Scene(
        "models",
        " ".join(f"-device {model},id=nic{n},mac=52:54:00:00:00:0{n}" for n, model in enumerate(_MODELS))
        + " -usb -netdev user,id=free -device usb-net,id=usbnic,netdev=free",
    ),
    Scene(
        "hubs",
        """-netdev hubport,id=h1,hubid=0 -netdev user,id=u1 -netdev hubport,id=h2,hubid=0,netdev=u1
        -device e1000,id=nic1,netdev=h1 -netdev hubport,id=h3,hubid=7 -netdev hubport,id=h4,hubid=7
        -device virtio-net-pci,id=nic2,netdev=h4 -netdev user,id=u2,hostfwd=tcp::2022-:22
        -netdev hubport,id=h5,hubid=7,netdev=u2""",
    ),
    Scene(
        "sockets",
        """-netdev socket,id=listen,listen=127.0.0.1:7001 -netdev socket,id=connect,connect=127.0.0.1:7001
        -netdev socket,id=udp,udp=127.0.0.1:7003,localaddr=127.0.0.1:7004
        -device e1000,id=nic1,netdev=udp -device e1000,id=nic2,netdev=listen""",
    ),
    Scene(
        "streams",
        """-netdev stream,id=server,server=on,addr.type=inet,addr.host=127.0.0.1,addr.port=7101
        -netdev stream,id=client,server=off,addr.type=inet,addr.host=127.0.0.1,addr.port=7101
        -netdev stream,id=path,server=on,addr.type=unix,addr.path={directory}/stream.sock
        -netdev dgram,id=udp,local.type=inet,local.host=127.0.0.1,local.port=7102,\
remote.type=inet,remote.host=127.0.0.1,remote.port=7104
        -netdev dgram,id=local,local.type=unix,local.path={directory}/d1,\
remote.type=unix,remote.path={directory}/d2
        -device virtio-net-pci,id=nic1,netdev=server -device e1000,id=nic2,netdev=udp""",
        since=(7, 2),
    ),
    Scene(
        "multicast",
        """-netdev socket,id=old,mcast=230.0.0.1:7002
        -netdev dgram,id=new,remote.type=inet,remote.host=230.0.0.1,remote.port=7103
        -device e1000,id=nic1,netdev=old""",
        since=(7, 2),
    ),
    Scene(
        "tunnels",
        """-netdev l2tpv3,id=l2tp,src=127.0.0.1,dst=127.0.0.1,udp=on,\
srcport=7201,dstport=7202,rxsession=1,txsession=2
        -device e1000,id=nic1,netdev=l2tp""",
    ),
    Scene(
        "taps",
        f"""-netdev tap,id=t1,ifname=tap1,{_NO_SCRIPT} -device virtio-net-pci,id=nic1,netdev=t1
        -netdev tap,id=t2,ifname=tap2,{_NO_SCRIPT},queues=3
        -device virtio-net-pci,id=nic2,netdev=t2,mq=on,vectors=8
        -netdev tap,id=t3,{_NO_SCRIPT} -device e1000,id=nic3,netdev=t3
        -netdev tap,id=t4,ifname=tap4,{_NO_SCRIPT},queues=2""",
    ),
    Scene(
        "long",
        f"""-netdev tap,id=t1,ifname=tap1,script=/usr/bin/true,downscript=/usr/bin/{"../bin/" * 40}true
        -device e1000,id={"long-name-" * 20}n,netdev=t1
        -netdev user,id=a.b-c_d,net=192.168.0.0/20,restrict=on""",
    ),
    Scene(
        "filters",
        """-netdev user,id=u1 -device e1000,id=nic1,netdev=u1 -netdev socket,id=s1,listen=127.0.0.1:7301
        -device rtl8139,id=nic2,netdev=s1 -chardev null,id=c1 -chardev null,id=c2""",
        _filters,
    ),
    Scene(
        "ghosts",
        """-netdev user,id=u1 -device virtio-net-pci,id=nic1,netdev=u1 -netdev user,id=u2
        -device e1000,id=nic2,netdev=u2""",
        _ghosts,
    ),
    Scene(
        "forwards",
        """-netdev user,id=u1,hostfwd=tcp::2023-:23 -netdev user,id=u2,net=10.9.0.0/24
        -device e1000,id=nic1,netdev=u1 -netdev user,id=u3,ipv4=off,ipv6=on -netdev user,id=u4,restrict=on""",
        _forwards,
    ),
    Scene(
        "connections",
        f"""-netdev user,id=u1,{_FORWARDS} -device virtio-net-pci,id=nic1,netdev=u1
        -netdev user,id=u2,net=10.9.0.0/24,hostfwd=udp::6970-:69 -device e1000,id=nic2,netdev=u2""",
        _connections,
        guest="linux",
    ),
    Scene(
        "q35",
        """-device pcie-root-port,id=rp1,chassis=1 -netdev user,id=u1
        -device e1000e,id=nic1,netdev=u1,bus=rp1""",
        machine="q35",
    ),
)
