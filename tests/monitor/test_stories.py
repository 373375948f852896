"""qmon says to the recorded QEMUs what it said when they were recorded, and understands the answers."""

from pathlib import Path

import pytest

from qmon.monitor.session import Session
from tests.fakes.checking import FIXTURES, recorded_versions
from tests.fakes.monitor import FakeMonitor, Split
from tests.lab.conversations import STORIES

RECORDED = sorted(FIXTURES.glob("*/monitor/*.jsonl"))


def test_every_story_is_recorded_from_every_version() -> None:
    assert len(recorded_versions()) >= 3
    assert {(path.parts[-3], path.stem) for path in RECORDED} == {
        (version, name) for version in recorded_versions() for name in STORIES
    }


@pytest.mark.parametrize("pieces", [None, 1, 7])
@pytest.mark.parametrize("path", RECORDED, ids=lambda path: f"{path.parts[-3]}-{path.stem}")
async def test_story(fake_monitor: FakeMonitor, path: Path, pieces: int | None) -> None:
    if pieces:
        fake_monitor.fault(Split(pieces))
    fake_monitor.version(path.parts[-3])
    fake_monitor.replay(path)
    async with await Session.attach(fake_monitor.address, share=False) as session:
        assert str(session.version) == path.parts[-3]
        await STORIES[path.stem](session)
