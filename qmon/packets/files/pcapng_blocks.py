"""The parts of pcapng that are not packets: options, sections, interfaces, names, statistics.

Format: https://www.ietf.org/archive/id/draft-ietf-opsawg-pcapng. Pure: bytes in, values out. Must accept anything;
what makes no sense is left out.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from qmon.packets.batch import NO_TIME, Interface, Statistics
from qmon.packets.copying import I64, U64

SECTION, INTERFACE, PACKET, SIMPLE_PACKET = 0x0A0D0D0A, 1, 2, 3
NAMES, STATISTICS, ENHANCED_PACKET, JOURNAL = 4, 5, 6, 9
BYTE_ORDER_MAGIC = 0x1A2B3C4D

OPT_END, OPT_COMMENT = 0, 1
SHB_HARDWARE, SHB_OS, SHB_APPLICATION = 2, 3, 4
IF_NAME, IF_DESCRIPTION, IF_MAC, IF_TSRESOL, IF_FILTER, IF_OS, IF_FCSLEN, IF_TSOFFSET = (
    2,
    3,
    6,
    9,
    11,
    12,
    13,
    14,
)
EPB_FLAGS, EPB_DROPCOUNT = 2, 4
ISB_START, ISB_END, ISB_RECEIVED, ISB_DROPPED = 2, 3, 4, 5
NAME_IPV4, NAME_IPV6 = 1, 2

# Of one block no more options are read; nobody's capture has as many.
MAX_OPTIONS = 1000
MAX_NAMES = 65_536
# Longer texts of an interface, and longer names, are cut.
MAX_WORD, MAX_PROSE = 255, 4096
NEVER_NS = np.iinfo(np.int64).max
SECOND_NS = 1_000_000_000


def options(data: bytes, order: str, most: int = MAX_OPTIONS) -> Iterator[tuple[int, bytes]]:
    """Yield (code, value) pairs up to the end mark, to where they stop making sense, or `most` of them."""
    if len(data) < 4:
        return
    at = 0
    for _ in range(most):
        if at + 4 > len(data):
            return
        code, size = struct.unpack_from(order + "HH", data, at)
        if code == OPT_END or at + 4 + size > len(data):
            return
        yield code, data[at + 4 : at + 4 + size]
        at += 4 + -(-size // 4) * 4


def comments(data: bytes, order: str) -> list[str]:
    """Return the comments among options."""
    return [text(value) for code, value in options(data, order) if code == OPT_COMMENT]


def text(value: bytes) -> str:
    """Return an option's text; it is for showing only, and hostile."""
    return value.decode("utf-8", "replace").rstrip("\0")


@dataclass(frozen=True, slots=True)
class Clock:
    """How an interface's stamps become nanoseconds: units in a second (a power of 10, or of 2), and a shift."""

    exponent: int = 6
    binary: bool = False
    offset_s: int = 0

    @classmethod
    def parse(cls, resolution: int, offset_s: int) -> Clock:
        """Read the option's byte: the upper bit chooses powers of 2."""
        exponent = resolution & 0x7F
        binary = bool(resolution & 0x80)
        return cls(min(exponent, 63 if binary else 19), binary, offset_s)

    def nanoseconds(self, stamp: U64) -> I64:
        """Return UTC ns; `NO_TIME` for what no 64-bit count of ns can hold, the years before 1678 and after 2262."""
        if (
            not self.binary
            and self.exponent == 9
            and not self.offset_s
            and not (stamp >> np.uint64(62)).any()
        ):
            return stamp.astype(np.int64)
        units = np.uint64(1 << self.exponent if self.binary else 10**self.exponent)
        second, rest = np.divmod(stamp, units)
        if self.binary:
            # 33 bits of fraction are finer than a nanosecond, and leave room for the product.
            shift = np.uint64(max(0, self.exponent - 33))
            fraction = (rest >> shift) * np.uint64(SECOND_NS) >> (np.uint64(self.exponent) - shift)
        elif self.exponent <= 9:
            fraction = rest * np.uint64(10 ** (9 - self.exponent))
        else:
            fraction = rest // np.uint64(10 ** (self.exponent - 9))
        offset_s = max(-(1 << 60), min(self.offset_s, 1 << 60))
        whole = np.minimum(second, np.uint64(1 << 61)).astype(np.int64) + offset_s
        beyond = np.abs(whole) >= NEVER_NS // SECOND_NS
        if beyond.any():
            whole[beyond] = 0
        result: I64 = whole * SECOND_NS + fraction.astype(np.int64)
        if beyond.any():
            result[beyond] = NO_TIME
        return result

    def one(self, stamp: int) -> int:
        """Return one stamp as UTC ns, like `nanoseconds`."""
        units = 1 << self.exponent if self.binary else 10**self.exponent
        time_ns = stamp * SECOND_NS // units + self.offset_s * SECOND_NS
        return max(-NEVER_NS, min(time_ns, NEVER_NS))


@dataclass(frozen=True, slots=True)
class Described:
    """An interface of a section: what it is, its clock, and its index among all interfaces of the capture."""

    interface: Interface
    clock: Clock
    index: int


def parse_interface(body: bytes, order: str) -> tuple[Interface, Clock]:
    """Read an interface description's body (8 bytes at least)."""
    link_type, _, snaplen = struct.unpack_from(order + "HHI", body)
    found = dict(reversed(list(options(body[8:], order))))
    mac = found.get(IF_MAC, b"")
    resolution = found.get(IF_TSRESOL, b"\6") or b"\6"
    offset = found.get(IF_TSOFFSET, b"")
    interface = Interface(
        name=_cut(text(found.get(IF_NAME, b"")), MAX_WORD),
        link_type=link_type,
        snaplen=snaplen,
        description=_cut(text(found.get(IF_DESCRIPTION, b"")), MAX_PROSE),
        mac=mac if len(mac) == 6 else None,
        capture_filter=_filter_text(found.get(IF_FILTER, b"")),
        fcs_bytes=(found.get(IF_FCSLEN) or b"\0")[0],
    )
    offset_s = struct.unpack(order + "q", offset)[0] if len(offset) == 8 else 0
    return interface, Clock.parse(resolution[0], offset_s)


def _filter_text(value: bytes) -> str:
    # The first byte says which language: 0 is libpcap's text, 1 a compiled program.
    return _cut(text(value[1:]), MAX_PROSE) if value[:1] == b"\0" else ""


def _cut(value: str, most: int) -> str:
    return value if len(value) <= most else value[: most - 1] + "…"


def parse_names(body: bytes, order: str) -> tuple[tuple[str, str], ...]:
    """Read a name resolution block's body: (address, name) pairs."""
    import ipaddress

    pairs = []
    for kind, value in options(body, order, MAX_NAMES):
        size = {NAME_IPV4: 4, NAME_IPV6: 16}.get(kind)
        if size is None or len(value) <= size:
            continue
        address = str(ipaddress.ip_address(value[:size]))
        pairs += [(address, _cut(text(name), MAX_WORD)) for name in value[size:].split(b"\0") if name]
    return tuple(pairs)


def parse_statistics(body: bytes, order: str, section: list[Described]) -> Statistics | None:
    """Read an interface statistics block's body; None if it is of no interface that was described."""
    which, high, low = struct.unpack_from(order + "III", body)
    if which >= len(section):
        return None
    found = {code: value for code, value in options(body[12:], order) if len(value) == 8}
    counts = {
        code: struct.unpack(order + "Q", found[code])[0]
        for code in (ISB_RECEIVED, ISB_DROPPED)
        if code in found
    }
    return Statistics(
        interface=section[which].index,
        time_ns=section[which].clock.one(high << 32 | low),
        received=counts.get(ISB_RECEIVED),
        dropped=counts.get(ISB_DROPPED),
    )
