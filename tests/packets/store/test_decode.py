"""Decoding whole batches must come to what decoding one by one comes to."""

import random
from pathlib import Path

import dpkt
import numpy as np
import pytest

from qmon.packets.batch import FrameBatch
from qmon.packets.files.source import CaptureFile
from qmon.packets.store.decode import Headers, Kind, decode
from tests.packets import reference, traffic
from tests.packets.frames import frame

LINK_TYPES = (1, 0, 12, 101, 108, 113, 147, 228, 276)


def _row(headers: Headers, index: int) -> reference.Decoded:
    version = int(headers.version[index])
    source, destination = headers.addresses(np.array([index]))
    size = {4: 4, 6: 16, 0: 0}[version]
    return reference.Decoded(
        Kind(int(headers.kind[index])),
        version,
        int(headers.protocol[index]),
        source[0, :size].tobytes(),
        destination[0, :size].tobytes(),
        int(headers.source_port[index].byteswap()),
        int(headers.destination_port[index].byteswap()),
        int(headers.tcp_flags[index]),
    )


@pytest.mark.parametrize("link_type", LINK_TYPES)
def test_a_batch_is_decoded_as_its_frames_are(link_type: int) -> None:
    rng = random.Random(link_type)
    frames = [frame(rng, link_type) for _ in range(1000)]
    headers = decode(FrameBatch.from_frames(frames), np.array([link_type], np.uint16))
    for index, one in enumerate(frames):
        assert _row(headers, index) == reference.decode(one, link_type), one.hex(" ")


def test_link_types_may_be_mixed() -> None:
    rng = random.Random(5)
    kinds = [rng.randrange(len(LINK_TYPES)) for _ in range(1000)]
    frames = [frame(rng, LINK_TYPES[kind]) for kind in kinds]
    headers = decode(FrameBatch.from_frames(frames, interface=kinds), np.array(LINK_TYPES, np.uint16))
    for index, one in enumerate(frames):
        assert _row(headers, index) == reference.decode(one, LINK_TYPES[kinds[index]])


def test_every_frame_alone_and_cut_anywhere() -> None:
    rng = random.Random(9)
    for _ in range(25):
        whole = frame(rng)
        for end in range(len(whole) + 1):
            headers = decode(FrameBatch.from_frames([whole[:end]]), np.array([1], np.uint16))
            assert _row(headers, 0) == reference.decode(whole[:end], 1)


def test_bytes_behind_a_frame_do_not_leak_into_it() -> None:
    rng = random.Random(2)
    frames = [frame(rng)[: rng.randrange(60)] for _ in range(500)]
    alone = [_row(decode(FrameBatch.from_frames([one]), np.array([1], np.uint16)), 0) for one in frames]
    together = decode(FrameBatch.from_frames(frames), np.array([1], np.uint16))
    assert [_row(together, index) for index in range(len(frames))] == alone


def test_random_bytes_never_raise() -> None:
    rng = random.Random(3)
    for link_type in range(300):
        frames = [rng.randbytes(rng.randrange(80)) for _ in range(20)]
        decode(FrameBatch.from_frames(frames), np.array([link_type], np.uint16))


def test_ports_and_addresses_are_those_dpkt_finds(fixture_capture: Path) -> None:
    with CaptureFile(fixture_capture, virtio_header=None) as file:
        batch = file.read_batch()
    assert batch is not None
    headers = decode(batch, np.array([1], np.uint16))
    for index in range(len(batch)):
        ip = dpkt.ethernet.Ethernet(bytes(batch.frame(index))).data
        if not isinstance(ip, dpkt.ip.IP | dpkt.ip6.IP6):
            continue
        row = _row(headers, index)
        assert (row.source, row.destination) == (ip.src, ip.dst)
        if isinstance(ip.data, dpkt.tcp.TCP | dpkt.udp.UDP):
            assert (row.source_port, row.destination_port) == (ip.data.sport, ip.data.dport)
        if isinstance(ip.data, dpkt.tcp.TCP):
            assert row.tcp_flags == ip.data.flags


def test_cisco_framing_under_the_number_of_ppp() -> None:
    packet = traffic.frames()["udp"][14:]
    frames = [b"\x0f\0\x08\0" + packet, b"\xff\3\0\x21" + packet, b"\x8f\0\x80\x35" + bytes(14)]
    headers = decode(FrameBatch.from_frames(frames), np.array([50], np.uint16))
    assert headers.version.tolist() == [4, 4, 0]
    assert headers.destination_port.byteswap().tolist()[:2] == [7777, 7777]
