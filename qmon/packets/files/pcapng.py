"""Reading pcapng: bytes in; interfaces, batches, notes, names, statistics and damage out.

Format: https://www.ietf.org/archive/id/draft-ietf-opsawg-pcapng. Reads any number of sections of either byte order;
packets in enhanced, simple and the old packet blocks; leaves out what it does not know (secrets, custom blocks). All
packets of a buffer are taken at once; only the blocks between them cost Python time. Does no I/O.
"""

from __future__ import annotations

import struct
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np

from qmon.errors import DamagedFile
from qmon.packets.batch import NO_TIME, Damage, Direction, FrameBatch, Interface, Names, Note
from qmon.packets.copying import I64, U8, U32, U64, Mask
from qmon.packets.files import notes
from qmon.packets.files import pcapng_blocks as blocks
from qmon.packets.files.feeding import Item, Reader, longest_frame
from qmon.packets.files.pcapng_blocks import Clock, Described
from qmon.packets.files.pcapng_walk import LEAST_BLOCK, Blocks, number_at, sound_blocks, words_at
from qmon.packets.files.resync import LONGEST_BLOCK_BYTES, find_pcapng_block

MAX_INTERFACES = 0xFFFF
_MANY_OPTIONS = f"no more than {blocks.MAX_OPTIONS:,} options were read"
# Bytes before the frame in the three kinds of packet blocks.
_FRAME_AT = {blocks.ENHANCED_PACKET: 28, blocks.PACKET: 28, blocks.SIMPLE_PACKET: 12}
_DIRECTION = np.array([Direction.UNKNOWN, Direction.IN, Direction.OUT, Direction.UNKNOWN], np.uint8)


@dataclass(frozen=True, slots=True)
class _Lost:
    offset: int
    reason: str


@dataclass(frozen=True, slots=True)
class _Packets:
    """The packet blocks of a buffer: where they begin and end, and what their heads say (n rows each)."""

    start: I64
    end: I64
    kind: U32
    big: Mask
    interface: U32
    stamp: U64
    captured: U32
    length: U32
    frame: I64

    def select(self, which: Mask) -> _Packets:
        return _Packets(*(getattr(self, name)[which] for name in self.__dataclass_fields__))


@dataclass(frozen=True, slots=True)
class _Sections:
    """The interfaces of some sections in a row; for each packet, where its section's begin, and how many there are."""

    table: list[Described]
    base: I64
    count: I64

    def select(self, which: Mask) -> _Sections:
        return _Sections(self.table, self.base[which], self.count[which])


class PcapngReader(Reader):
    """Takes the bytes of one capture. `interfaces` are those described so far, of all sections."""

    def __init__(self, *, base: int = 0) -> None:
        super().__init__(base=base)
        self.need = LEAST_BLOCK
        self.interfaces: list[Interface] = []
        self._section: list[Described] = []
        # The indices of equal interfaces, and how many of each this section has described.
        self._same: dict[Interface, list[int]] = {}
        self._taken: Counter[Interface] = Counter()
        self._order = ""
        self._lost: _Lost | None = None

    def parse(self, data: U8, *, final: bool) -> tuple[list[Item], int]:
        """See `Reader.parse`."""
        items: list[Item] = []
        at = 0
        while True:
            if self._lost is not None:
                at = self._search(data, self._lost, at, items, final=final)
                if self._lost is not None:
                    break
            if len(data) - at >= LEAST_BLOCK and number_at(data, at, "<") == blocks.SECTION:
                self._turn(data, at)
            if not self._order:
                break
            found, at, self._order = sound_blocks(data, at, self._order)
            if len(found):
                self._take(data, found, items)
            reason = self._is_damaged(data, at)
            if reason is None:
                break
            self._lost = _Lost(self.position + at, reason)
            at += 1
        if final and at < len(data):
            items.append(Damage(self.position + at, "the file ends within a block", len(data) - at))
            at = len(data)
        self.position += at
        return items, at

    # Walking over blocks

    def _turn(self, data: U8, at: int) -> None:
        """A section begins: learn its byte order."""
        for order in "<>":
            if number_at(data, at + 8, order) == blocks.BYTE_ORDER_MAGIC:
                self._order = order
                return
        if not self._order:
            raise DamagedFile("this is not a pcapng capture: its byte order cannot be told", offset=0)

    def _take(self, data: U8, found: Blocks, items: list[Item]) -> None:
        """Take sound blocks, of any number of sections; their packets make one batch."""
        kind = found.kind
        packet = (kind == blocks.ENHANCED_PACKET) | (kind == blocks.SIMPLE_PACKET) | (kind == blocks.PACKET)
        # All interfaces of these sections in a row, and where each section's begin there.
        table = list(self._section)
        bases, firsts = [0], [0]
        others = np.flatnonzero(~packet)
        columns = (found.start, found.end, kind, found.big)
        rows = (column[others].tolist() for column in columns)
        for index, start, end, what, big in zip(others.tolist(), *rows, strict=True):
            if what == blocks.SECTION:
                self._section = []
                self._taken.clear()
                bases.append(len(table))
                firsts.append(index)
            body = data[start + 8 : end - 4].tobytes()
            described = len(self._section)
            self._other_block(what, body, ">" if big else "<", start, items)
            table += self._section[described:]
        if packet.any():
            part = np.repeat(np.arange(len(bases)), np.diff([*firsts, len(kind)]))[packet]
            base, stop = np.array(bases), np.array([*bases[1:], len(table)])
            sections = _Sections(table, base[part], (stop - base)[part])
            self._packets(data, found.select(packet), sections, items)

    # Blocks that are no packets

    def _other_block(self, kind: int, body: bytes, order: str, at: int, items: list[Item]) -> None:
        if kind == blocks.SECTION and len(body) >= 16:
            comments = blocks.comments(body[16:], order)
            items.extend(Note(NO_TIME, comment, "comment") for comment in comments)
            if len(comments) == blocks.MAX_OPTIONS:
                items.append(Damage(self.position + at, f"{_MANY_OPTIONS} of a section", 0))
        elif kind == blocks.INTERFACE and len(body) >= 8:
            self._describe(*blocks.parse_interface(body, order), at, items)
        elif kind == blocks.NAMES:
            pairs = blocks.parse_names(body, order)
            if pairs:
                items.append(Names(pairs))
        elif kind == blocks.STATISTICS and len(body) >= 12:
            statistics = blocks.parse_statistics(body, order, self._section)
            if statistics is not None:
                items.append(statistics)
                told = (notes.from_comment(one) for one in blocks.comments(body[12:], order))
                items.extend(note for note in told if note is not None)
        elif kind == blocks.JOURNAL:
            note = notes.from_journal(body)
            if note is not None:
                items.append(note)

    def _describe(self, interface: Interface, clock: Clock, at: int, items: list[Item]) -> None:
        # A section that describes the same interface again (files joined end to end) means the same one.
        same = self._same.setdefault(interface, [])
        if self._taken[interface] < len(same):
            index = same[self._taken[interface]]
        elif len(self.interfaces) >= MAX_INTERFACES:
            items.append(Damage(self.position + at, f"more than {MAX_INTERFACES} interfaces", 0))
            return
        else:
            index = len(self.interfaces)
            same.append(index)
            self.interfaces.append(interface)
            items.append(interface)
        self._taken[interface] += 1
        self._section.append(Described(interface, clock, index))

    # Packets

    def _packets(self, data: U8, found: Blocks, sections: _Sections, items: list[Item]) -> None:
        room = (found.end - found.start) >= np.where(found.kind == blocks.SIMPLE_PACKET, 16, 32)
        self._complain(found.start[~room], "a packet block is too short for a packet", items)
        if not room.any():
            return
        sections = sections.select(room)
        packets = self._heads(data, found.select(room), sections)
        known = packets.interface < sections.count
        self._complain(packets.start[~known], "a packet of an interface that was never described", items)
        packets = packets.select(known)
        if not known.any():
            return
        table = sections.table
        packets = replace(packets, interface=(packets.interface + sections.base[known]).astype(np.uint32))
        limits = np.array([longest_frame(one.interface.link_type) for one in table], np.uint32)
        fits = packets.frame + packets.captured.astype(np.int64) <= packets.end - 4
        fits &= packets.captured <= limits[packets.interface]
        self._complain(packets.start[~fits], "a packet claims more bytes than its block has", items)
        packets = self._without_notes(data, packets.select(fits), table, items)
        if len(packets.start):
            items.append(self._batch(data, packets, table, items))

    def _without_notes(
        self, data: U8, packets: _Packets, table: list[Described], items: list[Item]
    ) -> _Packets:
        """Take the packets that are notes, as older qmons wrote them."""
        for_notes = [notes.is_for_notes(one.interface) for one in table]
        if not any(for_notes):
            return packets
        which = np.array(for_notes)[packets.interface]
        mine = packets.select(which)
        for at, size, time_ns in zip(
            mine.frame.tolist(), mine.captured.tolist(), self._times(mine, table).tolist(), strict=True
        ):
            items.append(notes.from_packet(data[at : at + size].tobytes(), time_ns))
        return packets.select(~which)

    def _complain(self, start: I64, reason: str, items: list[Item]) -> None:
        if len(start):
            items.append(Damage(self.position + int(start[0]), reason, 0, count=len(start)))

    def _heads(self, data: U8, found: Blocks, sections: _Sections) -> _Packets:
        start, end, kind, big = found.start, found.end, found.kind, found.big
        # Simple blocks may be shorter than the bytes read here, but not shorter than 16.
        within = np.minimum(start, len(data) - 28) if len(data) >= 28 else start
        if len(data) < 28:
            data = np.concatenate((data, np.zeros(28, np.uint8)))
        head = words_at(data, 28, within, big)
        interface, stamp = head[:, 2], head[:, 3].astype(np.uint64) << np.uint64(32) | head[:, 4]
        captured, length = head[:, 5], head[:, 6]
        frame = start + 28
        old = kind == blocks.PACKET
        if old.any():
            # The interface is the first half of that word, whatever the order; the other half counts drops.
            first = np.where(big, interface >> 16, interface & 0xFFFF)
            interface = np.where(old, first, interface)
        simple = kind == blocks.SIMPLE_PACKET
        if simple.any():
            wire = words_at(data, 4, start + 8, big)[:, 0]
            limits = [one.interface.snaplen or 0xFFFF_FFFF for one in sections.table]
            snaplen = np.array([*limits, 0xFFFF_FFFF], np.uint32)[sections.base]
            held = np.minimum(np.minimum(wire, snaplen), (end - start - 16).astype(np.uint32))
            interface = np.where(simple, 0, interface)
            stamp = np.where(simple, np.uint64(0), stamp)
            captured, length = np.where(simple, held, captured), np.where(simple, wire, length)
            frame = np.where(simple, start + 12, frame)
        return _Packets(start, end, kind, big, interface, stamp, captured, length, frame)

    def _batch(self, data: U8, packets: _Packets, table: list[Described], items: list[Item]) -> FrameBatch:
        """Make a batch; what options say besides a direction goes to `items`, before it."""
        time_ns = self._times(packets, table)
        beyond = (time_ns == NO_TIME) & (packets.kind != blocks.SIMPLE_PACKET)
        self._complain(packets.start[beyond], "a packet's time is out of the years 1678 to 2262", items)
        index = np.array([one.index for one in table], np.uint16)[packets.interface]
        direction = np.zeros(len(time_ns), np.uint8)
        options = packets.frame + (packets.captured.astype(np.int64) + 3 & ~3)
        has = (packets.end - 4 - options >= 8) & (packets.kind != blocks.SIMPLE_PACKET)
        comments: list[tuple[int, str]] = []
        if has.any():
            rows = np.flatnonzero(has)
            first = words_at(data, 8, options[rows], packets.big[rows])
            # An options list that begins with the flags and, being of 12 or 8 bytes, has nothing else.
            code = np.where(packets.big[rows], blocks.EPB_FLAGS << 16 | 4, 4 << 16 | blocks.EPB_FLAGS)
            plain = (first[:, 0] == code) & (packets.end[rows] - 4 - options[rows] <= 12)
            direction[rows[plain]] = _DIRECTION[first[plain, 1] & 3]
            for row in rows[~plain].tolist():
                value = data[int(options[row]) : int(packets.end[row]) - 4].tobytes()
                direction[row] = self._options(
                    value, row, packets.big[row], int(time_ns[row]), int(index[row]), comments, items
                )
        return FrameBatch(
            data=data,
            offset=packets.frame,
            captured=packets.captured,
            length=packets.length,
            time_ns=time_ns,
            interface=index,
            direction=direction,
            position=packets.frame + self.position,
            comments=tuple(comments),
        )

    def _times(self, packets: _Packets, table: list[Described]) -> I64:
        clocks = [one.clock for one in table]
        if all(clock == clocks[0] for clock in clocks):
            time_ns = clocks[0].nanoseconds(packets.stamp)
        else:
            time_ns = np.zeros(len(packets.stamp), np.int64)
            numbers = {clock: number for number, clock in enumerate(dict.fromkeys(clocks))}
            kind = np.array([numbers[clock] for clock in clocks])[packets.interface]
            for clock, number in numbers.items():
                mine = kind == number
                if mine.any():
                    time_ns[mine] = clock.nanoseconds(packets.stamp[mine])
        simple = packets.kind == blocks.SIMPLE_PACKET
        if simple.any():
            time_ns[simple] = NO_TIME
        return time_ns

    def _options(
        self,
        value: bytes,
        row: int,
        big: bool,
        time_ns: int,
        interface: int,
        comments: list[tuple[int, str]],
        items: list[Item],
    ) -> int:
        """Read one packet's options; return its direction."""
        order = ">" if big else "<"
        direction = int(Direction.UNKNOWN)
        count = 0
        for count, (code, content) in enumerate(blocks.options(value, order), 1):  # noqa: B007
            if code == blocks.OPT_COMMENT:
                told = blocks.text(content)
                note = notes.from_comment(told)
                if note is None:
                    comments.append((row, told))
                else:
                    items.append(note)
            elif code == blocks.EPB_FLAGS and len(content) == 4:
                direction = int(_DIRECTION[struct.unpack(order + "I", content)[0] & 3])
            elif code == blocks.EPB_DROPCOUNT and len(content) == 8:
                dropped = struct.unpack(order + "Q", content)[0]
                if dropped:
                    items.append(
                        Note(time_ns, f"{dropped} packets were lost before this one", "gap", interface)
                    )
        if count == blocks.MAX_OPTIONS:
            items.append(Damage(self.position, f"{_MANY_OPTIONS} of a packet", 0))
        return direction

    # Damage

    def _is_damaged(self, data: U8, at: int) -> str | None:
        """Say why what stands at `at` cannot be a block; if it may be one, set what it needs to be whole."""
        self.need = LEAST_BLOCK
        if at + LEAST_BLOCK > len(data):
            return None
        size = number_at(data, at + 4, self._order)
        if size < LEAST_BLOCK or size % 4 or size > LONGEST_BLOCK_BYTES:
            return f"a block claims {size} bytes, which cannot be"
        if at + size > len(data):
            self.need = size
            return None
        return "a block's length is not the same before and behind it"

    def _search(self, data: U8, lost: _Lost, at: int, items: list[Item], *, final: bool) -> int:
        """Look for the next block behind damage; return where it begins, or up to where there is surely none."""
        found, at = find_pcapng_block(data, at, self._order, final=final)
        if not found and not final:
            self.need = len(data) - at + 1
            return at
        if not found:
            at = len(data)
        items.append(Damage(lost.offset, lost.reason, self.position + at - lost.offset))
        self._lost = None
        return at
