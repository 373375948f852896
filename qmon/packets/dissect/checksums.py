"""Are the checksums right? A wrong one in a guest's packet usually means: left to the network card by the sender."""

from __future__ import annotations

import struct
from typing import Any

from qmon.packets.dissect.recording import Record

_OFFLOADED = " [not yet computed: left to the network card by the sender]"
_WRONG = " [wrong]"
_CORRECT = " [correct]"
_PROTOCOLS = {"TCP": 6, "UDP": 17, "ICMP": 1}


def verdict(record: Record, field: str) -> str:
    """Return what to say behind a checksum's value; empty for other fields and where it cannot be told."""
    if field != "chksum":
        return ""
    kind = type(record.packet).__name__
    if kind == "IP":
        return _CORRECT if _sum(record.raw[: record.size]) == 0xFFFF else _WRONG
    if kind not in _PROTOCOLS:
        return ""
    below = record.packet.underlayer
    if kind == "ICMP":
        below_fields = getattr(below, "fields", {})
        return _judge(record.raw, b"", 0) if _whole(below_fields, record, below) else ""
    return _transport(record, kind, below)


def _transport(record: Record, kind: str, below: Any) -> str:
    fields = getattr(below, "fields", {})
    if kind == "UDP" and record.packet.fields.get("chksum") == 0:
        return " [none]"
    if not _whole(fields, record, below):
        return ""
    pseudo = _pseudo_header(below, len(record.raw), _PROTOCOLS[kind])
    if pseudo is None:
        return ""
    return _judge(record.raw, pseudo, record.packet.fields.get("chksum"))


def _judge(raw: bytes, pseudo: bytes, stored: Any) -> str:
    if _sum(pseudo + raw) == 0xFFFF:
        return _CORRECT
    # What a sender leaves to the card is begun: the sum of the pseudo header.
    return _OFFLOADED if pseudo and stored == _sum(pseudo) else _WRONG


def _whole(fields: dict[str, Any], record: Record, below: Any) -> bool:
    """Whether all bytes of the datagram are there: neither a fragment nor cut short."""
    if type(below).__name__ == "IP":
        if fields.get("frag") or int(fields.get("flags", 0)) & 1:
            return False
        return bool(fields.get("len", 0) - 4 * (fields.get("ihl") or 5) == len(record.raw))
    return type(below).__name__ == "IPv6" and fields.get("plen") == len(record.raw)


def _pseudo_header(below: Any, length: int, protocol: int) -> bytes | None:
    from socket import AF_INET, AF_INET6, inet_pton

    source, destination = below.fields.get("src"), below.fields.get("dst")
    try:
        if type(below).__name__ == "IP":
            addresses = inet_pton(AF_INET, source) + inet_pton(AF_INET, destination)
            return addresses + struct.pack(">BBH", 0, protocol, length)
        addresses = inet_pton(AF_INET6, source) + inet_pton(AF_INET6, destination)
        return addresses + struct.pack(">II", length, protocol)
    except (OSError, TypeError, struct.error):
        return None


def _sum(data: bytes) -> int:
    """Add up 16-bit words in ones' complement (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total
