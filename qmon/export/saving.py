"""Writing packets of the store into a capture file.

Owns the reading of the store in slices, off the event loop. Must never touch the VM.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from qmon.errors import UsageError
from qmon.packets.batch import FrameBatch
from qmon.packets.filters.selector import Selector
from qmon.packets.filters.words import selector_from
from qmon.packets.store.packet_store import PacketStore

SLICE_PACKETS = 20_000


async def save(store: PacketStore, name: str, expression: str = "") -> tuple[Path, int]:
    """Write the packets kept (those that a filter lets through) to a new file; return it and how many.

    The suffix says the format: `.pcap` is classic pcap, everything else pcapng. UsageError if the file exists.
    """
    from qmon.export.capture_file import open_file

    if not name:
        raise UsageError("the file has no name")
    path = await asyncio.to_thread(_new, name)
    chosen = selector_from(expression, [one.link_type for one in store.interfaces])
    written, end = 0, store.next_seq
    output = await open_file(str(path))
    try:
        for start in range(store.first_seq, end, SLICE_PACKETS):
            batch = await asyncio.to_thread(read_slice, store, start, min(start + SLICE_PACKETS, end), chosen)
            if len(batch):
                output.packets(batch, store.interfaces)
            written += len(batch)
    finally:
        await output.close(store.interfaces, ())
    return path, written


def _new(name: str) -> Path:
    try:
        path = Path(name).expanduser()
        exists, has_folder = path.exists(), path.parent.is_dir()
    except (OSError, RuntimeError, ValueError) as problem:
        # A folder that may not be looked into, a home nobody has, a zero byte.
        raise UsageError(f"cannot save as {name}: {problem}") from problem
    if exists:
        raise UsageError(f"{path} exists", hint="choose another name: qmon does not overwrite captures here")
    if not has_folder:
        raise UsageError(f"there is no folder {path.parent}")
    return path


def read_slice(store: PacketStore, start: int, stop: int, chosen: Selector | None) -> FrameBatch:
    """Return the packets from `start` to `stop - 1` that a selector means."""
    batch = store.batch(start, stop)
    if chosen is None:
        return batch
    return batch.select(chosen.mask(batch, store.interfaces))
