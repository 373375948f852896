from hypothesis import given
from hypothesis import strategies as st

from qmon.tui.braille import bars


def test_heights_in_quarters_of_a_cell() -> None:
    assert bars([1, 2, 3, 4, 5, 6, 7, 8], cells=4, rows=2, peak=8) == ["  ⣠⣾", "⣠⣾⣿⣿"]


def test_hanging_bars_are_the_mirror_image() -> None:
    assert bars([1, 2, 3, 4, 5, 6, 7, 8], cells=4, rows=2, peak=8, hanging=True) == ["⠙⢿⣿⣿", "  ⠙⢿"]


def test_a_little_traffic_is_seen_beside_a_lot() -> None:
    assert bars([1, 1_000_000], cells=1, rows=1, peak=1_000_000) == ["⣸"]


def test_too_few_values_stand_at_the_right() -> None:
    assert bars([4], cells=3, rows=1, peak=4) == ["  ⢸"]


@given(
    st.lists(st.floats(0, 1e12), max_size=300),
    st.integers(1, 80),
    st.integers(1, 8),
    st.booleans(),
)
def test_always_the_size_that_was_asked_for(
    values: list[float], cells: int, rows: int, hanging: bool
) -> None:
    lines = bars(values, cells=cells, rows=rows, peak=max(values, default=0), hanging=hanging)
    assert [len(line) for line in lines] == [cells] * rows
