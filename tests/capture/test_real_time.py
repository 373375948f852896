"""The times of a capture against a host's tcpdump on the same tap."""

import asyncio
import statistics
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from qmon.capture.vm import VmCapture
from qmon.monitor.address import UnixAddress
from qmon.monitor.discovery import find_vm
from qmon.monitor.session import Session
from qmon.packets.batch import FrameBatch
from qmon.packets.files.source import CaptureFile
from tests.lab import start_vm
from tests.lab.namespace import Namespace, namespace
from tests.lab.qemus import Qemu
from tests.lab.vm import LabVm

TAP = (
    "-netdev",
    "tap,id=t1,ifname=tap0,script=no,downscript=no",
    "-device",
    "virtio-net-pci,netdev=t1,id=n1,mac=52:54:00:00:00:07",
)


# Of the first NIC that QEMU gives an address to.
NIC = bytes.fromhex("525400123456")


@asynccontextmanager
async def tapped_vm(
    qemu: Qemu, *args: str, env: dict[str, str] | None = None
) -> AsyncIterator[tuple[LabVm, Namespace]]:
    """A Linux guest at 192.168.77.2 on a tap in a namespace where the host is 192.168.77.1."""
    async with (
        namespace() as network,
        start_vm(network.qemu(qemu), *TAP, *args, guest="linux", env=env) as vm,
    ):
        network.give("tap0", "192.168.77.1/24")
        await vm.wait_serial("## ready")
        # A DHCP client that finds no server takes the address away when it begins.
        await vm.shell("sleep 1; killall udhcpc; sleep 1; ip addr add 192.168.77.2/24 dev eth0")
        yield vm, network


@asynccontextmanager
async def tcpdump(network: Namespace, path: Path) -> AsyncIterator[None]:
    process = await asyncio.create_subprocess_exec(
        *(*network.inside, "tcpdump", "-i", "tap0", "-U", "--immediate-mode"),
        *("--nano", "-w", str(path), "icmp"),
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    async with asyncio.timeout(20):
        while b"listening" not in await process.stderr.readline():
            pass
    try:
        yield
    finally:
        process.terminate()
        await process.communicate()


def echoes(batch: FrameBatch) -> dict[bytes, int]:
    """Echo requests and replies, told apart by all their bytes, and when they were."""
    found = {}
    for i in range(len(batch)):
        frame = bytes(batch.frame(i))
        if frame[12:14] == b"\x08\x00" and frame[23] == 1:
            found[frame] = int(batch.time_ns[i])
    return found


def read_echoes(path: Path) -> dict[bytes, int]:
    found: dict[bytes, int] = {}
    with CaptureFile(path) as file:
        while (batch := file.read_batch()) is not None:
            found |= echoes(batch)
    return found


async def capture_while(vm: LabVm, work: Callable[[], object]) -> tuple[dict[bytes, int], VmCapture]:
    address = UnixAddress(vm.qmp[0])
    found: dict[bytes, int] = {}
    async with await Session.attach(address) as session, VmCapture(session, find_vm(address)) as capture:
        await capture.tap("t1")
        task = asyncio.ensure_future(work())  # type: ignore[arg-type]
        while not task.done():
            await capture.wait(0.1)
            if (batch := capture.poll().batch) is not None:
                found |= echoes(batch)
        await task
    if (batch := capture.poll().batch) is not None:
        found |= echoes(batch)
    return found, capture


async def ping(network: Namespace, count: int) -> None:
    process = await asyncio.create_subprocess_exec(
        *(*network.inside, "busybox", "ping", "-i", "0.03", "-c", str(count), "192.168.77.2"),
        stdout=subprocess.DEVNULL,
    )
    await process.wait()


CLOCKS = {
    "7.2": ("base=localtime", "Asia/Shanghai"),
    "10.0": ("base=2001-02-03T04:05:06", "America/New_York"),
    "11.1": ("base=utc", "Asia/Shanghai"),
}


async def test_times_are_the_hosts(qemu: Qemu, tmp_path: Path) -> None:
    rtc, zone = CLOCKS[qemu.version]
    async with tapped_vm(qemu, "-rtc", rtc, env={"TZ": zone}) as (vm, network):

        async def work() -> None:
            await ping(network, 60)
            await vm.qmp_raw("stop")
            await asyncio.sleep(0.7)
            await vm.qmp_raw("cont")
            await ping(network, 60)

        async with tcpdump(network, tmp_path / "host.pcap"):
            mine, capture = await capture_while(vm, work)
        host = read_echoes(tmp_path / "host.pcap")
        both = mine.keys() & host.keys()
        assert len(both) >= 200
        assert len(capture.clock.epochs) >= 2
        # What the guest sends is stamped by QEMU just before the host sees it; the other way QEMU may be late.
        sent = [frame for frame in both if frame[6:12] == bytes.fromhex("525400000007")]
        errors = sorted(abs(mine[frame] - host[frame]) / 1e6 for frame in sent)
        assert statistics.median(errors) <= 1.0, capture.clock.epochs
        assert errors[int(len(errors) * 0.95)] <= 5.0, capture.clock.epochs


# Only before QEMU 8.0 is there a header to take away.
@pytest.mark.always_on("7.2", "11.1")
async def test_frames_carry_no_virtio_header(qemu: Qemu, tmp_path: Path) -> None:
    async with tapped_vm(qemu) as (vm, network), tcpdump(network, tmp_path / "host.pcap"):
        mine, _ = await capture_while(vm, lambda: ping(network, 10))
    host = read_echoes(tmp_path / "host.pcap")
    assert len(mine) >= 20
    assert len(mine.keys() & host.keys()) >= 20


async def test_a_vm_without_a_steady_clock_says_so(qemu_one: Qemu) -> None:
    async with start_vm(qemu_one, "-icount", "shift=auto", guest="ipxe") as vm:
        address = UnixAddress(vm.qmp[0])
        async with await Session.attach(address) as session, VmCapture(session, find_vm(address)) as capture:
            await capture.tap("u1")
            assert "-icount" in capture.interfaces[0].description


async def test_with_icount_nothing_is_lost_and_the_times_are_called_rough(qemu: Qemu, tmp_path: Path) -> None:
    """The VM's clock counts instructions: no constant lies between it and the host's."""
    path, independent = tmp_path / "a.pcapng", "{directory}/all.pcap"
    words = ("-icount", "shift=auto", "-object", f"filter-dump,id=all,netdev=u1,file={independent}")
    async with start_vm(qemu, *words, guest="ipxe") as vm:
        dump = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "qmon", "--vm", vm.qmp[0], "dump", "--netdev", "u1", "-w", str(path)),
            *("-c", "200"),
            stderr=asyncio.subprocess.PIPE,
        )
        _, said = await dump.communicate()
        assert dump.returncode == 0, said
        assert b"200 written, 0 dropped\n" in said
        theirs = frames_of(vm.directory / "all.pcap")
    mine = frames_of(path)
    assert len(mine) == 200
    # QEMU's two threads do not see the counted clock alike: between the two ways the order is as rough as the times.
    for sent in (True, False):
        one_way, true = ([one for one in frames if (one[6:12] == NIC) == sent] for frames in (mine, theirs))
        start = true.index(one_way[0])
        assert one_way == true[start : start + len(one_way)]
    with CaptureFile(path) as file:
        batch = file.read_batch()
        assert batch is not None
        assert (np.diff(batch.time_ns) >= 0).all()
        assert "only roughly the host's: the VM runs with -icount" in file.interfaces[0].description


def frames_of(path: Path) -> list[bytes]:
    """Every frame of a file, in order."""
    frames: list[bytes] = []
    with CaptureFile(path) as file:
        while (batch := file.read_batch()) is not None:
            frames += [bytes(batch.frame(row)) for row in range(len(batch))]
    return frames
