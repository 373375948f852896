from hypothesis import given
from hypothesis import strategies as st

from qmon.merge import Merger
from qmon.packets.batch import FrameBatch, Note


def batch(times: list[int], source: int = 0) -> FrameBatch:
    return FrameBatch.from_frames([b"x"] * len(times), time_ns=times, interface=source)


def times(items: list[FrameBatch | Note]) -> list[int]:
    found: list[int] = []
    for item in items:
        found += [item.time_ns] if isinstance(item, Note) else item.time_ns.tolist()
    return found


def test_one_source_passes_through_at_once() -> None:
    merger = Merger(1)
    merger.add(0, batch([5, 9]), (), complete_until=0)
    assert times(merger.take(0)) == [5, 9]


def test_two_sources_wait_for_each_other() -> None:
    merger = Merger(2, window_ns=1000)
    merger.add(0, batch([1, 5, 9]), (), complete_until=10)
    merger.add(1, None, (), complete_until=4)
    assert times(merger.take(10)) == [1]
    merger.add(1, batch([6], 1), (), complete_until=20)
    assert times(merger.take(20)) == [5, 6, 9]


def test_the_window_bounds_the_waiting() -> None:
    merger = Merger(2, window_ns=100)
    merger.add(0, batch([1, 5]), (), complete_until=10)
    assert times(merger.take(50)) == []
    assert times(merger.take(105)) == [1, 5]


def test_a_note_stands_before_the_first_later_frame() -> None:
    merger = Merger(1)
    merger.add(0, batch([1, 3, 5]), [Note(4, "stop")], complete_until=10)
    items = merger.take(10)
    assert [len(item) if isinstance(item, FrameBatch) else item.text for item in items] == [2, "stop", 1]


def test_a_note_waits_until_older_frames_are_there() -> None:
    merger = Merger(1)
    merger.add(0, None, [Note(400, "stop")], complete_until=100)
    assert merger.take(450) == []
    merger.add(0, batch([300]), (), complete_until=500)
    assert times(merger.take(600)) == [300, 400]


def test_a_lone_sources_frames_wait_behind_a_note_that_waits() -> None:
    merger = Merger(1)
    merger.add(0, batch([399, 401]), [Note(400, "stop")], complete_until=100)
    assert times(merger.take(450)) == [399]
    merger.add(0, batch([402]), (), complete_until=500)
    assert times(merger.take(600)) == [400, 401, 402]


def test_a_note_that_comes_late_takes_the_place_it_comes_at_and_tells_its_time() -> None:
    merger = Merger(1)
    merger.add(0, batch([1_000_000, 3_000_000]), (), complete_until=4_000_000)
    assert times(merger.take(4_000_000)) == [1_000_000, 3_000_000]
    merger.add(0, None, [Note(2_000_000, "stop", "event")], complete_until=5_000_000)
    (note,) = merger.take(5_000_000)
    assert isinstance(note, Note)
    assert (note.time_ns, note.kind) == (3_000_000, "event")
    assert note.text.startswith("stop (at ")
    assert note.text.endswith(".002000)")


@given(st.lists(st.lists(st.integers(0, 50), max_size=12), min_size=1, max_size=4), st.randoms())
def test_everything_comes_out_once_and_in_order(sources: list[list[int]], random: object) -> None:
    merger = Merger(len(sources))
    for number, stamps in enumerate(sources):
        merger.add(number, batch(sorted(stamps), number), (), complete_until=100)
    assert times(merger.take(None)) == sorted(time for stamps in sources for time in stamps)
    assert len(merger) == 0


def test_a_lone_sources_batches_are_handed_on_as_they_are() -> None:
    merger = Merger(1)
    batches = [batch([1, 2]), batch([3, 6]), batch([7])]
    for one in batches:
        merger.add(0, one, (), complete_until=5)
    merger.add(0, None, [Note(4, "stop"), Note(9, "later")], complete_until=5)
    first = merger.take(5)
    assert first[0] is batches[0]
    assert [len(item) if isinstance(item, FrameBatch) else item.text for item in first] == [
        2,
        1,
        "stop",
        1,
        1,
    ]
    assert first[4] is batches[2]
    assert times(merger.take(None)) == [9]
