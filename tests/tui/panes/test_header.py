import pytest

from qmon.tui.panes.header import amount


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (1234, "1.23 kB"),
        (999_400, "999 kB"),
        (999_600, "1 MB"),
        (12_345_678, "12.3 MB"),
        (5_000_000_000_000, "5 TB"),
    ],
)
def test_amounts(count: int, said: str) -> None:
    assert amount(count) == said
