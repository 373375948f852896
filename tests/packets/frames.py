"""Frames for tests: sound, odd and broken ones, drawn at random but built like real ones."""

from __future__ import annotations

import random
import struct

ETHERTYPES = (0x0800, 0x0800, 0x86DD, 0x86DD, 0x0806, 0x8100, 0x88A8, 0x9100, 0x8864, 0x0026, 0x0000, 0x88CC)


def frame(rng: random.Random, link_type: int = 1) -> bytes:
    """Return one frame of a link type; now and then cut off anywhere."""
    ethertype, payload = _network(rng)
    head = b""
    if link_type == 1:
        head = rng.randbytes(12) + struct.pack(">H", ethertype)
    elif link_type == 113:
        head = rng.randbytes(14) + struct.pack(">H", ethertype)
    elif link_type == 276:
        head = struct.pack(">H", ethertype) + rng.randbytes(18)
    elif link_type in (0, 108):
        family = {0x0800: 2, 0x86DD: rng.choice((10, 24, 28, 30))}.get(ethertype, rng.randrange(256))
        head = struct.pack(rng.choice("<>") + "I", family)
    whole = head + payload
    return whole[: rng.randrange(len(whole) + 1)] if rng.random() < 0.15 else whole


def _network(rng: random.Random, depth: int = 0) -> tuple[int, bytes]:
    ethertype = rng.choice(ETHERTYPES)
    if ethertype == 0x0800:
        return ethertype, _ipv4(rng)
    if ethertype == 0x86DD:
        return ethertype, _ipv6(rng)
    if ethertype in (0x8100, 0x88A8, 0x9100) and depth < 6:
        inner, payload = _network(rng, depth + 1)
        return ethertype, rng.randbytes(2) + struct.pack(">H", inner) + payload
    if ethertype == 0x8864:
        inner, payload = rng.choice(((0x21, _ipv4(rng)), (0x57, _ipv6(rng)), (0xC021, b"lcp")))
        return ethertype, rng.randbytes(6) + struct.pack(">H", inner) + payload
    return ethertype, rng.randbytes(rng.randrange(60))


def _ipv4(rng: random.Random) -> bytes:
    options = rng.choice((0, 0, 0, 4, 40))
    first = rng.choice((0x40 | 5 + options // 4,) * 9 + (rng.randrange(256),))
    fragment = rng.choice((0, 0, 0x4000, 0x2000, 0x2001, 0x0100))
    address = bytes((10, 0, 0, rng.randrange(3))), bytes((10, 0, 2, rng.randrange(3)))
    protocol, payload = _transport(rng)
    head = struct.pack(">BBHHHBBH", first, 0, 20, 1, fragment, 64, protocol, 0)
    return head + b"".join(rng.sample(address, 2)) + rng.randbytes(options) + payload


def _ipv6(rng: random.Random) -> bytes:
    protocol, payload = _transport(rng)
    for _ in range(rng.choice((0, 0, 0, 1, 2, 9))):
        kind = rng.choice((0, 43, 44, 51, 60))
        size = rng.choice((0, 0, 1))
        fragment = rng.choice((0, 1, 8, 0x0100))
        body = {44: 4, 51: (size + 2) * 4 - 4}.get(kind, (size + 1) * 8 - 4)
        payload = struct.pack(">BBH", protocol, size, fragment) + rng.randbytes(body) + payload
        protocol = kind
    address = b"\x20\x01" + bytes(13), b"\xfe\x80" + bytes(13)
    ends = [one + bytes([rng.randrange(3)]) for one in address]
    first = rng.choice((0x60,) * 9 + (rng.randrange(256),))
    return (
        struct.pack(">IHBB", first << 24, len(payload), protocol, 64)
        + b"".join(rng.sample(ends, 2))
        + payload
    )


def _transport(rng: random.Random) -> tuple[int, bytes]:
    protocol = rng.choice((6, 6, 17, 17, 1, 58, 132, 2, 47, rng.randrange(256)))
    ports = rng.sample((rng.choice((80, 53, 443)), rng.randrange(5)), 2)
    return protocol, struct.pack(">HH", *ports) + rng.randbytes(rng.choice((0, 4, 10, 16, 40)))
