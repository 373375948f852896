import click
import pytest

from qmon.cli.limit import size_of


@pytest.mark.parametrize(
    ("text", "size"),
    [("64MB", 64_000_000), ("1GiB", 1 << 30), ("1.5 GB", 1_500_000_000), ("2000kB", 2_000_000)],
)
def test_a_size_has_a_unit(text: str, size: int) -> None:
    assert size_of(text) == size


@pytest.mark.parametrize("text", ["", "64", "64M", "-1GB", "nanMB", "1e9GB", "10kB", "64MBx", "9999999999GB"])
def test_what_is_no_size_or_too_little_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        size_of(text)
