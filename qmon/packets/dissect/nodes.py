"""From scapy's packet and the recorded bits to the tree.

Every range is checked against the frame's own bytes before it is believed: scapy may have changed, reassembled or
decompressed what it dissected. What cannot be placed has no range; it is still shown. Ranges nest, siblings never
overlap: `_Placer` hands out places in ascending order within the parent's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from qmon.packets.dissect import checksums, labels, options, values
from qmon.packets.dissect.loading import Library
from qmon.packets.dissect.recording import Record, Recording, Span
from qmon.packets.tree import Node
from qmon.text import plain

# Deeper packets within packets than anything sensible has; their bytes are shown as data.
MAX_DEPTH = 40
MAX_NODES = 3000


def root(data: bytes, captured: int, packet: Any, recording: Recording, library: Library) -> Node:
    """Return the tree of a frame whose first bytes are `data`; it covers all `captured` bytes."""
    builder = _Builder(data, recording, library)
    layers = builder.layers(packet, 0, len(data), 0)
    at = max((layer.stop for layer in layers if layer.stop is not None), default=0)
    if at < captured:
        note = "" if captured == len(data) else f"{captured - at} bytes, not dissected"
        layers.append(Node("Data", note or f"{captured - at} bytes", at, captured))
    return Node("Frame", f"{captured} bytes", 0, captured, tuple(layers))


class _Builder:
    def __init__(self, data: bytes, recording: Recording, library: Library) -> None:
        self._data = data
        self._recording = recording
        self._library = library
        self._made = 0

    def layers(self, packet: Any, start: int | None, stop: int, depth: int) -> list[Node]:
        """Return a packet and its payloads, as siblings, within `start` to `stop`."""
        found: list[Node] = []
        chain = list(_chain(packet))
        stop -= sum(len(one.load) for one in chain if isinstance(one, self._library.padding))
        for one in chain:
            if self._made > MAX_NODES:
                break
            record = self._recording.of(one)
            if record is None:
                continue
            if isinstance(one, self._library.padding):
                stop += len(one.load)
            else:
                _give_back(record, self._recording.of(one.payload))
            start = self._place(record, start, stop)
            size = record.size
            node, text = self._layer(one, record, start, depth), None
            if isinstance(one, self._library.raw):
                text = options.text_lines(self._data, start, None if start is None else start + size)
            found.append(text or node)
            start = None if start is None else start + size
        return found

    def _place(self, record: Record, start: int | None, stop: int) -> int | None:
        """Return where a packet's bytes are, if they are where they should be."""
        return start if start is not None and self._is_at(record, start, stop) else None

    def _is_at(self, record: Record, start: int, stop: int) -> bool:
        size = record.size
        return start + size <= stop and self._data[start : start + size] == record.raw[:size]

    def _layer(self, packet: Any, record: Record, start: int | None, depth: int) -> Node:
        self._made += 1
        children = self._fields(record, start, depth) if depth < MAX_DEPTH else ()
        stop = None if start is None else start + record.size
        if start == stop:
            start = stop = None
        title, value = labels.layer(packet), values.layer(packet)
        if isinstance(packet, (self._library.raw, self._library.padding)):
            title = "Padding" if isinstance(packet, self._library.padding) else "Data"
            return Node(title, f"{record.size} bytes", start, stop)
        return Node(plain(title), plain(value), start, stop, children)

    def _fields(self, record: Record, start: int | None, depth: int) -> tuple[Node, ...]:
        spans = record.spans
        if not _ascending(spans, len(record.raw) * 8):
            start = None
        nodes: list[Node] = []
        for group in _groups(spans):
            self._made += len(group)
            if self._made > MAX_NODES:
                break
            first, last = group[0].start_bit, group[-1].stop_bit
            begin = end = None
            if start is not None and first != last:
                begin, end = start + first // 8, start + (last + 7) // 8
            if len(group) == 1:
                node = self._field(record, group[0], begin, end, depth)
                if node.children or node.value or node.start is not None:
                    nodes.append(node)
            else:
                nodes.append(_bit_group(record, group, begin, end))
        return tuple(nodes)

    def _field(self, record: Record, span: Span, start: int | None, stop: int | None, depth: int) -> Node:
        packet = record.packet
        label = plain(labels.field(packet, span.field))
        parts = _packets(span.value)
        if parts and depth < MAX_DEPTH:
            children = tuple(self._parts(parts, span, start, stop or 0, depth + 1))
            value = f"{len(parts)} items" if isinstance(span.value, list) else ""
            return Node(label, value if len(parts) > 1 else "", start, stop, children)
        value = values.field(packet, span.field, span.value)
        if start is not None and stop is not None:
            children = options.of(packet, span.field, span.value, self._data, start, stop)
            self._made += len(children)
            value += checksums.verdict(record, span.field.name)
            return Node(label, "" if children else plain(value), start, stop, children)
        return Node(label, plain(value))

    def _parts(
        self, parts: Sequence[Any], span: Span, start: int | None, stop: int, depth: int
    ) -> Iterator[Node]:
        """The packets in a field, one after the other."""
        waiting = list(span.parts)
        reached, first = start, None
        for part in parts:
            if self._made > MAX_NODES:
                return
            record = self._recording.of(part) or _claim(waiting, part)
            begin = None
            if record is not None and start is not None and reached is not None:
                first = record if first is None else first
                # Each begins where the one before it ended, or was given all bytes from its begin on.
                suffix = start + len(first.raw) - len(record.raw)
                begin = next(
                    (at for at in (reached, suffix) if reached <= at and self._is_at(record, at, stop)), None
                )
            layers = self.layers(part if record is None else record.packet, begin, stop, depth)
            yield from layers
            reached = max((n.stop for n in layers if n.stop is not None), default=reached)


def _claim(waiting: list[Record], part: Any) -> Record | None:
    """Find the record of a packet that scapy copied after it was dissected: the next one of its kind."""
    for place, record in enumerate(waiting):
        if type(record.packet) is type(part):
            del waiting[: place + 1]
            return record
    return None


def _give_back(record: Record, following: Record | None) -> None:
    """Take from a packet's last field what it handed on to its payload after all (as BOOTP does with its options)."""
    if following is None or not following.raw or not record.raw.endswith(following.raw):
        return
    end = (len(record.raw) - len(following.raw)) * 8
    for span in record.spans:
        if span.stop_bit > end:
            span.start_bit, span.stop_bit = min(span.start_bit, end), end
            if isinstance(span.value, bytes):
                span.value = record.raw[span.start_bit // 8 : end // 8]


def _chain(packet: Any) -> Iterator[Any]:
    for _ in range(200):
        if packet is None or type(packet).__name__ == "NoPayload":
            return
        yield packet
        packet = packet.payload


def _packets(value: Any) -> list[Any]:
    """Return the packets that a field's value consists of, if it does."""
    items = value if isinstance(value, list) else [value]
    return items if items and all(hasattr(item, "fields_desc") for item in items) else []


def _ascending(spans: Sequence[Span], bits: int) -> bool:
    at = 0
    for span in spans:
        if span.start_bit < at or span.stop_bit < span.start_bit:
            return False
        at = span.stop_bit
    return at <= bits


def _groups(spans: Sequence[Span]) -> Iterator[list[Span]]:
    """Join fields that share bytes: a group begins and ends where a byte does."""
    group: list[Span] = []
    for span in spans:
        group.append(span)
        if span.stop_bit % 8 == 0:
            yield group
            group = []
    if group:
        yield group


def _bit_group(record: Record, group: Sequence[Span], start: int | None, stop: int | None) -> Node:
    packet = record.packet
    children = tuple(
        Node(plain(labels.field(packet, span.field)), plain(values.field(packet, span.field, span.value)))
        for span in group
    )
    title, main = labels.group(packet, [span.field for span in group])
    if main is not None:
        return Node(plain(title), children[main].value, start, stop, children)
    raw = record.raw[group[0].start_bit // 8 : group[-1].stop_bit // 8]
    return Node(plain(title), f"0x{raw.hex()}", start, stop, children)
