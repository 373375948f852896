"""A whole batch is worded as its frames are one by one."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from qmon.packets.batch import FrameBatch, Interface
from qmon.packets.files.source import CaptureFile
from qmon.packets.summary import summarise
from qmon.packets.summary.batches import Summariser
from tests.packets.frames import frame
from tests.packets.traffic import damaged, frames

FIXTURES = sorted((Path(__file__).parents[3] / "fixtures").glob("*/captures/*.pcap"))
LINK_TYPES = (1, 113, 276, 0, 108, 101, 12, 228, 229, 9, 50, 104, 105, 252, 147)

Rows = list[tuple[str, str, int, str]]


def _ends(source: str, destination: str, ports: tuple[int, int] | None) -> str:
    return f"{source}|{destination}|{ports}"


def _one_by_one(batch: FrameBatch, interfaces: list[Interface]) -> Rows:
    rows = []
    for i in range(len(batch)):
        link_type = interfaces[int(batch.interface[i])].link_type
        one = summarise(batch.frame(i), link_type, length=int(batch.length[i]))
        ends = _ends(one.source, one.destination, one.ports)
        rows.append((ends, one.protocol, one.payload_bytes, one.info))
    return rows


def _together(summariser: Summariser, batch: FrameBatch, interfaces: list[Interface]) -> Rows:
    worded = summariser.of(batch, interfaces)
    return list(zip(worded.ends, worded.protocol, worded.payload_bytes, worded.info, strict=True))


def _without_talk(rows: Rows) -> Rows:
    """Leave out what only the conversation tells: which version of SSH is encrypted."""
    return [(ends, protocol.replace("SSHv2", "SSH"), size, info) for ends, protocol, size, info in rows]


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: f"{path.parts[-3]}-{path.stem}")
def test_fixtures(path: Path) -> None:
    summariser = Summariser(_ends, absolute=True)
    with CaptureFile(path, virtio_header=None) as capture:
        while (batch := capture.read_batch()) is not None:
            assert _together(summariser, batch, capture.interfaces) == _one_by_one(batch, capture.interfaces)


def test_protocols_whole_and_cut() -> None:
    rng = random.Random(1)
    sound = list(frames().values())
    cut = [one[: rng.randrange(len(one) + 1)] for one in sound for _ in range(20)]
    everything = sound + cut + list(damaged())
    lengths = [len(one) + rng.choice((0, 0, 7, 2000)) for one in everything]
    batch = FrameBatch.from_frames(everything, length=lengths)
    ethernet = [Interface()]
    together = _together(Summariser(_ends, absolute=True), batch, ethernet)
    assert _without_talk(together) == _without_talk(_one_by_one(batch, ethernet))


def test_odd_frames_of_every_link_type() -> None:
    rng = random.Random(2)
    interfaces = [Interface(link_type=one) for one in LINK_TYPES]
    which = [rng.randrange(len(LINK_TYPES)) for _ in range(6000)]
    batch = FrameBatch.from_frames([frame(rng, LINK_TYPES[one]) for one in which], interface=which)
    assert _together(Summariser(_ends, absolute=True), batch, interfaces) == _one_by_one(batch, interfaces)


def test_forgotten_conversations_are_worded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qmon.packets.summary.batches._MOST_TEXTS", 3)
    summariser, ethernet = Summariser(_ends, absolute=True), [Interface()]
    batch = FrameBatch.from_frames(list(frames().values()))
    first = _together(summariser, batch, ethernet)
    assert _together(summariser, batch, ethernet) == first
