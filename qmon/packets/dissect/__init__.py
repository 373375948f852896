"""One packet in full: layers, fields, and which bytes each of them is.

Owns the turning of bytes into a tree of `Node`s. scapy does the dissection; since it keeps no positions, a recorder
notes while it works which field took which bits (`recording`), and `nodes` makes the tree. Never raises on any bytes,
and never takes long: both bytes and fields are bounded, and so is the time. scapy is loaded with the first packet
(`loading`, the only place that does), never by importing this package.
"""

from __future__ import annotations

import threading

from qmon.packets.batch import ETHERNET
from qmon.packets.dissect import exported, loading, nodes
from qmon.packets.dissect.recording import Recording
from qmon.packets.tree import Node

__all__ = ["Node", "dissect"]

# Enough for a jumbo frame; of a larger one (an offload's super-frame), the rest is payload that is shown as data.
LOOK_BYTES = 9216
_WORK = threading.Lock()


def dissect(frame: bytes | memoryview, link_type: int = ETHERNET) -> Node:
    """Dissect a frame. The root covers all its bytes; its children are the layers, one after the other.

    Several threads may call it; they take turns.
    """
    data = bytes(frame[:LOOK_BYTES])
    library = loading.library()
    try:
        if link_type == exported.UPPER_PDU:
            return exported.root(data, len(frame))
        with _WORK:
            recording = Recording()
            packet = library.dissect(data, link_type, recording)
            return nodes.root(data, len(frame), packet, recording, library)
    except Exception:  # noqa: BLE001  What scapy made of hostile bytes can be anything; the bytes are still shown.
        size = len(frame)
        rest = Node("Data", f"{size} bytes, could not be dissected", 0, size)
        return Node("Frame", f"{size} bytes", 0, size, (rest,))
