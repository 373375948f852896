"""What dashboard tests have in common: the same time of day everywhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from qmon.packets.batch import Interface
from qmon.packets.files.pcap import PcapWriter
from tests.tui.frames import batch, demo_traffic


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def capture_file(tmp_path: Path) -> Path:
    """The demo's traffic as a classic pcap file."""
    path = tmp_path / "trace.pcap"
    writer = PcapWriter(Interface("u1"))
    path.write_bytes(writer.header() + writer.encode(batch(demo_traffic())))
    return path
