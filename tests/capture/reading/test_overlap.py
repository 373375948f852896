from hypothesis import given
from hypothesis import strategies as st

from qmon.capture.reading.overlap import Overlap, find_overlap
from qmon.packets.batch import FrameBatch

NS = 1_000_000_000


def batch(frames: list[bytes], times: list[int]) -> FrameBatch:
    return FrameBatch.from_frames(frames, time_ns=times)


@given(
    frames=st.lists(st.sampled_from([b"a", b"b", b"aa"]), min_size=2, max_size=40),
    gaps=st.lists(st.integers(20_000, NS // 4), min_size=40, max_size=40),
    late=st.lists(st.integers(0, 2_000), min_size=40, max_size=40),
    start=st.integers(0, 39),
    more=st.integers(0, 39),
    seconds=st.integers(-3, 3),
)
def test_the_overlap_is_found_also_where_frames_are_alike(
    frames: list[bytes], gaps: list[int], late: list[int], start: int, more: int, seconds: int
) -> None:
    times = [sum(gaps[: index + 1]) for index in range(len(frames))]
    end = max(1, len(frames) - more)
    start = min(start, end - 1)
    tail = batch(frames[:end], times[:end])
    theirs = [time + late[index] + seconds * NS for index, time in enumerate(times)]
    head = batch(frames[start:], theirs[start:])
    assert find_overlap(tail, head) == Overlap(end - start, -seconds * NS)


def test_files_without_a_common_frame_do_not_overlap() -> None:
    tail = batch([b"x", b"y"], [0, 1000])
    assert find_overlap(tail, batch([b"z"], [2000])) is None
    assert find_overlap(tail, batch([b"yy", b"y"], [1000, 2000])) is None
    assert find_overlap(tail, FrameBatch.empty()) is None
    assert find_overlap(FrameBatch.empty(), tail) is None


def test_frames_that_are_alike_but_far_apart_are_not_the_same() -> None:
    assert find_overlap(batch([b"x"], [0]), batch([b"x"], [NS // 2])) is None
