from hypothesis import given
from hypothesis import strategies as st

from qmon.capture.reading.clock import HOLD_NS, NS, Clock, Sighting, whole_seconds

TRUE = 1_700_000_000 * NS
MS = 1_000_000


def sighting(stamp: int, *, offset: int = TRUE, late: int = 200_000, early: int = 2 * MS) -> Sighting:
    return Sighting(stamp, stamp + offset + late, stamp + offset - early)


def test_the_constant_lies_near_the_shortest_delay() -> None:
    clock = Clock()
    for number in range(10):
        clock.sight(sighting(number * 20 * MS, late=(10 - number) * 100_000))
    assert clock.settle(TRUE + 9 * 20 * MS + HOLD_NS + MS)
    assert clock.current.offset is not None
    assert abs(clock.current.offset - TRUE) <= clock.current.bound
    assert abs(clock.current.offset - TRUE) < MS


@given(st.lists(st.tuples(st.integers(0, 5 * MS), st.integers(0, 10 * MS)), min_size=1, max_size=20))
def test_the_truth_lies_within_the_bound(delays: list[tuple[int, int]]) -> None:
    clock = Clock()
    for number, (late, early) in enumerate(delays):
        clock.sight(sighting(number * MS, late=late, early=early))
    clock.current.fix(10 * MS)
    assert clock.current.offset is not None
    assert abs(clock.current.offset - TRUE) <= clock.current.bound


def test_frames_that_lay_unread_are_dated_by_their_writing() -> None:
    clock = Clock(tick_ns=4 * MS)
    clock.sight(Sighting(0, TRUE + 10 * NS, None))
    clock.sight(Sighting(3 * NS, TRUE + 10 * NS, TRUE + 3 * NS - MS))
    assert clock.is_sure
    clock.settle(TRUE + 11 * NS)
    assert clock.current.offset is not None
    assert abs(clock.current.offset - TRUE) <= clock.current.bound == 2 * MS


def test_frames_are_held_for_at_most_the_limit() -> None:
    clock = Clock()
    assert not clock.settle(TRUE)
    clock.sight(Sighting(0, TRUE, None))
    assert not clock.settle(TRUE + HOLD_NS - 1)
    assert clock.settle(TRUE + HOLD_NS)


def test_a_fixed_constant_does_not_move() -> None:
    clock = Clock()
    clock.sight(sighting(0))
    clock.settle(TRUE + HOLD_NS + MS)
    before = clock.current.offset
    clock.sight(sighting(MS, late=1_000, early=1_000))
    assert clock.current.offset == before
    assert clock.number == 0


def test_a_frame_from_the_future_begins_an_epoch() -> None:
    clock = Clock()
    clock.sight(sighting(0))
    clock.settle(TRUE + HOLD_NS + MS)
    clock.sight(sighting(MS, offset=TRUE - NS))
    assert clock.number == 1


def test_one_late_write_is_forgiven_and_several_are_not() -> None:
    clock = Clock()
    clock.sight(sighting(0))
    clock.settle(TRUE + HOLD_NS + MS)
    clock.sight(sighting(MS, offset=TRUE + NS))
    assert clock.number == 0
    clock.sight(sighting(2 * MS))
    for number in range(3):
        clock.sight(sighting((3 + number) * MS, offset=TRUE + NS))
    assert clock.number == 1


def test_without_a_steady_clock_nothing_contradicts() -> None:
    clock = Clock(steady=False)
    clock.sight(sighting(0))
    clock.settle(TRUE + HOLD_NS + MS)
    for number in range(9):
        clock.sight(sighting(number * MS, offset=TRUE + NS))
    assert clock.number == 0


def test_the_epoch_before_is_believed_until_something_speaks_against_it() -> None:
    clock = Clock()
    clock.begin("reset", prior=TRUE, exact=True)
    clock.sight(sighting(0, late=3 * MS))
    clock.settle(TRUE + HOLD_NS + 4 * MS)
    assert clock.current.offset == TRUE
    clock.begin("reset", prior=TRUE, exact=True)
    clock.sight(sighting(MS, offset=TRUE + NS))
    clock.settle(TRUE + 2 * NS)
    assert clock.current.offset is not None
    assert abs(clock.current.offset - TRUE - NS) < MS


def test_an_epoch_without_a_sighting_goes_by_what_was_before() -> None:
    clock = Clock()
    clock.sight(sighting(0))
    clock.settle(TRUE + HOLD_NS + MS)
    clock.begin("resumed", prior=TRUE + 5 * NS)
    clock.notice(TRUE + 6 * NS)
    assert clock.settle(TRUE + 6 * NS + HOLD_NS)
    assert clock.current.offset == TRUE + 5 * NS


@given(st.integers(-100_000, 100_000), st.integers(-400 * MS, 400 * MS))
def test_filters_differ_by_whole_seconds(seconds: int, error: int) -> None:
    seen = Sighting(10 * NS - seconds * NS, TRUE + 10 * NS + error, None)
    assert whole_seconds(seen, TRUE) == seconds * NS


def test_an_epoch_does_not_begin_before_the_last_frame_of_the_one_before() -> None:
    clock = Clock()
    clock.sight(Sighting(0, TRUE + 4 * MS, TRUE + 4 * MS))
    clock.contains(0, 100 * MS)
    clock.begin("the VM was stopped and went on")
    clock.sight(Sighting(101 * MS, TRUE + 101 * MS + 200_000, TRUE + 101 * MS))
    clock.contains(101 * MS, 101 * MS)
    clock.end()
    before, after = clock.epochs
    assert before.end_ns is not None
    assert after.end_ns is not None
    assert after.end_ns >= before.end_ns


def test_times_go_back_where_the_hosts_clock_did() -> None:
    clock = Clock()
    clock.sight(sighting(0))
    clock.contains(0, 0)
    clock.begin("the host's clock was moved", prior=TRUE - 5 * NS, exact=True, follows=False)
    clock.contains(MS, MS)
    clock.end()
    assert clock.current.offset == TRUE - 5 * NS
