"""Captures with some of their bytes changed, the same ones in every run."""

import random
import struct
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from qmon.packets.batch import FrameBatch, Interface, Note
from qmon.packets.files.pcapng_writer import PcapngWriter
from qmon.packets.files.source import CaptureFile

FIXTURES = sorted((Path(__file__).parents[3] / "fixtures").glob("*/captures/*.pcap"))
# Numbers that lie at the edges of what lengths, types and stamps can be.
EDGES = (
    0,
    1,
    3,
    4,
    0x7F,
    0x80,
    0xFF,
    0xFFFF,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
    0x0A0D0D0A,
    0x1A2B3C4D,
    6,
    5,
    9,
)


@cache
def sources() -> tuple[bytes, ...]:
    """Return the captures that are changed: the recorded ones, and each as pcapng with directions and notes."""
    found = []
    for path in FIXTURES:
        with CaptureFile(path) as capture:
            batch = capture.read_batch()
        assert batch is not None
        found.append(path.read_bytes())
        found.append(_as_pcapng(batch.select(slice(0, 40))))
    return tuple(found)


def _as_pcapng(batch: FrameBatch) -> bytes:
    writer = PcapngWriter(application="qmon")
    note = writer.journal(Note(int(batch.time_ns[0]), "STOP", "event"))
    names = writer.names({"10.0.2.2": "gateway", "fec0::2": "gateway"})
    u1 = writer.interface(
        Interface("u1", description="user network", mac=b"RT\0\x124V", capture_filter="tcp")
    )
    commented = FrameBatch.concatenate([batch])
    return writer.header("a comment") + u1 + names + bytes(writer.encode(commented, [(3, note)]))


def mutants(count: int, seed: int = 0) -> Iterator[bytes]:
    """Yield captures with bytes changed, taken out, put in or cut off."""
    chance = random.Random(seed)
    for number in range(count):
        data = bytearray(sources()[number % len(sources())])
        for _ in range(chance.choice((1, 1, 2, 5, 30))):
            # Headers of files and of their first blocks matter most.
            at = chance.randrange(min(len(data) - 8, chance.choice((40, 200, len(data) - 8))))
            kind = chance.randrange(6)
            if kind == 0:
                data[at] = chance.randrange(256)
            elif kind == 1:
                data[at] ^= 1 << chance.randrange(8)
            elif kind == 2:
                place = at - at % 4
                data[place : place + 4] = struct.pack(chance.choice("<>") + "I", chance.choice(EDGES))
            elif kind == 3:
                del data[at : at + chance.choice((1, 4, 16, 60))]
            elif kind == 4:
                data[at:at] = chance.choice(
                    (bytes(4), chance.randbytes(chance.randrange(40)), data[at : at + 60])
                )
            else:
                del data[max(16, len(data) - at) :]
            if len(data) < 24:
                break
        yield bytes(data)
