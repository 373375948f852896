"""The classic capture format, read and written: bytes in, batches out, and back.

Formats: https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap — both byte orders, micro- and nanoseconds — and the
"modified" one of old Linux systems (magic a1b2cd34, 24-byte record headers with a direction). Does no I/O.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from qmon.errors import DamagedFile
from qmon.packets.batch import Damage, Direction, FrameBatch, Interface
from qmon.packets.copying import I64, U8, U32, copy_pieces, items_at, put_items
from qmon.packets.files.feeding import Item, Reader, longest_frame
from qmon.packets.files.resync import PcapRule, find_pcap_record
from qmon.packets.files.scan import Layout, walk

HEADER_BYTES = 24
RECORD_BYTES = 16
MODIFIED_RECORD_BYTES = 24
MICROSECONDS, NANOSECONDS, MODIFIED = 0xA1B2C3D4, 0xA1B23C4D, 0xA1B2CD34
LAST_STAMP_NS = (1 << 32) * 1_000_000_000 - 1
GUESS_BYTES = (400, 1600)
# Linux's PACKET_HOST … PACKET_OUTGOING, as the modified format has them.
_PACKET_TYPE_DIRECTION = np.array([Direction.IN] * 4 + [Direction.OUT], np.uint8)


@dataclass(frozen=True, slots=True)
class FileHeader:
    """What the first 24 bytes say. `order` is "<" or ">", `unit_ns` what one step of the fraction is worth."""

    order: str
    unit_ns: int
    record_bytes: int
    lengths_swapped: bool
    interface: Interface

    @classmethod
    def parse(cls, data: bytes) -> FileHeader:
        """Read it; DamagedFile if it is none."""
        for order in "<>":
            magic, major, minor, _, _, snaplen, network = struct.unpack_from(order + "IHHiIII", data)
            if magic in (MICROSECONDS, NANOSECONDS, MODIFIED):
                break
        else:
            raise DamagedFile(
                "this is not a pcap capture: its first bytes are none of the known ones", offset=0
            )
        # The upper bits of the link type may say how many 16-bit words of check sum end each frame.
        fcs_bytes = (network >> 28) * 2 if network & 0x0400_0000 else 0
        return cls(
            order=order,
            unit_ns=1 if magic == NANOSECONDS else 1000,
            record_bytes=MODIFIED_RECORD_BYTES if magic == MODIFIED else RECORD_BYTES,
            # Before version 2.3 the two lengths stood the other way round; so they do in DG/UX's version 543.
            lengths_swapped=(major == 2 and minor < 3) or major == 543,
            interface=Interface(link_type=network & 0xFFFF, snaplen=snaplen, fcs_bytes=fcs_bytes),
        )


@dataclass(frozen=True, slots=True)
class _Lost:
    offset: int
    reason: str


class PcapReader(Reader):
    """Takes the bytes of one capture. `interface` is None until the header has been read."""

    def __init__(self, *, base: int = 0) -> None:
        super().__init__(base=base)
        self.need = HEADER_BYTES
        self.header: FileHeader | None = None
        self._layout = Layout(8, RECORD_BYTES, RECORD_BYTES, "<")
        self._limit = 0
        self._second: int | None = None
        self._lost: _Lost | None = None

    @property
    def interface(self) -> Interface | None:
        """The one interface of the capture."""
        return self.header.interface if self.header else None

    def parse(self, data: U8, *, final: bool) -> tuple[list[Item], int]:
        """See `Reader.parse`."""
        items: list[Item] = []
        at = 0
        if self.header is None and len(data) >= HEADER_BYTES:
            items.append(self._begin(FileHeader.parse(data[:HEADER_BYTES].tobytes())))
            at = HEADER_BYTES
        if self.header is not None:
            at = self._all_records(data, at, items, final=final)
        if final and at < len(data):
            what = "record" if self.header else "header"
            items.append(Damage(self.position + at, f"the file ends within a {what}", len(data) - at))
            at = len(data)
        self.position += at
        return items, at

    def _all_records(self, data: U8, at: int, items: list[Item], *, final: bool) -> int:
        while True:
            if self._lost is not None:
                at = self._search(data, self._lost, at, items, final=final)
                if self._lost is not None:
                    return at
            at = self._sound_records(data, at, items)
            reason = self._is_damaged(data, at)
            if reason is None:
                return at
            self._lost = _Lost(self.position + at, reason)
            at += 1

    def _begin(self, header: FileHeader) -> Interface:
        self.header = header
        size_at = 12 if header.lengths_swapped else 8
        self._layout = Layout(size_at, header.record_bytes, header.record_bytes, header.order)
        self._limit = longest_frame(header.interface.link_type)
        return header.interface

    def _sound_records(self, data: U8, at: int, items: list[Item]) -> int:
        """Take all whole and sound records from `at` on; return where they end."""
        starts, end = walk(data, at, len(data), self._layout, _Guesser(data, at, self._layout, self._limit))
        if not len(starts):
            return end
        fields = items_at(data, 16, starts).view(self._layout.order + "u4").reshape(-1, 4)
        sound = fields[:, self._layout.size_at // 4] <= self._limit
        if not sound.all():
            count = int(np.argmin(sound))
            end = int(starts[count])
            starts, fields = starts[:count], fields[:count]
        if len(starts):
            self._second = int(fields[-1, 0])
            items.append(self._batch(data, starts, fields))
        return end

    def _batch(self, data: U8, starts: I64, fields: U32) -> FrameBatch:
        header = self._known()
        time_ns = fields[:, 0].astype(np.int64)
        time_ns *= 1_000_000_000
        fraction = fields[:, 1].astype(np.int64)
        if header.unit_ns != 1:
            fraction *= header.unit_ns
        time_ns += fraction
        offset = starts + header.record_bytes
        captured, length = (3, 2) if header.lengths_swapped else (2, 3)
        direction = np.zeros(len(starts), np.uint8)
        if header.record_bytes == MODIFIED_RECORD_BYTES:
            kind = np.minimum(data[starts + 22], len(_PACKET_TYPE_DIRECTION) - 1)
            direction = _PACKET_TYPE_DIRECTION[kind]
        return FrameBatch(
            data=data,
            offset=offset,
            captured=fields[:, captured].astype(np.uint32),
            length=fields[:, length].astype(np.uint32),
            time_ns=time_ns,
            interface=np.zeros(len(starts), np.uint16),
            direction=direction,
            position=offset + self.position,
        )

    def _known(self) -> FileHeader:
        assert self.header is not None
        return self.header

    # Damage

    def _is_damaged(self, data: U8, at: int) -> str | None:
        """Say why what stands at `at` cannot be a record; if it may be one, set what it needs to be whole."""
        record = self._layout.least
        if at + record > len(data):
            self.need = record
            return None
        size = struct.unpack_from(self._layout.order + "I", data.data, at + self._layout.size_at)[0]
        if size > self._limit:
            return f"a record claims {size} bytes, and none has more than {self._limit}"
        self.need = record + size
        return None

    def _search(self, data: U8, lost: _Lost, at: int, items: list[Item], *, final: bool) -> int:
        """Look for the next record behind damage; return where it begins, or up to where there is surely none."""
        found, at = find_pcap_record(data, at, self._rule(), final=final)
        if not found and not final:
            self.need = len(data) - at + 1
            return at
        if not found:
            at = len(data)
        items.append(Damage(lost.offset, lost.reason, self.position + at - lost.offset))
        self._lost = None
        return at

    def _rule(self) -> PcapRule:
        header = self._known()
        return PcapRule(
            order=header.order,
            record_bytes=header.record_bytes,
            limit=self._limit,
            fractions=1_000_000_000 // header.unit_ns,
            second=self._second,
        )


class _Guesser:
    """Guesses where records may begin: where the upper half of a stamp of these hours stands.

    What follows must look like a record too; `walk` finds out whether it is one.
    """

    def __init__(self, data: U8, at: int, layout: Layout, limit: int) -> None:
        self._data = data
        self._layout = layout
        self._limit = limit
        self._shift = 2 if layout.order == "<" else 0
        self._pattern = data[at + self._shift : at + self._shift + 2]

    def __call__(self, near: I64) -> I64:
        near = near[near + GUESS_BYTES[-1] + self._layout.least <= len(self._data)]
        found = np.full(len(near), -1, np.int64)
        for size in GUESS_BYTES:
            # Most are found soon, few need a longer look.
            rest = np.flatnonzero(found < 0)
            found[rest] = self._find(near[rest], size)
        return self._sound(found[found >= 0])

    def _find(self, near: I64, size: int) -> I64:
        """Return the first place with the pattern within `size` bytes, -1 where there is none."""
        windows = items_at(self._data, size, near).reshape(len(near), size)
        hit = windows[:, :-1] == self._pattern[0]
        hit &= windows[:, 1:] == self._pattern[1]
        where = hit.argmax(axis=1)
        return np.where(hit[np.arange(len(near)), where], near + (where - self._shift), -1)

    def _sound(self, found: I64) -> I64:
        fields = self._fields(found)
        captured, length = fields[:, 2], fields[:, 3]
        if self._layout.size_at == 12:
            captured, length = length, captured
        after = found + captured + self._layout.least
        sound = (
            (captured <= length) & (captured <= self._limit) & (after + self._layout.least <= len(self._data))
        )
        found, after = found[sound], after[sound] + self._shift
        follows = (self._data[after] == self._pattern[0]) & (self._data[after + 1] == self._pattern[1])
        result: I64 = found[follows]
        return result

    def _fields(self, at: I64) -> I64:
        head = items_at(self._data, RECORD_BYTES, at).view(self._layout.order + "u4")
        return head.reshape(-1, 4).astype(np.int64)


class PcapWriter:
    """Encodes frames of one interface; `nanoseconds` chooses the finer of the two stamps.

    The format has room for neither names nor directions. Stamps outside of the years 1970 to 2106 do not fit and are
    moved to the nearest that do.
    """

    def __init__(self, interface: Interface, *, nanoseconds: bool = False) -> None:
        self._interface = interface
        self._nanoseconds = nanoseconds

    def header(self) -> bytes:
        """Return the 24 bytes a file starts with."""
        magic = NANOSECONDS if self._nanoseconds else MICROSECONDS
        one = self._interface
        link_type = one.link_type | (0x0400_0000 | one.fcs_bytes // 2 << 28 if one.fcs_bytes else 0)
        return struct.pack("<IHHiIII", magic, 2, 4, 0, 0, one.snaplen, link_type)

    def encode(self, batch: FrameBatch) -> bytes:
        """Return the records of a batch."""
        time_ns = np.clip(batch.time_ns, 0, LAST_STAMP_NS)
        fields = np.empty((len(batch), 4), "<u4")
        fields[:, 0] = time_ns // 1_000_000_000
        fields[:, 1] = time_ns % 1_000_000_000 // (1 if self._nanoseconds else 1000)
        fields[:, 2] = batch.captured
        fields[:, 3] = batch.length
        ends = np.cumsum(batch.captured.astype(np.int64) + RECORD_BYTES)
        start = ends - batch.captured - RECORD_BYTES
        out = np.empty(int(ends[-1]) if len(batch) else 0, np.uint8)
        put_items(out, RECORD_BYTES, start, fields)
        copy_pieces(batch.data, batch.offset, out, start + RECORD_BYTES, batch.captured)
        return out.tobytes()
