"""Wireshark's "upper PDU" frames (LINKTYPE_WIRESHARK_UPPER_PDU), in which qmon's own notes are written.

Tags of two bytes type and two bytes length name the dissector, tag 0 ends them (epan/exported_pdu.h). scapy has no
layer for it.
"""

from __future__ import annotations

from qmon.packets.dissect import values
from qmon.packets.tree import Node
from qmon.text import plain, plain_bytes

UPPER_PDU = 252
_NAMES = {0: "End of tags", 12: "Dissector", 13: "Heuristic dissector", 14: "Dissector table", 30: "Comment"}
_MAX_TAGS = 100


def root(data: bytes, captured: int) -> Node:
    """Return the tree of a frame whose first bytes are `data`."""
    tags: list[Node] = []
    at = 0
    while at + 4 <= len(data) and len(tags) < _MAX_TAGS:
        kind, size = int.from_bytes(data[at : at + 2], "big"), int.from_bytes(data[at + 2 : at + 4], "big")
        end = at + 4 + size
        if end > len(data):
            break
        label = _NAMES.get(kind, f"Tag {kind}")
        tags.append(Node(label, plain(values.data(data[at + 4 : end])), at, end))
        at = end
        if kind == 0:
            break
    layers = [Node("Exported PDU", "", 0, at, tuple(tags))] if tags else []
    if at < captured:
        message = plain_bytes(data[at : at + values.MAX_VALUE])
        layers.append(Node("Message", message, at, captured))
    return Node("Frame", f"{captured} bytes", 0, captured, tuple(layers))
