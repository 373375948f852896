from hypothesis import given
from hypothesis import strategies as st

from qmon.tui.columns import lay_out


@given(
    width=st.integers(40, 400),
    last=st.integers(0, 10**8),
    netdev=st.integers(0, 60),
    address=st.integers(7, 45),
)
def test_columns_fill_the_width_exactly(width: int, last: int, netdev: int, address: int) -> None:
    c = lay_out(width, last_number=last, netdev=netdev, address=address)
    sizes = (c.number, c.time, c.netdev, c.direction, c.address, c.address, c.protocol, c.length)
    assert all(size >= 0 for size in sizes)
    used = 1 + sum(size + 1 for size in sizes if size) + c.info
    assert used == width or c.info == 0


@given(netdev=st.integers(0, 12), address=st.integers(7, 39))
def test_a_wider_list_never_shows_much_less_of_info(netdev: int, address: int) -> None:
    most = 0
    for width in range(60, 250):
        info = lay_out(width, last_number=5000, netdev=netdev, address=address).info
        # A whole column that comes in takes at once what it needs.
        assert info >= most - 13
        most = max(most, info)


def test_a_list_of_120_columns_shows_a_sentence_of_info() -> None:
    assert lay_out(119, last_number=5000, netdev=2, address=15).info >= 40
    assert lay_out(119, last_number=5000, netdev=2, address=39).info >= 30


def test_a_small_terminal_keeps_room_for_info() -> None:
    c = lay_out(79, last_number=12345, netdev=2, address=15)
    assert (c.time, c.netdev, c.length) == (12, 3, 0)
    assert c.info >= 18


def test_a_large_terminal_shows_microseconds_and_whole_ipv6_addresses() -> None:
    c = lay_out(159, last_number=1_000_000, netdev=2, address=25)
    assert (c.time, c.length, c.address) == (15, 5, 25)
    assert c.info >= 40
