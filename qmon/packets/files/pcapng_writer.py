"""Writing pcapng: whole batches become enhanced packet blocks with nanosecond stamps and directions.

Format: https://www.ietf.org/archive/id/draft-ietf-opsawg-pcapng. Writes one section in little-endian order. Does no
I/O and keeps nothing of what it has encoded.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from qmon.packets.batch import Bytes, Direction, FrameBatch, Interface, Note, Statistics
from qmon.packets.copying import I64, U8, U32, copy_pieces, put_items
from qmon.packets.files import pcapng_blocks as blocks
from qmon.packets.files.notes import journal_entry

MAX_OPTION_BYTES = 0xFFFF
HEAD_BYTES = 28
# Behind the frame and its padding: the flags option with the end of options, the block's length again.
FLAGS_BYTES, END_BYTES, TAIL_BYTES = 12, 4, 4
_FLAGS = np.array([0, 1, 2], "<u4")


class PcapngWriter:
    """Encodes one section: `header()` first, then `interface()` for each before its frames, the rest in any order.

    A batch's `interface` column counts the interfaces in the order in which they were given to `interface()`. Names
    and notes should come behind the first interface: Wireshark's editcap and mergecap refuse a file otherwise.
    """

    def __init__(self, *, application: str = "", hardware: str = "", operating_system: str = "") -> None:
        self._about = (
            (blocks.SHB_HARDWARE, hardware),
            (blocks.SHB_OS, operating_system),
            (blocks.SHB_APPLICATION, application),
        )
        self._interfaces = 0

    def __repr__(self) -> str:
        return f"<PcapngWriter {self._interfaces} interfaces>"

    def header(self, *comments: str) -> bytes:
        """Return the section header block."""
        options = [*((blocks.OPT_COMMENT, comment) for comment in comments), *self._about]
        body = struct.pack("<IHHq", blocks.BYTE_ORDER_MAGIC, 1, 0, -1)
        return _block(
            blocks.SECTION, body + _options((code, _encoded(value)) for code, value in options if value)
        )

    def interface(self, interface: Interface) -> bytes:
        """Return an interface description block."""
        self._interfaces += 1
        options = [
            (blocks.IF_NAME, _encoded(interface.name)),
            (blocks.IF_DESCRIPTION, _encoded(interface.description)),
        ]
        options = [(code, value) for code, value in options if value]
        if interface.mac is not None:
            options.append((blocks.IF_MAC, interface.mac))
        options.append((blocks.IF_TSRESOL, b"\x09"))
        if interface.capture_filter:
            options.append((blocks.IF_FILTER, b"\0" + _encoded(interface.capture_filter)))
        if interface.fcs_bytes:
            options.append((blocks.IF_FCSLEN, bytes([interface.fcs_bytes])))
        head = struct.pack("<HHI", interface.link_type, 0, interface.snaplen)
        return _block(blocks.INTERFACE, head + _options(options))

    def encode(self, batch: FrameBatch, between: Sequence[tuple[int, bytes]] = ()) -> Bytes:
        """Return a batch as enhanced packet blocks, with directions and comments.

        `between` are blocks made by the other methods, each to stand before the row it is given with; rows ascend.
        """
        if not len(batch):
            return b"".join(block for _, block in between)
        padded = batch.captured.astype(np.int64) + 3 & ~3
        flagged = batch.direction != Direction.UNKNOWN
        comments = _comments(batch)
        rows = np.fromiter(comments, np.int64, len(comments))
        said = np.fromiter((len(one) for one in comments.values()), np.int64, len(comments))
        size = HEAD_BYTES + padded + TAIL_BYTES + np.where(flagged, FLAGS_BYTES, 0)
        size[rows] += said + np.where(flagged[rows], 0, END_BYTES)
        end = np.cumsum(size)
        if between:
            _make_way(end, between)
        start = end - size
        out = np.zeros(int(end[-1]), np.uint8)
        put_items(out, HEAD_BYTES, start, self._heads(batch, size))
        copy_pieces(batch.data, batch.offset, out, start + HEAD_BYTES, batch.captured)
        options = start + HEAD_BYTES + padded
        for at, comment in zip(options[rows].tolist(), comments.values(), strict=True):
            out[at : at + len(comment)] = np.frombuffer(comment, np.uint8)
        options[rows] += said
        if flagged.any():
            option = np.zeros((int(flagged.sum()), 3), "<u4")
            option[:, 0] = 4 << 16 | blocks.EPB_FLAGS
            option[:, 1] = _FLAGS[batch.direction[flagged]]
            put_items(out, FLAGS_BYTES, options[flagged], option)
        put_items(out, TAIL_BYTES, end - TAIL_BYTES, size.astype("<u4"))
        return _put_between(out, start, between) if between else out.data

    def journal(self, note: Note) -> bytes:
        """Return a note as a systemd journal export block: Wireshark shows a row of its own, others skip it."""
        return _block(blocks.JOURNAL, _padded(journal_entry(note)))

    def names(self, names: Mapping[str, str]) -> bytes:
        """Return a name resolution block: address (IPv4 or IPv6, as text) to name."""
        records = []
        for address, name in names.items():
            packed = ipaddress.ip_address(address).packed
            kind = blocks.NAME_IPV4 if len(packed) == 4 else blocks.NAME_IPV6
            records.append((kind, packed + _encoded(name) + b"\0"))
        return _block(blocks.NAMES, _options(records) or bytes(4))

    def statistics(self, statistics: Statistics, *comments: str) -> bytes:
        """Return an interface statistics block."""
        stamp = struct.pack("<II", *divmod(max(0, statistics.time_ns), 1 << 32))
        counts = [(blocks.ISB_RECEIVED, statistics.received), (blocks.ISB_DROPPED, statistics.dropped)]
        options = [(blocks.OPT_COMMENT, _encoded(comment)) for comment in comments]
        options.append((blocks.ISB_END, stamp))
        options += [(code, struct.pack("<Q", count)) for code, count in counts if count is not None]
        return _block(blocks.STATISTICS, struct.pack("<I", statistics.interface) + stamp + _options(options))

    def _heads(self, batch: FrameBatch, size: I64) -> U32:
        time_ns = np.maximum(batch.time_ns, 0)
        head = np.empty((len(batch), 7), "<u4")
        head[:, 0] = blocks.ENHANCED_PACKET
        head[:, 1] = size
        head[:, 2] = batch.interface
        head[:, 3] = time_ns >> 32
        head[:, 4] = time_ns & 0xFFFF_FFFF
        head[:, 5] = batch.captured
        head[:, 6] = batch.length
        return head


def _comments(batch: FrameBatch) -> dict[int, bytes]:
    """Return each commented row's comments as options, without their end."""
    found: dict[int, list[bytes]] = {}
    for row, comment in batch.comments:
        found.setdefault(row, []).append(_option(blocks.OPT_COMMENT, _encoded(comment)))
    return {row: b"".join(options) for row, options in found.items()}


def _make_way(end: I64, between: Sequence[tuple[int, bytes]]) -> None:
    """Move where packets end for the blocks between them; what stands behind all of them needs no way."""
    room = np.zeros(len(end) + 1, np.int64)
    np.add.at(room, [row for row, _ in between], [len(block) for _, block in between])
    end += np.cumsum(room[:-1])


def _put_between(out: U8, start: I64, between: Sequence[tuple[int, bytes]]) -> bytes:
    """Put each block directly before its packet."""
    behind = []
    ends: dict[int, int] = {}
    for row, block in reversed(between):
        if row >= len(start):
            behind.append(block)
            continue
        at = ends.get(row, int(start[row])) - len(block)
        out[at : at + len(block)] = np.frombuffer(block, np.uint8)
        ends[row] = at
    return out.tobytes() + b"".join(reversed(behind))


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def _block(kind: int, body: bytes) -> bytes:
    size = struct.pack("<I", len(body) + 12)
    return struct.pack("<I", kind) + size + body + size


def _padded(value: bytes) -> bytes:
    return value + bytes(-len(value) % 4)


def _options(options: Iterable[tuple[int, bytes]]) -> bytes:
    """Encode options and their end mark; nothing for none."""
    encoded = [_option(code, value) for code, value in options]
    return b"".join([*encoded, bytes(4)]) if encoded else b""


def _option(code: int, value: bytes) -> bytes:
    """Encode an option; what is too long for its length is cut."""
    value = value[:MAX_OPTION_BYTES]
    return struct.pack("<HH", code, len(value)) + _padded(value)
