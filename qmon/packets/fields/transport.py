"""Fields of TCP, UDP and SCTP (RFC 9293, 7323, 768, 9260)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from qmon.packets.fields.field import Field, Kind, Table, Value
from qmon.packets.fields.layer import Layer

_FLAGS = (
    ("ae", "Accurate ECN", 0x100), ("cwr", "Congestion Window Reduced", 0x80), ("ece", "ECN-Echo", 0x40),
    ("urg", "Urgent", 0x20), ("ack", "Acknowledgment", 0x10), ("push", "Push", 0x08), ("reset", "Reset", 0x04),
    ("syn", "Syn", 0x02), ("fin", "Fin", 0x01),
)  # fmt: skip
_LETTERS = "RRRACEUAPRSF"
_MOST_OPTIONS = 40


def _header(layer: Layer) -> int:
    """Return the length of a TCP header, 0 where it is bogus or cut off."""
    size = (layer.byte(12) >> 4) * 4
    return size if size >= 20 and layer.stop >= layer.at + 20 else 0


def _sizes(layer: Layer) -> Iterable[Value]:
    size = layer.byte(12)
    return ((size >> 4) * 4,) if size >= 0 else ()


def _length(layer: Layer) -> Iterable[Value]:
    """What an ICMP error quotes may end early: nobody knows its length."""
    header = _header(layer)
    quoted = any(one.protocol in ("icmp", "icmpv6") for one in layer.layers)
    return (max(0, layer.end - layer.at - header),) if header and not quoted else ()


def _payload(layer: Layer) -> Iterable[Value]:
    header = _header(layer)
    data = layer.data[layer.at + header : layer.stop]
    return (data,) if header and data else ()


def _letters(layer: Layer) -> Iterable[Value]:
    flags = layer.number(12, 2)
    if flags is None:
        return ()
    return ("".join(letter if flags & 1 << 11 - at else "·" for at, letter in enumerate(_LETTERS)),)


def _options(layer: Layer) -> Iterator[bytes]:
    """Yield TCP's options, each with its type and length."""
    at, end = 20, _header(layer)
    for _ in range(_MOST_OPTIONS):
        kind = layer.byte(at)
        if at >= end or kind < 0:
            return
        size = 1 if kind in (0, 1) else layer.byte(at + 1)
        option = (
            layer.bytes(at, size)
            if size >= 1 and (size >= 2 or kind in (0, 1)) and at + size <= end
            else None
        )
        if option is None:
            return
        yield option
        at += size


def _option(kind: int, start: int, stop: int) -> Callable[[Layer], Iterable[Value]]:
    def read(layer: Layer) -> Iterable[Value]:
        return [
            int.from_bytes(one[start:stop], "big")
            for one in _options(layer)
            if one[0] == kind and len(one) >= stop
        ]

    return read


def _permitted(layer: Layer) -> Iterable[Value]:
    return [one for one in _options(layer) if one[0] == 4]


def _selective(side: int) -> Callable[[Layer], Iterable[Value]]:
    def read(layer: Layer) -> Iterable[Value]:
        base = (layer.facts.tcp or {}).get("tcp.base_ack", 0)
        for one in _options(layer):
            if one[0] == 5:
                for at in range(2 + side, len(one) - 3, 8):
                    yield (int.from_bytes(one[at : at + 4], "big") - base) & 0xFFFF_FFFF

    return read


def _told(name: str) -> Callable[[Layer], Iterable[Value]]:
    """Read what the conversation tells, which is known of a frame's first segment only."""

    def read(layer: Layer) -> Iterable[Value]:
        facts = layer.facts.tcp
        return (facts[name],) if facts is not None and name in facts and _is_first(layer) else ()

    return read


def _factor(layer: Layer) -> Iterable[Value]:
    """What the window was multiplied by, which a SYN's never is."""
    return () if layer.byte(13) & 2 else _told("tcp.window_size_scalefactor")(layer)


def _next(layer: Layer) -> Iterable[Value]:
    """The number behind what a segment carries; SYN and FIN count as a byte."""
    flags = layer.byte(13)
    for sequence in _told("tcp.seq")(layer):
        for length in _length(layer):
            yield (int(sequence) + int(length) + bool(flags & 3)) & 0xFFFF_FFFF


def _is_first(layer: Layer) -> bool:
    return next(one for one in layer.layers if one.protocol == layer.protocol) is layer


def _tcp() -> list[Field]:
    table = Table("tcp", "Transmission Control Protocol")
    table.fixed("tcp.srcport", "Source Port", 0, 2)
    table.fixed("tcp.dstport", "Destination Port", 2, 2)
    table.fixed("tcp.port", "Source or Destination Port", (0, 2), 2)
    table.read("tcp.stream", "Stream index", Kind.NUMBER, _told("tcp.stream"))
    table.read("tcp.len", "TCP Segment Len", Kind.NUMBER, _length)
    table.read("tcp.seq", "Sequence Number", Kind.NUMBER, _told("tcp.seq"))
    table.fixed("tcp.seq_raw", "Sequence Number (raw)", 4, 4)
    table.read("tcp.nxtseq", "Next Sequence Number", Kind.NUMBER, _next)
    table.read("tcp.ack", "Acknowledgment Number", Kind.NUMBER, _told("tcp.ack"))
    table.fixed("tcp.ack_raw", "Acknowledgment number (raw)", 8, 4)
    table.read("tcp.hdr_len", "Header Length", Kind.NUMBER, _sizes)
    table.fixed("tcp.flags", "Flags", 12, 2, Kind.HEX, mask=0x0FFF)
    table.fixed("tcp.flags.res", "Reserved", 12, 2, Kind.TRUTH, mask=0x0E00)
    for name, label, bit in _FLAGS:
        table.flag(f"tcp.flags.{name}", label, 12, bit, size=2)
    table.read("tcp.flags.str", "TCP Flags", Kind.STRING, _letters)
    table.fixed("tcp.window_size_value", "Window", 14, 2)
    table.read("tcp.window_size", "Calculated window size", Kind.NUMBER, _told("tcp.window_size"))
    table.read(
        "tcp.window_size_scalefactor",
        "Window size scaling factor",
        Kind.NUMBER,
        _factor,
    )
    table.fixed("tcp.checksum", "Checksum", 16, 2, Kind.HEX)
    table.fixed("tcp.urgent_pointer", "Urgent Pointer", 18, 2)
    table.read("tcp.option_kind", "Kind", Kind.NUMBER, lambda layer: (one[0] for one in _options(layer)))
    table.read(
        "tcp.option_len", "Length", Kind.NUMBER, lambda at: (len(one) for one in _options(at) if len(one) > 1)
    )
    table.read(
        "tcp.options", "TCP Options", Kind.BYTES, lambda at: [b for b in (b"".join(_options(at)),) if b]
    )
    table.read("tcp.options.mss_val", "MSS Value", Kind.NUMBER, _option(2, 2, 4))
    table.read("tcp.options.wscale.shift", "Shift count", Kind.NUMBER, _option(3, 2, 3))
    table.read(
        "tcp.options.wscale.multiplier",
        "Multiplier",
        Kind.NUMBER,
        lambda at: (1 << min(one[2], 14) for one in _options(at) if one[0] == 3 and len(one) >= 3),
    )
    table.read("tcp.options.sack_perm", "TCP SACK Permitted Option", Kind.BYTES, _permitted)
    table.read("tcp.options.sack_le", "TCP SACK Left Edge", Kind.NUMBER, _selective(0))
    table.read("tcp.options.sack_re", "TCP SACK Right Edge", Kind.NUMBER, _selective(4))
    table.read("tcp.options.timestamp.tsval", "Timestamp value", Kind.NUMBER, _option(8, 2, 6))
    table.read("tcp.options.timestamp.tsecr", "Timestamp echo reply", Kind.NUMBER, _option(8, 6, 10))
    table.read("tcp.payload", "TCP payload", Kind.BYTES, _payload)
    return table.fields


def _udp_payload(layer: Layer) -> Iterable[Value]:
    data = layer.data[layer.at + 8 : layer.stop]
    return (data,) if data else ()


def _udp() -> list[Field]:
    table = Table("udp", "User Datagram Protocol")
    table.fixed("udp.srcport", "Source Port", 0, 2)
    table.fixed("udp.dstport", "Destination Port", 2, 2)
    table.fixed("udp.port", "Source or Destination Port", (0, 2), 2)
    table.fixed("udp.length", "Length", 4, 2)
    table.fixed("udp.checksum", "Checksum", 6, 2, Kind.HEX)
    table.read("udp.payload", "UDP payload", Kind.BYTES, _udp_payload)
    return table.fields


def _chunks(layer: Layer) -> Iterator[tuple[int, int, int]]:
    at = 12
    for _ in range(64):
        kind, flags, size = layer.byte(at), layer.byte(at + 1), layer.number(at + 2, 2)
        if size is None:
            return
        yield kind, flags, size
        at += (max(size, 4) + 3) & ~3


def _sctp() -> list[Field]:
    table = Table("sctp", "Stream Control Transmission Protocol")
    table.fixed("sctp.srcport", "Source port", 0, 2)
    table.fixed("sctp.dstport", "Destination port", 2, 2)
    table.fixed("sctp.port", "Port", (0, 2), 2)
    table.fixed("sctp.verification_tag", "Verification tag", 4, 4, Kind.HEX)
    table.fixed("sctp.checksum", "Checksum", 8, 4, Kind.HEX)
    table.read("sctp.chunk_type", "Chunk type", Kind.NUMBER, lambda layer: (one[0] for one in _chunks(layer)))
    table.read(
        "sctp.chunk_flags", "Chunk flags", Kind.HEX, lambda at: (one[1] for one in _chunks(at)), size=1
    )
    table.read(
        "sctp.chunk_length", "Chunk length", Kind.NUMBER, lambda layer: (one[2] for one in _chunks(layer))
    )
    return table.fields


FIELDS = [*_tcp(), *_udp(), *_sctp()]
