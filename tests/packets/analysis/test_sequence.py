"""TCP's numbers are Wireshark's: compared with tshark on recorded and on made-up conversations."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether

from qmon.packets.analysis.segments import TcpTracker
from qmon.packets.batch import FrameBatch, Interface
from qmon.packets.field_lines import FieldLines
from qmon.packets.files.source import CaptureFile
from qmon.packets.filters.display.selector import TOLD, DisplayFilter
from qmon.packets.line_batches import PlainLines, text_form
from qmon.packets.line_text import Style
from tests.packets.traffic import frames, write_pcap

NAMES = sorted(TOLD)
WITH_SCALE, WITHOUT = [("MSS", 1460), ("WScale", 7)], [("MSS", 1460)]


def tshark(path: Path) -> list[str]:
    command = ["tshark", "-n", "-r", str(path), "-T", "fields", "-E", "aggregator=,"]
    command += [word for name in NAMES for word in ("-e", name)]
    told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return told.stdout.splitlines()


def ours(path: Path) -> list[str]:
    form, lines = FieldLines(NAMES), list[str]()
    with CaptureFile(path) as file:
        while (batch := file.read_batch()) is not None:
            lines += form(batch, file.interfaces, range(len(lines) + 1, len(lines) + 1 + len(batch)))
    return lines


def segment(*, out: bool, flags: str, seq: int, ack: int = 0, size: int = 0, options: object = ()) -> bytes:
    ends = ("10.0.2.15", "10.0.2.2") if out else ("10.0.2.2", "10.0.2.15")
    ports = (40000, 80) if out else (80, 40000)
    head = TCP(
        sport=ports[0],
        dport=ports[1],
        flags=flags,
        seq=seq % 2**32,
        ack=ack % 2**32,
        window=500,
        options=list(options),
    )  # type: ignore[call-overload]
    return bytes(Ether() / IP(src=ends[0], dst=ends[1]) / head / (b"x" * size))


def handshake(first: int, second: int, mine: object = (), theirs: object = ()) -> list[bytes]:
    return [
        segment(out=True, flags="S", seq=first, options=mine),
        segment(out=False, flags="SA", seq=second, ack=first + 1, options=theirs),
        segment(out=True, flags="A", seq=first + 1, ack=second + 1),
        segment(out=True, flags="PA", seq=first + 1, ack=second + 1, size=100),
        segment(out=False, flags="PA", seq=second + 1, ack=first + 101, size=10),
        segment(out=False, flags="FA", seq=second + 11, ack=first + 101),
        segment(out=True, flags="R", seq=first + 101),
    ]


CONVERSATIONS = {
    "whole": handshake(1000, 2000),
    "scaled": handshake(1000, 2000, WITH_SCALE, WITH_SCALE),
    "scaled on one side": handshake(1000, 2000, WITH_SCALE, WITHOUT),
    "from the middle": handshake(1000, 2000)[3:],
    "numbers that wrap": handshake(0xFFFF_FFF0, 0xFFFF_FFFF - 5),
    "ports used again": handshake(1000, 2000) + handshake(90_000, 5000),
    "a SYN again": handshake(1000, 2000)[:1] * 3 + handshake(1000, 2000)[1:],
    "the answer first": handshake(1000, 2000)[1:],
    "used again after the middle": handshake(1000, 2000)[3:] + handshake(77, 88),
}


@pytest.mark.parametrize("kind", CONVERSATIONS)
def test_conversations_as_in_tshark(tmp_path: Path, kind: str) -> None:
    path = write_pcap(tmp_path / "one.pcap", CONVERSATIONS[kind])
    assert ours(path) == tshark(path)


@pytest.mark.parametrize("at", range(1, 14))
def test_where_a_batch_ends_does_not_matter(at: int) -> None:
    everything = CONVERSATIONS["ports used again"] + CONVERSATIONS["scaled"]
    whole = FrameBatch.from_frames(everything)
    expected = TcpTracker().of(whole, [Interface()])
    tracker = TcpTracker()
    parts = [tracker.of(whole.select(slice(*part)), [Interface()]) for part in ((0, at), (at, None))]
    together = [fields for part in parts for fields in map(part.fields, range(len(part.known)))]
    assert together == [expected.fields(row) for row in range(len(whole))]


def test_fixtures_as_in_tshark(fixture_capture: Path) -> None:
    if "tap" in fixture_capture.stem and "7.2" in str(fixture_capture):
        return  # Its frames have a virtio-net header, which tshark does not know.
    assert ours(fixture_capture) == tshark(fixture_capture)


def test_filters_ask_for_them() -> None:
    batch = FrameBatch.from_frames([*CONVERSATIONS["ports used again"], frames()["arp who-has"]])
    for expression, wanted in {
        "tcp.seq == 0": [0, 1, 7, 8],
        "tcp.stream == 1 && tcp.len > 0": [10, 11],
        "tcp.nxtseq == 101": [3, 6, 10, 13],
        "tcp.ack == 101 && tcp.flags.fin == 1": [5, 12],
    }.items():
        mask = DisplayFilter(expression).mask(batch, [Interface()])
        assert mask.nonzero()[0].tolist() == wanted, expression


def test_lines_count_from_the_begin_unless_told() -> None:
    batch = FrameBatch.from_frames(CONVERSATIONS["scaled"])
    numbers = range(1, 1 + len(batch))
    relative = PlainLines()(batch, [Interface()], numbers)
    assert "[PSH, ACK] Seq=1 Ack=1 Win=64000 Len=100" in relative[3]
    absolute = text_form(Style(absolute=True))(batch, [Interface()], numbers)
    assert "[PSH, ACK] Seq=1001 Ack=2001 Win=500 Len=100" in absolute[3]
    with_link = text_form(Style(link=True))(batch, [Interface()], numbers)
    assert "Seq=1 Ack=1 Win=64000 Len=100" in with_link[3]
