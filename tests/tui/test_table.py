from hypothesis import given
from hypothesis import strategies as st

from qmon.tui.table import Column, widths


def test_what_is_left_goes_to_the_columns_that_share() -> None:
    columns = (Column("a", 10), Column("b", 10, share=1), Column("c", 10, share=3))
    assert widths(columns, 74) == [10, 20, 40]


def test_a_column_is_left_out_of_a_list_too_narrow_for_it() -> None:
    assert widths((Column("a", 10), Column("b", 10, need=50)), 40) == [10, 0]


@given(st.lists(st.integers(1, 30), min_size=1, max_size=8), st.integers(1, 300))
def test_no_column_shrinks(sizes: list[int], width: int) -> None:
    found = widths([Column("x", size, share=1) for size in sizes], width)
    assert all(now >= before for now, before in zip(found, sizes, strict=True))
