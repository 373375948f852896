"""A monitor over TCP whose VM is treated as one of another host."""

import asyncio
import os
import signal
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from qmon.capture.reading import kernel
from qmon.capture.reading.follower import Follower
from qmon.capture.taps import mirror
from qmon.capture.taps.sweep import sweep
from qmon.capture.vm import CaptureOptions, VmCapture
from qmon.errors import Refused
from qmon.monitor.address import TcpAddress
from qmon.monitor.session import Session
from qmon.packets.batch import Direction
from tests.capture.taps.test_guardian import wait_for
from tests.capture.test_real import ours
from tests.lab import start_vm
from tests.lab.qemus import Qemu
from tests.lab.vm import LabVm

MONITOR = ("-qmp", "tcp:127.0.0.1:{port},server=on,wait=off")


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


async def mirrors(vm: LabVm) -> list[str]:
    return [
        entry["label"] for entry in await vm.qmp_raw("query-chardev") if entry["label"].startswith("qmon-")
    ]


async def test_both_directions_come_over_tcp(qemu: Qemu) -> None:
    port = free_port()
    words = [word.format(port=port) for word in MONITOR]
    async with start_vm(qemu, *words, guest="ipxe") as vm:
        async with await Session.attach(TcpAddress("127.0.0.1", port)) as session:
            async with VmCapture(session, options=CaptureOptions(remote_mirror=True)) as capture:
                await capture.tap("u1")
                assert len(await mirrors(vm)) == 2
                seen: set[int] = set()
                async with asyncio.timeout(60):
                    while seen != {Direction.IN, Direction.OUT} or capture.taps[0].packets < 30:
                        await capture.wait(0.1)
                        if (batch := capture.poll().batch) is not None:
                            seen |= set(batch.direction.tolist())
                assert "mirrored" in capture.interfaces[0].description
                assert capture.taps[0].dropped == 0
            assert await ours(vm) == []
            assert await mirrors(vm) == []
        assert vm.stderr.read_text().count("mirror") == 0


async def test_without_being_asked_for_it_is_refused(qemu_one: Qemu) -> None:
    port = free_port()
    async with start_vm(qemu_one, *(word.format(port=port) for word in MONITOR), guest="ipxe") as vm:
        async with (
            await Session.attach(TcpAddress("127.0.0.1", port)) as session,
            VmCapture(session) as capture,
        ):
            with pytest.raises(Refused, match="carry descriptors") as refusal:
                await capture.tap("u1")
            assert "--remote-mirror" in (refusal.value.hint or "")
        assert await ours(vm) == []


async def test_what_a_killed_qmon_left_is_swept(qemu: Qemu) -> None:
    port = free_port()
    async with start_vm(qemu, *(word.format(port=port) for word in MONITOR), guest="ipxe") as vm:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "qmon", "--vm", f"127.0.0.1:{port}", "dump", "--remote-mirror"),
            *("--netdev", "u1", "-w", str(vm.directory / "a.pcapng")),
            stderr=subprocess.PIPE,
        )
        assert process.stderr is not None
        async with asyncio.timeout(30):
            assert b"capturing" in await process.stderr.readline()
        process.send_signal(signal.SIGKILL)
        await process.communicate()
        async with asyncio.timeout(20), await Session.attach(TcpAddress("127.0.0.1", port)) as session:
            swept = await sweep(session)
        assert len(swept.removed) == 2
        assert await mirrors(vm) == []
        assert (await vm.qmp_raw("query-status"))["running"]


def test_beyond_the_limit_it_goes_on_reading_and_counts() -> None:
    ours_end, its = socket.socketpair()
    follower = Follower(kernel.memory_file("test"))
    channel = mirror.Channel("u1", 0, "x", Direction.OUT, follower, None)
    reader = mirror._start(1 << 20, [its], [channel])
    its.close()
    frame = struct.pack(">I", 1000) + bytes(1000)
    sent = 5000
    for _ in range(sent):
        ours_end.sendall(frame)
    ours_end.close()
    os.waitid(os.P_PID, reader._process.pid, os.WEXITED | os.WNOWAIT)
    got = 0
    while not got or not follower.at_end:
        batch, _ = follower.read()
        got += len(batch) if batch is not None else 0
    reader.end()
    assert got + reader.dropped == sent
    reader.close()
    assert 900 < got < sent
    follower.close()


def test_a_stream_that_is_no_mirror_ends_it() -> None:
    ours_end, its = socket.socketpair()
    follower = Follower(kernel.memory_file("test"))
    reader = mirror._start(1 << 20, [its], [mirror.Channel("u1", 0, "x", Direction.OUT, follower, None)])
    its.close()
    ours_end.sendall(b"\xff" * 100)
    wait_for(lambda: reader._process.poll() is not None)
    reader.end()
    assert reader.dropped == 0
    reader.close()
    ours_end.close()
    follower.close()
    assert Path(mirror._MAIN).exists()


def test_a_stream_that_goes_wrong_is_hung_up_while_the_other_goes_on() -> None:
    bad, its_bad = socket.socketpair()
    good, its_good = socket.socketpair()
    follower = Follower(kernel.memory_file("test"))
    channels = [mirror.Channel("u1", 0, name, Direction.OUT, follower, None) for name in "ab"]
    reader = mirror._start(1 << 20, [its_bad, its_good], channels)
    with bad, good:
        its_bad.close()
        its_good.close()
        bad.settimeout(10)
        bad.sendall(b"\xff" * 100)
        # QEMU would block for ever in this; it has to fail instead.
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            bad.sendall(bytes(1 << 22))
        good.sendall(struct.pack(">I", 60) + bytes(60))
        wait_for(lambda: follower.read()[0] is not None)
    reader.end()
    reader.close()
    follower.close()
