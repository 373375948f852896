"""Writing packets of the store into a capture file.

Owns the reading of the store in slices, in a thread. Must never touch the VM.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from qmon.errors import UsageError
from qmon.export.capture_file import open_output
from qmon.packets.capture_filter import compile_filter
from qmon.packets.store import PacketStore

SLICE_PACKETS = 20_000


def save(store: PacketStore, name: str, expression: str = "") -> tuple[Path, int]:
    """Write the packets kept (those that a capture filter lets through) to a new file; return it and how many.

    The suffix says the format: `.pcap` is classic pcap, everything else pcapng. UsageError if the file exists.
    """
    path = Path(name).expanduser()
    if path.exists():
        raise UsageError(f"{path} exists", hint="choose another name: qmon does not overwrite captures")
    chosen = compile_filter(expression) if expression else None
    written = 0
    output = open_output(str(path))
    try:
        for start in range(store.first_seq, store.next_seq, SLICE_PACKETS):
            batch = store.batch(start, start + SLICE_PACKETS)
            if chosen is not None:
                links = [interface.link_type for interface in store.interfaces]
                keep = np.zeros(len(batch), np.bool_)
                for link_type in set(links):
                    here = np.isin(batch.interface, [i for i, link in enumerate(links) if link == link_type])
                    keep |= here & chosen.mask(batch, link_type)
                batch = batch.select(keep)
            output.packets(batch, store.interfaces)
            written += len(batch)
    finally:
        output.close(())
    return path, written
