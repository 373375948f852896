"""A deterministic mixed capture for measuring: `python -m tests.bench.generate FILE [PACKETS]`.

Owns what the capture holds: TCP with full and empty segments, DNS-sized and larger UDP, IPv6, VLAN tags, ARP, ICMP,
in ~29 flows a thousand packets. Mean frame 430 bytes.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

CHUNK = 50_000
START_S = 1_700_000_000
# Most flows are short (a DNS question and its answer), most packets belong to few: as on real networks, and as
# tcpdump likes it, whose table of TCP connections is slow when it is large.
DNS_FLOWS_PER_PACKET, OTHER_FLOWS_PER_PACKET = 0.026, 0.0016
# Kind, share of packets, frame sizes (from, to) and header bytes in front of the payload.
TCP_FULL, TCP_ACK, TCP_SOME, UDP_DNS, UDP_BIG, TCP6_FULL, TCP6_ACK, VLAN_TCP, ARP, ICMP = range(10)
SHARE = (0.14, 0.35, 0.10, 0.18, 0.05, 0.03, 0.05, 0.06, 0.01, 0.03)
LOW = (1514, 66, 100, 70, 300, 1514, 86, 90, 60, 98)
HIGH = (1514, 66, 900, 220, 1200, 1514, 86, 1500, 60, 98)
V4, V6, VLAN = 14, 14, 18


def _ipv4(
    header: NDArray[np.uint8],
    at: int,
    size: NDArray[np.int64],
    protocol: int,
    flow: NDArray[np.int64],
    back: NDArray[np.bool_],
) -> None:
    header[:, at] = 0x45
    _be16(header, at + 2, size - at)
    header[:, at + 6] = 0x40
    header[:, at + 8] = 64
    header[:, at + 9] = protocol
    ours = 0x0A000000 + (flow % 50) + 15
    theirs = 0xC0A80000 + flow % (4 if protocol == 17 else 256)
    _be32(header, at + 12, np.where(back, theirs, ours))
    _be32(header, at + 16, np.where(back, ours, theirs))
    words = header[:, at : at + 20].astype(np.int64)
    total = (words[:, 0::2] << 8 | words[:, 1::2]).sum(axis=1)
    total = (total & 0xFFFF) + (total >> 16)
    _be16(header, at + 10, 0xFFFF - ((total & 0xFFFF) + (total >> 16)))


def _ipv6(
    header: NDArray[np.uint8],
    size: NDArray[np.int64],
    protocol: int,
    flow: NDArray[np.int64],
    back: NDArray[np.bool_],
) -> None:
    header[:, 14] = 0x60
    _be16(header, 18, size - 54)
    header[:, 20] = protocol
    header[:, 21] = 64
    for at, own in ((22, ~back), (38, back)):
        header[:, at : at + 2] = (0x20, 0x01)
        _be32(header, at + 12, np.where(own, flow % 50 + 15, flow % 256 + 1000))


def _ports(
    header: NDArray[np.uint8], at: int, server: int, flow: NDArray[np.int64], back: NDArray[np.bool_]
) -> None:
    client = 20_000 + flow % 40_000
    _be16(header, at, np.where(back, server, client))
    _be16(header, at + 2, np.where(back, client, server))


def _be16(header: NDArray[np.uint8], at: int, value: NDArray[np.int64]) -> None:
    header[:, at] = value >> 8 & 0xFF
    header[:, at + 1] = value & 0xFF


def _be32(header: NDArray[np.uint8], at: int, value: NDArray[np.int64]) -> None:
    _be16(header, at, value >> 16)
    _be16(header, at + 2, value)


def _headers(
    kind: int,
    size: NDArray[np.int64],
    flow: NDArray[np.int64],
    back: NDArray[np.bool_],
    rng: np.random.Generator,
) -> NDArray[np.uint8]:
    n = len(size)
    header = np.zeros((n, 86), np.uint8)
    header[:, :12] = (0x52, 0x54, 0, 0x12, 0x34, 0x56, 0x52, 0x55, 10, 0, 2, 2)
    if kind == ARP:
        header[:, 12:22] = (8, 6, 0, 1, 8, 0, 6, 4, 0, 1)
        return header[:, :60]
    if kind in (TCP6_FULL, TCP6_ACK):
        header[:, 12:14] = (0x86, 0xDD)
        _ipv6(header, size, 6, flow, back)
        transport = 54
    else:
        at = VLAN if kind == VLAN_TCP else V4
        header[:, 12:14] = (8, 0)
        if kind == VLAN_TCP:
            header[:, 12:18] = (0x81, 0, 0, 7, 8, 0)
        protocol = 17 if kind in (UDP_DNS, UDP_BIG) else 1 if kind == ICMP else 6
        _ipv4(header, at, size, protocol, flow, back)
        transport = at + 20
    if kind == ICMP:
        header[:, transport] = np.where(back, 0, 8)
        return header[:, : transport + 8]
    _ports(header, transport, 53 if kind == UDP_DNS else 4433 if kind == UDP_BIG else 443, flow, back)
    if kind in (UDP_DNS, UDP_BIG):
        _be16(header, transport + 4, size - transport)
        return header[:, : transport + 8 + (12 if kind == UDP_DNS else 0)]
    _be32(header, transport + 4, rng.integers(0, 1 << 32, n))
    _be32(header, transport + 8, rng.integers(0, 1 << 32, n))
    header[:, transport + 12] = 0x80
    header[:, transport + 13] = 0x10
    header[:, transport + 14 : transport + 16] = (0x20, 0)
    header[:, transport + 20 : transport + 24] = (1, 1, 8, 10)
    return header[:, : transport + 32]


def _chunk(
    n: int, flows: tuple[int, int], first_us: int, rng: np.random.Generator, pool: NDArray[np.uint8]
) -> bytes:
    kind = rng.choice(len(SHARE), n, p=SHARE)
    low, high = np.array(LOW)[kind], np.array(HIGH)[kind]
    size = low + (rng.random(n) * (high - low + 1)).astype(np.int64)
    flow = (flows[1] ** rng.random(n)).astype(np.int64)
    dns = kind == UDP_DNS
    flow[dns] = rng.integers(0, flows[0], int(dns.sum()))
    back = rng.random(n) < 0.5
    stamp = first_us + np.sort(rng.integers(0, n * 60, n))
    start = np.concatenate(([0], np.cumsum(size + 16)[:-1]))
    out = np.resize(pool, int(start[-1] + size[-1] + 16))
    record = np.empty((n, 4), "<u4")
    record[:, 0] = stamp // 1_000_000
    record[:, 1] = stamp % 1_000_000
    record[:, 2] = record[:, 3] = size
    out[start[:, None] + np.arange(16)] = record.view(np.uint8).reshape(n, 16)
    for which in range(len(SHARE)):
        rows = np.flatnonzero(kind == which)
        header = _headers(which, size[rows], flow[rows], back[rows], rng)
        out[(start[rows] + 16)[:, None] + np.arange(header.shape[1])] = header
    return out.tobytes()


def generate(path: Path, packets: int = 1_000_000) -> None:
    """Write the capture; the same bytes for the same count, always."""
    rng = np.random.Generator(np.random.PCG64(20240917))
    pool = rng.integers(32, 127, 1_000_003, dtype=np.uint8)
    flows = (max(8, int(packets * DNS_FLOWS_PER_PACKET)), max(8, int(packets * OTHER_FLOWS_PER_PACKET)))
    header = np.array([0xA1B2C3D4, 0x00040002, 0, 0, 65_536, 1], "<u4").tobytes()
    with path.open("wb") as out:
        out.write(header)
        for first in range(0, packets, CHUNK):
            n = min(CHUNK, packets - first)
            out.write(_chunk(n, flows, START_S * 1_000_000 + first * 60, rng, pool))


if __name__ == "__main__":
    generate(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000)
