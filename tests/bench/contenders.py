"""What is measured, each in a process of its own: `python -m tests.bench.contenders NAME FILE`.

Every function reads the capture in the way its library's users do. Prints nothing but, for qmon, the memory it took.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable


def nothing(path: str) -> None:
    """Import what qmon's index needs, and end: what is left is the work."""
    from qmon.packets.files.source import CaptureFile
    from qmon.packets.store.packet_store import PacketStore

    PacketStore()
    assert CaptureFile
    assert path


def make(path: str) -> None:
    """Make the capture itself, `mixed-N.pcap`: here, so that the measuring process stays small."""
    from pathlib import Path

    from tests.bench.generate import generate

    generate(Path(path), int(Path(path).stem.rpartition("-")[2]))


def index(path: str) -> None:
    """qmon: every packet indexed, with conversations and traffic."""
    from qmon.packets.files.source import CaptureFile
    from qmon.packets.store.packet_store import PacketStore
    from qmon.packets.store.traffic import TrafficCounter

    with CaptureFile(path, reuse_buffer=True) as file:
        store = PacketStore(source=file)
        while (batch := file.read_batch()) is not None:
            for interface in file.interfaces[len(store.interfaces) :]:
                store.add_interface(interface)
            store.append(batch)
        store.conversations()
        store.observer(TrafficCounter).of(0)


def live(path: str) -> None:
    """qmon: the same packets as if they came from a VM: read in pieces of a thirtieth of a second, spooled."""
    import numpy as np

    from qmon.packets.batch import FrameBatch
    from qmon.packets.files.pcap import PcapReader
    from qmon.packets.store.packet_store import PacketStore

    store, reader = PacketStore(), PcapReader()
    with open(path, "rb") as file:
        # As a capture's follower does: half a record at the end of a piece is read again.
        while len(data := os.pread(file.fileno(), PIECE_BYTES, reader.position)) >= reader.need:
            items, _ = reader.parse(np.frombuffer(data, np.uint8), final=False)
            for item in items:
                if isinstance(item, FrameBatch):
                    store.append(item)
                elif reader.interface is item:
                    store.add_interface(reader.interface)


def rewrite(path: str) -> None:
    """qmon: read it and write it as pcapng with directions, to nowhere."""
    from dataclasses import replace

    import numpy as np

    from qmon.packets.files.pcapng_writer import PcapngWriter
    from qmon.packets.files.source import CaptureFile

    writer = PcapngWriter()
    with CaptureFile(path, reuse_buffer=True) as file, open("/dev/null", "wb") as out:
        out.write(writer.header())
        first = file.read_batch()
        out.write(writer.interface(file.interfaces[0]))
        while first is not None:
            out.write(writer.encode(replace(first, direction=np.full(len(first), 1, np.uint8))))
            first = file.read_batch()


def dpkt_decode(path: str) -> None:
    """dpkt: every frame as Ethernet."""
    import dpkt

    with open(path, "rb") as file:
        for _, frame in dpkt.pcap.Reader(file):
            dpkt.ethernet.Ethernet(frame)


def scapy_read(path: str) -> None:
    """scapy: every packet."""
    from scapy.layers import inet, inet6, l2
    from scapy.utils import PcapReader

    assert inet
    assert inet6
    assert l2
    for _ in PcapReader(path):
        pass


# 20,000 packets of 450 bytes: what 600,000 packets a second bring in a thirtieth of one.
PIECE_BYTES = 20_000 * 466
NAMES: dict[str, Callable[[str], None]] = {
    function.__name__: function for function in (make, nothing, index, live, rewrite, dpkt_decode, scapy_read)
}

if __name__ == "__main__":
    NAMES[sys.argv[1]](sys.argv[2])
