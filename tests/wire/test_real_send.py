"""`qmon send`: what is put on the wire is what was asked for, frame by frame."""

import os
from pathlib import Path

import numpy as np
import pytest

from qmon.packets.batch import FrameBatch, Interface
from qmon.packets.files.pcapng_writer import PcapngWriter
from qmon.packets.files.source import CaptureFile
from tests.capture.test_real import dumping
from tests.cli.program import qmon
from tests.lab import start_vm
from tests.lab.qemus import Qemu
from tests.wire.places import descriptor_0, dumped, left, user


def capture_of(path: Path, frames: list[bytes], gap_ns: int) -> None:
    """Write a capture file of some frames."""
    writer = PcapngWriter()
    times = [1_000_000_000 + number * gap_ns for number in range(len(frames))]
    blocks = [writer.header(), writer.interface(Interface("x"))]
    path.write_bytes(b"".join([*blocks, bytes(writer.encode(FrameBatch.from_frames(frames, time_ns=times)))]))


@pytest.mark.parametrize("toward", ["guest", "network"])
async def test_a_capture_is_sent_frame_by_frame(qemu: Qemu, tmp_path: Path, toward: str) -> None:
    head = bytes.fromhex("02aabbccdd02 02aabbccdd01 88b5")
    frames = [head + number.to_bytes(2) + os.urandom(46 + number) for number in range(300)]
    capture_of(tmp_path / "a.pcapng", frames, 1000)
    async with start_vm(qemu, *user()) as vm:
        before = descriptor_0(vm)
        async with dumped(vm) as seen:
            words = ("-r", str(tmp_path / "a.pcapng"), "--topspeed", "--toward", toward, "--loop", "2")
            sent = await qmon("send", *words, vm=vm.qmp[0])
        assert sent.code == 0, sent.err
        assert f"600 frames sent toward the {toward}" in sent.err
        assert [frame for frame in seen if frame[:14] == head] == frames * 2
        assert await left(vm) == []
        assert descriptor_0(vm) == before


async def test_a_filter_addresses_bytes_and_scapys_words(qemu: Qemu, tmp_path: Path) -> None:
    from scapy.layers.inet import IP, UDP
    from scapy.layers.l2 import ARP, Ether

    link = Ether(src="02:aa:bb:cc:dd:01", dst="52:54:00:12:34:56")
    datagram = bytes(link / IP(src="10.0.2.77", dst="10.0.2.15") / UDP(sport=1, dport=2) / b"x")
    capture_of(tmp_path / "a.pcapng", [bytes(link / ARP(pdst="10.0.2.15", psrc="10.0.2.77")), datagram], 1000)
    async with start_vm(qemu, *user()) as vm:
        async with dumped(vm) as seen:
            exchange = ("--map", "10.0.2.77=10.0.2.78", "--map", "02:aa:bb:cc:dd:01=02:aa:bb:cc:dd:09")
            file = await qmon("send", "-r", str(tmp_path / "a.pcapng"), *exchange, "udp", vm=vm.qmp[0])
            assert file.code == 0, file.err
            plain = await qmon("send", "--hex", "02aabbccdd02 02aabbccdd03 88b5" + "00" * 46, vm=vm.qmp[0])
            assert plain.code == 0, plain.err
            words = (
                'Ether(src="02:aa:bb:cc:dd:05", dst="52:54:00:12:34:56")/IP(dst="10.0.2.15", src="10.0.2.5", '
            )
            words += "ttl=[1,2,3])"
            many = await qmon("send", "--scapy", words, vm=vm.qmp[0])
            assert many.code == 0, many.err
        ours = [frame for frame in seen if frame[6:11] == bytes.fromhex("02aabbccdd")]
        assert len(ours) == 5
        expected = Ether(src="02:aa:bb:cc:dd:09", dst="52:54:00:12:34:56")
        expected = expected / IP(src="10.0.2.78", dst="10.0.2.15") / UDP(sport=1, dport=2) / b"x"
        assert ours[0] == bytes(expected)
        assert ours[1][11] == 3
        assert [frame[22] for frame in ours[2:]] == [1, 2, 3]


async def test_the_rhythm_is_the_captures_unless_told(qemu: Qemu, tmp_path: Path) -> None:
    head = bytes.fromhex("02aabbccdd02 02aabbccdd01 88b5")
    capture_of(tmp_path / "a.pcapng", [head + bytes(46)] * 6, 100_000_000)
    path = tmp_path / "seen.pcapng"
    async with start_vm(qemu, *user()) as vm:
        async with dumping(vm, "--netdev", "u1", "-w", str(path)) as process:
            sent = await qmon("send", "-r", str(tmp_path / "a.pcapng"), "--speed", "2", vm=vm.qmp[0])
            assert sent.code == 0, sent.err
            process.terminate()
            await process.communicate()
        with CaptureFile(path) as file:
            times = []
            while (batch := file.read_batch()) is not None:
                times += [
                    int(batch.time_ns[i]) for i in range(len(batch)) if bytes(batch.frame(i))[:14] == head
                ]
        gaps = np.diff(times) / 1e6
        assert len(gaps) == 5
        assert 200 <= gaps.sum() <= 1500


async def test_wrong_words_are_told_before_anything_is_sent(qemu_one: Qemu) -> None:
    async with start_vm(qemu_one, *user()) as vm:
        for words, said in (
            ((), "what shall be sent?"),
            (("--hex", "xyz"), "hexadecimal"),
            (("--hex", "00"), "a frame of 1 bytes"),
            (("--scapy", "Ether("), "--scapy: SyntaxError"),
            (("-r", "x", "--map", "1.2.3.4=02:00:00:00:00:01"), "--map"),
        ):
            done = await qmon("send", *words, vm=vm.qmp[0])
            assert done.code == 2, done.err
            assert said in done.err
        assert await left(vm) == []
