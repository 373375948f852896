"""Captures that the three QEMUs of the lab made, as recorded in fixtures/."""

from pathlib import Path

import pytest

FIXTURE_CAPTURES = sorted((Path(__file__).parents[2] / "fixtures").glob("*/captures/*.pcap"))


@pytest.fixture(params=FIXTURE_CAPTURES, ids=lambda path: f"{path.parts[-3]}-{path.stem}")
def fixture_capture(request: pytest.FixtureRequest) -> Path:
    """Each recorded capture in turn."""
    path: Path = request.param
    return path
