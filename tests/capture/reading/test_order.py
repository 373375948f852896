import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from qmon.capture.reading.order import Orderer, Piece, merged
from qmon.packets.batch import FrameBatch


def piece(stamps: list[int], *, rank: int = 0, epoch: int = 0) -> Piece:
    frames = [f"{rank}:{number}".encode() for number in range(len(stamps))]
    return Piece(epoch, rank, FrameBatch.from_frames(frames, time_ns=stamps, interface=rank))


def joined(pieces: list[Piece], offsets: list[int]) -> FrameBatch:
    return FrameBatch.concatenate(merged(pieces, offsets))


def test_the_lower_rank_goes_first_on_equal_stamps() -> None:
    batch = joined([piece([1, 2, 3], rank=1), piece([2, 3], rank=0)], [100])
    assert batch.time_ns.tolist() == [101, 102, 102, 103, 103]
    assert batch.interface.tolist() == [1, 0, 1, 0, 1]


def test_epochs_stay_in_their_order_though_stamps_go_back() -> None:
    batch = joined([piece([50, 60]), piece([10, 20], epoch=1)], [1000, 5000])
    assert batch.time_ns.tolist() == [1050, 1060, 5010, 5020]


def large(stamps: list[int], *, rank: int = 0) -> Piece:
    frames = [rank.to_bytes(1, "big") * 200_000 for _ in stamps]
    return Piece(0, rank, FrameBatch.from_frames(frames, time_ns=stamps, interface=rank))


def test_large_pieces_are_copied_only_where_they_interleave() -> None:
    first, second = large([1, 2]), large([2, 5], rank=1)
    batches = merged([second, first, large([6, 8]), large([7, 9], rank=1)], [100])
    assert [batch.time_ns.tolist() for batch in batches] == [[101, 102], [102, 105], [106, 107, 108, 109]]
    assert batches[0].data is first.batch.data
    assert batches[1].data is second.batch.data


def test_what_only_the_second_pass_saw_waits() -> None:
    orderer = Orderer()
    assert [p.batch.time_ns.tolist() for p in orderer.passed([piece([5])], [piece([7], rank=1)])] == [[5]]
    assert len(orderer) == 1
    ready = orderer.passed([piece([6])], [])
    assert joined(ready, [0]).time_ns.tolist() == [6, 7]


def test_a_file_not_read_to_its_end_holds_the_others_back() -> None:
    orderer = Orderer()
    ready = orderer.passed([piece([1, 2]), piece([5, 9], rank=1)], [], behind=[(0, 2)])
    assert joined(ready, [0]).time_ns.tolist() == [1, 2]
    assert len(orderer) == 2
    assert joined(orderer.flush(), [0]).time_ns.tolist() == [5, 9]


@given(
    written=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 1)), max_size=40),
    steps=st.lists(st.integers(0, 5), max_size=60),
)
def test_any_reading_gives_the_order_of_writing(written: list[tuple[int, int]], steps: list[int]) -> None:
    """Two files written in stamp order, read by passes at any moments: nothing is lost or out of order.

    `written` are distances to the stamp before and the file, `steps` how many are written before the next reading;
    when these are used up, everything is.
    """
    stamps = np.cumsum([apart for apart, _ in written]).tolist()
    files = [file for _, file in written]
    moments = iter(np.minimum(np.cumsum(steps), len(written)).tolist())
    orderer, read, got = Orderer(), [0, 0], list[int]()

    def read_file(file: int, at: int) -> list[Piece]:
        there = [stamp for stamp, where in zip(stamps[:at], files[:at], strict=True) if where == file]
        new, read[file] = there[read[file] :], len(there)
        return [piece(new, rank=file)] if new else []

    while sum(read) < len(written):
        passes = [
            [one for file in (0, 1) for one in read_file(file, next(moments, len(written)))] for _ in range(2)
        ]
        if ready := orderer.passed(passes[0], passes[1]):
            got += joined(ready, [0]).time_ns.tolist()
    if len(orderer):
        got += joined(orderer.flush(), [0]).time_ns.tolist()
    assert got == stamps
