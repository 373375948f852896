"""A store's packets in Wireshark: what was captured so far, then what comes.

Owns the feeding of its pipe from the store. Needs no tap of its own, and must never wait for Wireshark.
"""

from __future__ import annotations

import asyncio

from qmon.export.saving import read_slice
from qmon.packets.filters.words import selector_from
from qmon.packets.store.packet_store import PacketStore

SLICE_PACKETS = 5_000
PAUSE_S = 0.05


async def show_in_wireshark(store: PacketStore, expression: str = "") -> None:
    """Start Wireshark and feed it until it is closed or this is cancelled; it then keeps what it has.

    QmonError if it is not installed, or ends by itself at once.
    """
    from qmon.export.byte_sink import ReaderLeft
    from qmon.export.capture_file import open_file
    from qmon.export.wireshark import Wireshark

    chosen = selector_from(expression, [one.link_type for one in store.interfaces])
    with Wireshark() as program:
        output = await open_file("-", stdout=program.descriptor, form="pcapng")
        program.end_of_stream()
        seq = store.first_seq
        try:
            while True:
                seq = max(seq, store.first_seq)
                stop = min(seq + SLICE_PACKETS, store.next_seq)
                if stop > seq and not output.congested:
                    batch = await asyncio.to_thread(read_slice, store, seq, stop, chosen)
                    output.packets(batch, store.interfaces)
                    seq = stop
                output.push()
                await asyncio.sleep(PAUSE_S if seq == store.next_seq or output.congested else 0)
        except ReaderLeft:
            if (failure := await asyncio.to_thread(program.failure)) is not None:
                raise failure from None
        finally:
            output.sink.close()
