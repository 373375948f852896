import numpy as np

from qmon.packets.store.traffic import Traffic
from qmon.tui.panes.traffic import series


def _traffic(seconds: list[int], into: list[int], out: list[int], unknown: list[int]) -> Traffic:
    zeros = np.zeros(len(seconds), np.int64)
    columns = [np.array(column, np.int64) for column in (seconds, into, out, unknown)]
    return Traffic(columns[0], zeros, columns[1], zeros, columns[2], zeros, columns[3])


def test_seconds_without_packets_are_zeros() -> None:
    found = series("u1", _traffic([7, 9], [10, 20], [1, 2], [0, 5]), now_s=10, seconds=4)
    assert found.incoming == (0, 10, 0, 20)
    assert found.outgoing == (0, 1, 0, 7)
    assert found.peak == 20


def test_the_second_that_is_not_over_and_what_is_long_ago_are_left_out() -> None:
    found = series("u1", _traffic([1, 10, 99], [1, 2, 3], [0, 0, 0], [0, 0, 0]), now_s=10, seconds=3)
    assert found.peak == 0
