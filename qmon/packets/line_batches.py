"""Whole batches as lines: the usual one for people and the record for programs, a format each.

What stands in every line of a conversation, a second, a netdev or a link-layer header is worded once. Other styles of
text go line by line (`EachLine`). Must never print: texts come out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from json.encoder import encode_basestring_ascii
from typing import Protocol

import numpy as np

from qmon.packets.analysis.segments import TcpColumns, TcpTracker
from qmon.packets.batch import ETHERNET, NO_TIME, Direction, FrameBatch, Interface
from qmon.packets.copying import clipped_items_at
from qmon.packets.line_text import DIRECTION_TEXT, UNTIMED, LineText, Style
from qmon.packets.lines import DIRECTION_NAME, Line, decimal_time, lines_of
from qmon.packets.link_header import TAGS, link_header
from qmon.packets.summary.batches import Summariser
from qmon.text import clock, plain

_THOUSAND = tuple(f"{number:03}" for number in range(1000))
_ETHERNET_BYTES = 14
_MOST_HEADERS = 50_000

Ports = tuple[int, int] | None


class Form(Protocol):
    """How packets are printed: called with batch after batch of one source."""

    def __call__(
        self,
        batch: FrameBatch,
        interfaces: Sequence[Interface],
        numbers: Iterable[int],
        tcp: TcpColumns | None = None,
    ) -> list[str]:
        """Return a text for each packet, without line ends; `numbers` are the packets', from 1.

        `tcp` is what is known of their segments, where not all of the source's packets are printed.
        """


def text_form(style: Style) -> Form:
    """Return how lines for people are printed in a style."""
    if style == Style(absolute=style.absolute):
        return PlainLines(absolute=style.absolute)
    return EachLine(LineText(style), absolute=style.absolute)


class EachLine:
    """Words packets one by one."""

    def __init__(self, show: Callable[[Line], str], *, absolute: bool = False) -> None:
        self._show = show
        self._tracker = None if absolute else TcpTracker()

    def __call__(
        self,
        batch: FrameBatch,
        interfaces: Sequence[Interface],
        numbers: Iterable[int],
        tcp: TcpColumns | None = None,
    ) -> list[str]:
        """See `Form`."""
        if self._tracker is None:
            tcp = None
        elif tcp is None:
            tcp = self._tracker.of(batch, interfaces)
        return [self._show(line) for line in lines_of(batch, interfaces, numbers, tcp)]


class PlainLines:
    """What `LineText` makes in the usual style."""

    def __init__(self, *, absolute: bool = False) -> None:
        self._summariser = Summariser(_ends_text, absolute=absolute)

    def __call__(
        self,
        batch: FrameBatch,
        interfaces: Sequence[Interface],
        numbers: Iterable[int],  # noqa: ARG002
        tcp: TcpColumns | None = None,
    ) -> list[str]:
        """See `Form`."""
        said = self._summariser.of(batch, interfaces, tcp)
        places = _places(batch, interfaces, _place_text)
        return [
            f"{time} {place}{ends} {protocol} length {size}: {info}"
            if info
            else f"{time} {place}{ends} {protocol} length {size}"
            for time, place, ends, protocol, size, info in zip(
                _clock_times(batch),
                places,
                said.ends,
                said.protocol,
                said.payload_bytes,
                said.info,
                strict=True,
            )
        ]


class Records:
    """JSON objects. `begin` is what each begins with, `encode` writes any text as one of JSON's.

    `time` is a decimal string of seconds with nine digits, null where the capture has none. Ports and `source_mac`,
    `destination_mac` are null where the packet has none; `vlan` holds the ids of its tags, outermost first.
    """

    def __init__(self, begin: str, encode: Callable[[str], str], *, absolute: bool = False) -> None:
        self._begin = begin
        self._encode = encode
        self._summariser = Summariser(_ends_record, absolute=absolute)
        self._headers: dict[bytes, str] = {}

    def __call__(
        self,
        batch: FrameBatch,
        interfaces: Sequence[Interface],
        numbers: Iterable[int],
        tcp: TcpColumns | None = None,
    ) -> list[str]:
        """See `Form`."""
        said = self._summariser.of(batch, interfaces, tcp)
        times = _decimal_times(batch)
        places = _places(batch, interfaces, self._place_record)
        columns = zip(
            numbers,
            times,
            places,
            said.ends,
            map(encode_basestring_ascii, said.protocol),
            batch.length.tolist(),
            self._link_headers(batch, interfaces),
            map(encode_basestring_ascii, said.info),
            strict=True,
        )
        begin = self._begin
        return [
            f'{begin}"seq":{number},"time":{time},{place},{ends},"protocol":{protocol},"length":{length},{link},"info":{info}}}'
            for number, time, place, ends, protocol, length, link, info in columns
        ]

    def _place_record(self, name: str, direction: Direction) -> str:
        netdev = self._encode(name) if name else "null"
        way = DIRECTION_NAME[direction]
        return f'"netdev":{netdev},"direction":{_text_or_null(way)}'

    def _link_headers(self, batch: FrameBatch, interfaces: Sequence[Interface]) -> list[str]:
        """Word each frame's addresses and tags: of Ethernet without tags, once for each header there is."""
        if len(self._headers) > _MOST_HEADERS:
            self._headers.clear()
        known = self._headers
        heads = clipped_items_at(batch.data, _ETHERNET_BYTES, batch.offset)
        ethernet = np.array([one.link_type == ETHERNET for one in interfaces], np.bool_).take(batch.interface)
        kinds = heads.reshape(-1, _ETHERNET_BYTES)[:, 12:].copy().view(">u2")[:, 0]
        alike = ethernet & (batch.captured >= _ETHERNET_BYTES) & ~np.isin(kinds, tuple(TAGS))
        keys: list[bytes] = heads.view(f"V{_ETHERNET_BYTES}").tolist()
        result = []
        for row, (key, same) in enumerate(zip(keys, alike.tolist(), strict=True)):
            worded = known.get(key) if same else None
            if worded is None:
                link_type = interfaces[int(batch.interface[row])].link_type
                header = link_header(batch.frame(row), link_type)
                worded = (
                    f'"source_mac":{_text_or_null(header.source)},'
                    f'"destination_mac":{_text_or_null(header.destination)},'
                    f'"vlan":[{",".join(map(str, header.vlans))}]'
                )
                if same:
                    known[key] = worded
            result.append(worded)
        return result


def _ends_text(source: str, destination: str, ports: Ports) -> str:  # noqa: ARG001
    return f"{source} > {destination}" if source or destination else "-"


def _ends_record(source: str, destination: str, ports: Ports) -> str:
    here, there = ("null", "null") if ports is None else ports
    source, destination = encode_basestring_ascii(source), encode_basestring_ascii(destination)
    return f'"source":{source},"source_port":{here},"destination":{destination},"destination_port":{there}'


def _text_or_null(text: str | None) -> str:
    return "null" if text is None else encode_basestring_ascii(text)


def _place_text(name: str, direction: Direction) -> str:
    if name:
        return f"{plain(name)} {DIRECTION_TEXT[direction]} "
    return "" if direction is Direction.UNKNOWN else f"{DIRECTION_TEXT[direction]} "


def _places(
    batch: FrameBatch, interfaces: Sequence[Interface], show: Callable[[str, Direction], str]
) -> list[str]:
    """Word where each frame passed, once for each netdev and way."""
    ways = len(Direction)
    which = (batch.interface.astype(np.int64) * ways + batch.direction).tolist()
    shown = {one: show(interfaces[one // ways].name, Direction(one % ways)) for one in set(which)}
    return [shown[one] for one in which]


def _parts_of_time(batch: FrameBatch) -> tuple[list[int], list[int], list[int], list[int]]:
    """Return seconds since 1970, rounded down, and the milli-, micro- and nanoseconds beyond."""
    second = batch.time_ns // 10**9
    rest = batch.time_ns - second * 10**9
    return second.tolist(), (rest // 10**6).tolist(), (rest // 1000 % 1000).tolist(), (rest % 1000).tolist()


def _clock_times(batch: FrameBatch) -> list[str]:
    if (batch.time_ns == NO_TIME).any():
        return [UNTIMED if one == NO_TIME else clock(one) for one in batch.time_ns.tolist()]
    second, milli, micro, _ = _parts_of_time(batch)
    seconds = {one: clock(one * 10**9)[:-6] for one in set(second)}
    parts = zip(second, milli, micro, strict=True)
    return [f"{seconds[one]}{_THOUSAND[ms]}{_THOUSAND[us]}" for one, ms, us in parts]


def _decimal_times(batch: FrameBatch) -> list[str]:
    """Return the times as JSON has them."""
    if len(batch) and int(batch.time_ns.min()) < 0:
        return ["null" if one == NO_TIME else f'"{decimal_time(one, 9)}"' for one in batch.time_ns.tolist()]
    parts = zip(*_parts_of_time(batch), strict=True)
    return [f'"{second}.{_THOUSAND[ms]}{_THOUSAND[us]}{_THOUSAND[ns]}"' for second, ms, us, ns in parts]
