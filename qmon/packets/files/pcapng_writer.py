"""Writing pcapng: whole batches become enhanced packet blocks with nanosecond stamps and directions.

Format: https://www.ietf.org/archive/id/draft-ietf-opsawg-pcapng. Writes one section in little-endian order. Does no
I/O and keeps nothing of what it has encoded.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from qmon.packets.batch import Direction, FrameBatch, Interface, Note, Statistics
from qmon.packets.copying import I64, copy_pieces, put_items
from qmon.packets.files import pcapng_blocks as blocks

MAX_OPTION_BYTES = 0xFFFF
HEAD_BYTES = 28
# Behind the frame and its padding: the flags option, the end of options, the block's length again.
FLAGS_BYTES, TAIL_BYTES = 12, 4
_FLAGS = np.array([0, 1, 2], "<u4")
# LINKTYPE_WIRESHARK_UPPER_PDU: tags say which of Wireshark's dissectors reads the rest.
UPPER_PDU = 252
_DISSECTOR_NAME_TAG = 12
# Facility "local use 0", severity "notice".
_SYSLOG_PRIORITY = 133
NOTES_INTERFACE = Interface(
    name="qmon", link_type=UPPER_PDU, description="What happened between the packets, told by qmon"
)


class PcapngWriter:
    """Encodes one section: `header()` first, then `interface()` for each before its frames, the rest in any order.

    A batch's `interface` column counts the interfaces in the order in which they were given to `interface()`.
    """

    def __init__(self, *, application: str = "", hardware: str = "", operating_system: str = "") -> None:
        self._about = (
            (blocks.SHB_HARDWARE, hardware),
            (blocks.SHB_OS, operating_system),
            (blocks.SHB_APPLICATION, application),
        )
        # From the caller's count of interfaces to the file's: the one for notes is not the caller's.
        self._index: list[int] = []
        self._written = 0
        self._notes_index: int | None = None

    def __repr__(self) -> str:
        return f"<PcapngWriter {self._written} interfaces>"

    def header(self, comment: str = "") -> bytes:
        """Return the section header block."""
        options = [(blocks.OPT_COMMENT, comment), *self._about]
        body = struct.pack("<IHHq", blocks.BYTE_ORDER_MAGIC, 1, 0, -1)
        return _block(
            blocks.SECTION, body + _options((code, value.encode()) for code, value in options if value)
        )

    def interface(self, interface: Interface) -> bytes:
        """Return an interface description block."""
        self._index.append(self._written)
        return self._describe(interface)

    def encode(self, batch: FrameBatch) -> bytes:
        """Return a batch as enhanced packet blocks, with directions and comments."""
        if not batch.comments:
            return self._packets(batch)
        by_row: dict[int, list[str]] = {}
        for row, comment in batch.comments:
            by_row.setdefault(row, []).append(comment)
        pieces, first = [], 0
        for row in sorted(by_row):
            pieces.append(self._packets(batch.select(slice(first, row))))
            pieces.append(self._commented(batch.select(slice(row, row + 1)), by_row[row]))
            first = row + 1
        pieces.append(self._packets(batch.select(slice(first, len(batch)))))
        return b"".join(pieces)

    def note(self, note: Note) -> bytes:
        """Return a note as a packet that Wireshark shows as a syslog message, on an interface made for notes.

        The first one is preceded by that interface's description.
        """
        described = b""
        if self._notes_index is None:
            self._notes_index = self._written
            described = self._describe(NOTES_INTERFACE)
        name = b"syslog".ljust(8, b"\0")
        message = f"<{_SYSLOG_PRIORITY}>qmon {note.kind}: {note.text}".encode("utf-8", "replace")
        frame = struct.pack(">HH", _DISSECTOR_NAME_TAG, len(name)) + name + bytes(4) + message
        stamp = max(0, note.time_ns)
        head = struct.pack(
            "<IIIII", self._notes_index, stamp >> 32, stamp & 0xFFFF_FFFF, len(frame), len(frame)
        )
        return described + _block(blocks.ENHANCED_PACKET, head + _padded(frame))

    def names(self, names: Mapping[str, str]) -> bytes:
        """Return a name resolution block: address (IPv4 or IPv6, as text) to name."""
        records = []
        for address, name in names.items():
            packed = ipaddress.ip_address(address).packed
            kind = blocks.NAME_IPV4 if len(packed) == 4 else blocks.NAME_IPV6
            records.append((kind, packed + name.encode() + b"\0"))
        return _block(blocks.NAMES, _options(records) or bytes(4))

    def statistics(self, statistics: Statistics) -> bytes:
        """Return an interface statistics block."""
        stamp = struct.pack("<II", *divmod(max(0, statistics.time_ns), 1 << 32))
        counts = [(blocks.ISB_RECEIVED, statistics.received), (blocks.ISB_DROPPED, statistics.dropped)]
        known = [(code, struct.pack("<Q", count)) for code, count in counts if count is not None]
        head = struct.pack("<I", self._index[statistics.interface]) + stamp
        return _block(blocks.STATISTICS, head + _options([(blocks.ISB_END, stamp), *known]))

    def _describe(self, interface: Interface) -> bytes:
        self._written += 1
        options = [
            (blocks.IF_NAME, interface.name.encode()),
            (blocks.IF_DESCRIPTION, interface.description.encode()),
        ]
        options = [(code, value) for code, value in options if value]
        if interface.mac is not None:
            options.append((blocks.IF_MAC, interface.mac))
        options.append((blocks.IF_TSRESOL, b"\x09"))
        if interface.capture_filter:
            options.append((blocks.IF_FILTER, b"\0" + interface.capture_filter.encode()))
        if interface.fcs_bytes:
            options.append((blocks.IF_FCSLEN, bytes([interface.fcs_bytes])))
        head = struct.pack("<HHI", interface.link_type, 0, interface.snaplen)
        return _block(blocks.INTERFACE, head + _options(options))

    def _packets(self, batch: FrameBatch) -> bytes:
        if not len(batch):
            return b""
        padded = batch.captured.astype(np.int64) + 3 & ~3
        flagged = batch.direction != Direction.UNKNOWN
        size = HEAD_BYTES + padded + TAIL_BYTES + np.where(flagged, FLAGS_BYTES, 0)
        end = np.cumsum(size)
        start = end - size
        out = np.zeros(int(end[-1]), np.uint8)
        put_items(out, HEAD_BYTES, start, self._heads(batch, size))
        copy_pieces(batch.data, batch.offset, out, start + HEAD_BYTES, batch.captured)
        if flagged.any():
            option = np.zeros((int(flagged.sum()), 3), "<u4")
            option[:, 0] = 4 << 16 | blocks.EPB_FLAGS
            option[:, 1] = _FLAGS[batch.direction[flagged]]
            put_items(out, FLAGS_BYTES, (start + HEAD_BYTES + padded)[flagged], option)
        put_items(out, TAIL_BYTES, end - TAIL_BYTES, size.astype("<u4"))
        return out.tobytes()

    def _heads(self, batch: FrameBatch, size: I64) -> np.ndarray[tuple[int, int], np.dtype[np.uint32]]:
        time_ns = np.maximum(batch.time_ns, 0)
        head = np.empty((len(batch), 7), "<u4")
        head[:, 0] = blocks.ENHANCED_PACKET
        head[:, 1] = size
        head[:, 2] = np.array(self._index, np.uint32)[batch.interface]
        head[:, 3] = time_ns >> 32
        head[:, 4] = time_ns & 0xFFFF_FFFF
        head[:, 5] = batch.captured
        head[:, 6] = batch.length
        return head

    def _commented(self, batch: FrameBatch, comments: Sequence[str]) -> bytes:
        """Encode one frame with comments."""
        head = self._heads(batch, np.zeros(1, np.int64)).tobytes()[8:]
        options = [(blocks.OPT_COMMENT, comment.encode("utf-8", "replace")) for comment in comments]
        if batch.direction[0] != Direction.UNKNOWN:
            options.append((blocks.EPB_FLAGS, _FLAGS[batch.direction[:1]].tobytes()))
        return _block(blocks.ENHANCED_PACKET, head + _padded(bytes(batch.frame(0))) + _options(options))


def _block(kind: int, body: bytes) -> bytes:
    size = struct.pack("<I", len(body) + 12)
    return struct.pack("<I", kind) + size + body + size


def _padded(value: bytes) -> bytes:
    return value + bytes(-len(value) % 4)


def _options(options: Iterable[tuple[int, bytes]]) -> bytes:
    """Encode options and their end mark; nothing for none. What is too long for an option's length is cut."""
    encoded = [
        struct.pack("<HH", code, len(value[:MAX_OPTION_BYTES])) + _padded(value[:MAX_OPTION_BYTES])
        for code, value in options
    ]
    return b"".join([*encoded, bytes(4)]) if encoded else b""
