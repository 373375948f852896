"""Every backend for real: plugged into two running guests that talk over it, captured, and unplugged again.

Two VMs in a network of their own have a NIC on each backend at once; what one says to the other goes over all of them.
"""

import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from qmon.errors import QmonError, Refused
from qmon.monitor import commands
from qmon.monitor.address import UnixAddress
from qmon.monitor.session import Session
from qmon.network import change
from qmon.network.cable import lay_cable, plan_cable
from qmon.network.inspect import inspect
from tests.cli.program import qmon
from tests.lab import start_vm
from tests.lab.namespace import Namespace, namespace
from tests.lab.qemus import Qemu
from tests.lab.vm import LabVm

NO_SCRIPT = "script=no,downscript=no"
MULTICAST = "230.0.0.1"


@dataclass(frozen=True)
class Backend:
    """What is plugged into the first VM and into the second; `{dir}` is a directory that both can write to."""

    name: str
    first: str
    second: str


BACKENDS = (
    Backend("tap", f"tap,ifname=tapa,{NO_SCRIPT}", f"tap,ifname=tapb,{NO_SCRIPT}"),
    Backend("tap-fd", "tap,fd=lent", "tap,fd=lent"),
    Backend("tap-helper", "tap,br=br0,helper={dir}/helper", "tap,br=br0,helper={dir}/helper"),
    Backend("bridge", "bridge,br=br0,helper={dir}/helper", "bridge,br=br0,helper={dir}/helper"),
    Backend("socket", "socket,listen=127.0.0.1:7001", "socket,connect=127.0.0.1:7001"),
    Backend("socket-mcast", f"socket,mcast={MULTICAST}:7002", f"socket,mcast={MULTICAST}:7002"),
    Backend(
        "socket-udp",
        "socket,udp=127.0.0.1:7003,localaddr=127.0.0.1:7004",
        "socket,udp=127.0.0.1:7004,localaddr=127.0.0.1:7003",
    ),
    Backend(
        "stream-unix",
        "stream,server=on,addr.type=unix,addr.path={dir}/stream",
        "stream,server=off,addr.type=unix,addr.path={dir}/stream",
    ),
    Backend(
        "stream-inet",
        "stream,server=on,addr.type=inet,addr.host=127.0.0.1,addr.port=7005",
        "stream,addr.type=inet,addr.host=127.0.0.1,addr.port=7005",
    ),
    Backend(
        "dgram-unix",
        "dgram,local.type=unix,local.path={dir}/a,remote.type=unix,remote.path={dir}/b",
        "dgram,local.type=unix,local.path={dir}/b,remote.type=unix,remote.path={dir}/a",
    ),
    Backend(
        "dgram-inet",
        "dgram,local.type=inet,local.host=127.0.0.1,local.port=7006,remote.type=inet,remote.host=127.0.0.1,remote.port=7007",
        "dgram,local.type=inet,local.host=127.0.0.1,local.port=7007,remote.type=inet,remote.host=127.0.0.1,remote.port=7006",
    ),
    Backend(
        "dgram-mcast",
        f"dgram,remote.type=inet,remote.host={MULTICAST},remote.port=7008",
        f"dgram,remote.type=inet,remote.host={MULTICAST},remote.port=7008",
    ),
    Backend("vde", "vde,sock={dir}/vde", "vde,sock={dir}/vde"),
    Backend(
        "l2tpv3",
        "l2tpv3,src=127.0.0.1,dst=127.0.0.1,udp=on,srcport=7009,dstport=7010,rxsession=1,txsession=2",
        "l2tpv3,src=127.0.0.1,dst=127.0.0.1,udp=on,srcport=7010,dstport=7009,rxsession=2,txsession=1",
    ),
    # A hub joins the NIC and a netdev that goes to the other VM.
    Backend("hubport", "hubport,hubid=1", "socket,connect=127.0.0.1:7011"),
)
HUB = ("socket,id=uplink,listen=127.0.0.1:7011", "hubport,id=uplink-port,hubid=1,netdev=uplink")
CABLE = "cable"

# QEMU's own helper wants a list of bridges in /etc; it is given one that only it sees.
HELPER = """#!/bin/sh
exec unshare --mount -- sh -c 'mount -t tmpfs none /etc && mkdir /etc/qemu && echo allow br0 > /etc/qemu/bridge.conf &&
exec /usr/lib/qemu/qemu-bridge-helper "$@"' helper "$@"
"""

ADDRESSES = """
until [ "$(ls -d /sys/class/net/eth* | wc -l)" = {count} ]; do sleep 0.2; done
for nic in /sys/class/net/eth*; do
  case $(cat $nic/address) in
  52:54:00:01:*) number=$((0x$(cut -d: -f5 $nic/address))) ;;
  *) number={cable} ;;
  esac
  ip addr add 10.1.$number.{host}/24 dev ${{nic##*/}}
  ip link set ${{nic##*/}} up
done
"""
PINGS = "for n in {numbers}; do (ping -c 1 -W 20 10.1.$n.2 >/dev/null && echo $n) & done; wait"


@asynccontextmanager
async def host(directory: Path) -> AsyncIterator[Namespace]:
    """A host with a bridge, two taps in it, a VDE switch and a way for multicasts."""
    async with namespace() as place:
        for words in (
            "link add br0 type bridge",
            "link set br0 up",
            "tuntap add tapa mode tap",
            "tuntap add tapb mode tap",
            "link set tapa master br0 up",
            "link set tapb master br0 up",
            "route add 224.0.0.0/4 dev lo",
        ):
            place.run("ip", *words.split())
        (directory / "helper").write_text(HELPER)
        (directory / "helper").chmod(0o755)
        switch = await asyncio.create_subprocess_exec(
            "vde_switch", "-s", str(directory / "vde"), stdin=-1, stdout=-1
        )
        try:
            async with asyncio.timeout(20):
                while not (directory / "vde" / "ctl").exists():  # noqa: ASYNC110 (there is no event)
                    await asyncio.sleep(0.02)
            yield place
        finally:
            switch.terminate()
            await switch.communicate()


def _open_tap(place: Namespace, name: str) -> int:
    """A descriptor of a new tap in another network namespace; only the thread that calls this goes there."""
    libc = ctypes.CDLL(None, use_errno=True)
    with Path(f"/proc/{place.pid}/ns/net").open() as there:
        if libc.setns(there.fileno(), 0x40000000):
            raise OSError(ctypes.get_errno(), "setns")
    import fcntl
    import struct

    fd = os.open("/dev/net/tun", os.O_RDWR)
    # TUNSETIFF; IFF_TAP, IFF_NO_PI, IFF_VNET_HDR.
    fcntl.ioctl(fd, 0x400454CA, struct.pack("16sH22x", name.encode(), 0x0002 | 0x1000 | 0x4000))
    return fd


async def lend_tap(place: Namespace, session: Session, name: str) -> None:
    fd = await asyncio.to_thread(_open_tap, place, name)
    place.run("ip", "link", "set", name, "master", "br0", "up")
    try:
        await commands.getfd("lent").send(session, fd=fd)
    finally:
        os.close(fd)


def _mac(number: int, vm: int) -> str:
    return f"52:54:00:01:{number:02x}:{vm:02x}"


async def _plug_all(directory: Path, place: Namespace, sessions: tuple[Session, Session]) -> list[str]:
    for words in HUB:
        await change.add_netdev(sessions[0], words)
    for number, backend in enumerate(BACKENDS):
        for vm, (session, spec) in enumerate(zip(sessions, (backend.first, backend.second), strict=True)):
            if "fd=lent" in spec:
                await lend_tap(place, session, f"lent{vm}")
            nic = f"virtio-net-pci,id={backend.name}-nic,mac={_mac(number, vm)}"
            await change.plug(session, f"{spec.format(dir=directory)},id={backend.name}", nic)
    return [backend.name for backend in BACKENDS]


@asynccontextmanager
async def recorded(vm: str, path: Path) -> AsyncIterator[None]:
    """Everything that passes in the VM goes into a file."""
    words = (sys.executable, "-m", "qmon", "--vm", vm, "dump", "--all", "-w", str(path), "icmp")
    process = await asyncio.create_subprocess_exec(*words, stdin=asyncio.subprocess.DEVNULL, stderr=-1)
    assert process.stderr is not None
    try:
        async with asyncio.timeout(30):
            while b"capturing" not in await process.stderr.readline():
                pass
        yield
    finally:
        process.send_signal(signal.SIGINT)
        await process.communicate()


async def _netdevs_seen(path: Path) -> set[str]:
    import json

    lines = (await qmon("read", str(path), "-o", "jsonl")).out.splitlines()
    return {str(packet["netdev"]) for packet in map(json.loads, lines) if packet["protocol"] == "ICMP"}


@pytest.mark.timeout(300)
async def test_guests_talk_over_every_backend(qemu: Qemu, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        place = await stack.enter_async_context(host(tmp_path))
        vms = [
            await stack.enter_async_context(start_vm(place.qemu(qemu), guest="linux", name=name))
            for name in ("first", "second")
        ]
        first, second = [
            await stack.enter_async_context(await Session.attach(UnixAddress(vm.qmp[0]))) for vm in vms
        ]
        for vm in vms:
            # No NIC asks for a lease: nobody would answer.
            await vm.shell("for n in $(seq 0 31); do mkdir /run/seen.eth$n; done")
        names = await _plug_all(tmp_path, place, (first, second))
        await lay_cable(await plan_cable(first, second, CABLE))
        names.append(CABLE)
        for number, vm in enumerate(vms, start=1):
            await vm.shell(
                ADDRESSES.format(host=number, count=len(names), cable=len(names) - 1), timeout_s=90
            )
        async with recorded(vms[0].qmp[0], tmp_path / "all.pcapng"):
            numbers = " ".join(map(str, range(len(names))))
            said = await vms[0].shell(PINGS.format(numbers=numbers), timeout_s=120)
        assert [names[number] for number in sorted(map(int, said.split()))] == names
        seen = await _netdevs_seen(tmp_path / "all.pcapng")
        assert seen >= set(names) - {"hubport"}
        await _passt(vms[0], first, place, tmp_path)
        await asyncio.gather(*(_unplug_all(session, names) for session in (first, second)))
        await change.remove_netdev(first, "uplink-port", force=True)
        await change.remove_netdev(first, "uplink")
        for vm, session in zip(vms, (first, second), strict=True):
            network = await inspect(session)
            assert [netdev.id for netdev in network.netdevs if netdev.id != "passt"] == []
            assert network.nics == ()
            _whole(vm)


async def _passt(vm: LabVm, session: Session, place: Namespace, directory: Path) -> None:
    """The host's own address through passt: QEMU's netdev where it has one, else a stream to a passt of ours."""
    for words in (
        "link add up0 type veth peer name up1",
        "address add 192.0.2.1/24 dev up0",
        "link set up0 up",
        "link set up1 up",
        "route add default via 192.0.2.2",
    ):
        place.run("ip", *words.split())
    # As root passt would become nobody, who may not enter the directories of a test.
    own = session.version.major < 11
    words = (*place.inside, "passt", "--foreground", "--runas", "0", "--socket", str(directory / "passt"))
    process = await asyncio.create_subprocess_exec(*words, stderr=-1) if own else None
    try:
        async with asyncio.timeout(20):
            while own and not (directory / "passt").exists():  # noqa: ASYNC110 (there is no event)
                await asyncio.sleep(0.02)
        spec = f"stream,addr.type=unix,addr.path={directory}/passt" if own else "passt,param=--runas,param=0"
        await change.plug(session, f"{spec},id=passt", f"virtio-net-pci,id=passt-nic,mac={_mac(0xFF, 0)}")
        nic = await vm.shell(f"until grep -l {_mac(0xFF, 0)} /sys/class/net/eth*/address; do sleep 0.2; done")
        await vm.shell(f"ip link set {nic.split('/')[4]} up; udhcpc -i {nic.split('/')[4]} -n -q -s /lease")
        await vm.wait_serial("^## lease eth[0-9]+ 192.0.2.1\n")
        if own:
            await change.unplug(session, "passt-nic")
        else:
            with pytest.raises(Refused, match="its netdev passt stays"):
                await change.unplug(session, "passt-nic")
    finally:
        if process is not None:
            process.kill()
            await process.communicate()


async def _unplug_all(session: Session, names: list[str]) -> None:
    async with asyncio.TaskGroup() as tasks:
        for name in names:
            tasks.create_task(change.unplug(session, f"{name}-nic", timeout_s=60), name=f"unplug {name}")


def _whole(vm: LabVm) -> None:
    """The VM runs and its descriptor 0 is still what it was."""
    assert vm.running
    assert os.readlink(f"/proc/{vm.pid}/fd/0") == "/dev/null"


CANNOT_BE = {
    "vhost-user,id=x,chardev=none": "chardev",
    "vhost-vdpa,id=x,vhostdev=/dev/vhost-vdpa-none": "No such file",
    "netmap,id=x,ifname=none": "not compiled",
    "tap,id=x,ifname=tapnone,script=/nowhere": "script /nowhere failed",
    "vde,id=x,sock=/nowhere": "Could not open vde",
    "bridge,id=x,br=none,helper=/nowhere": "bridge helper failed",
    "af-xdp,id=x,ifname=lo": "no netdev type 'af-xdp'",
}


async def test_a_backend_that_cannot_be_says_why(qemu: Qemu) -> None:
    async with start_vm(qemu) as vm, await Session.attach(UnixAddress(vm.qmp[0])) as session:
        for spec, says in CANNOT_BE.items():
            with pytest.raises(QmonError, match=says):
                await change.add_netdev(session, spec)
            _whole(vm)
        assert (await inspect(session)).netdevs == ()
