"""Whole batches as lines and records: what is said of each packet alone."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from qmon.packets.batch import NO_TIME, Direction, FrameBatch, Interface
from qmon.packets.files.source import CaptureFile
from qmon.packets.line_batches import EachLine, Form, PlainLines, Records, text_form
from qmon.packets.line_text import LineText, Style
from qmon.packets.lines import Line, decimal_time, lines_of
from qmon.packets.link_header import link_header
from qmon.packets.summary import summarise
from tests.packets.frames import frame
from tests.packets.traffic import damaged, frames

INTERFACES = [
    Interface("u1"),
    Interface("a\tb", 113),
    Interface("", 101),
    Interface("t0", 276),
    Interface("x", 777),
]


def _records() -> Records:
    return Records('{"schema_version":1,', json.dumps, absolute=True)


def _record(line: Line) -> dict[str, object]:
    summary = summarise(line.frame, line.link_type, length=line.length)
    header = link_header(line.frame, line.link_type)
    source_port, destination_port = summary.ports or (None, None)
    return {
        "schema_version": 1,
        "seq": line.seq,
        "time": None if line.time_ns == NO_TIME else decimal_time(line.time_ns, 9),
        "netdev": line.netdev,
        "direction": {Direction.IN: "in", Direction.OUT: "out"}.get(line.direction),
        "source": summary.source,
        "source_port": source_port,
        "destination": summary.destination,
        "destination_port": destination_port,
        "protocol": summary.protocol,
        "length": line.length,
        "source_mac": header.source,
        "destination_mac": header.destination,
        "vlan": header.vlans,
        "info": summary.info,
    }


def _expect(batch: FrameBatch, interfaces: list[Interface], text: Form, records: Form) -> None:
    numbers = range(5, 5 + len(batch))
    lines = list(lines_of(batch, interfaces, numbers))
    assert text(batch, interfaces, numbers) == [LineText()(line) for line in lines]
    wanted = [json.dumps(_record(line), separators=(",", ":")) for line in lines]
    assert records(batch, interfaces, numbers) == wanted


def test_fixtures(fixture_capture: Path) -> None:
    text, records = PlainLines(absolute=True), _records()
    with CaptureFile(fixture_capture) as capture:
        while (batch := capture.read_batch()) is not None:
            _expect(batch, capture.interfaces, text, records)


@pytest.mark.parametrize("epoch", [0, 1_714_557_600_123_456_789, -5_000_000_001])
def test_protocols_damage_links_and_times(epoch: int) -> None:
    rng = random.Random(epoch)
    # Each is worded as if alone; what a banner says of later packets is for the tests of conversations.
    everything = [*(one for name, one in frames().items() if name != "ssh banner"), *damaged()]
    which = [0] * len(everything) + [rng.randrange(len(INTERFACES)) for _ in range(2000)]
    everything += [frame(rng, INTERFACES[one].link_type) for one in which[len(everything) :]]
    batch = FrameBatch.from_frames(
        everything,
        time_ns=[epoch + rng.randrange(10**10) for _ in everything],
        length=[len(one) + rng.choice((0, 0, 1500)) for one in everything],
        interface=which,
        direction=[rng.randrange(3) for _ in everything],
    )
    _expect(batch, INTERFACES, PlainLines(absolute=True), _records())


def test_no_time() -> None:
    batch = FrameBatch.from_frames([b"x", b"y"], time_ns=[NO_TIME, 5])
    _expect(batch, [Interface()], PlainLines(absolute=True), _records())


def test_nothing() -> None:
    assert PlainLines(absolute=True)(FrameBatch.empty(), [Interface()], []) == []
    assert _records()(FrameBatch.empty(), [Interface()], []) == []


def test_forgotten_headers_are_worded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qmon.packets.line_batches._MOST_HEADERS", 1)
    batch, records = FrameBatch.from_frames(list(frames().values())), _records()
    first = records(batch, [Interface()], range(len(batch)))
    assert records(batch, [Interface()], range(len(batch))) == first


def test_other_styles_go_line_by_line() -> None:
    assert isinstance(text_form(Style()), PlainLines)
    assert isinstance(text_form(Style(link=True)), EachLine)
