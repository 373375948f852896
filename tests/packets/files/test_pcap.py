import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmon.errors import DamagedFile
from qmon.packets.batch import Damage, Direction, FrameBatch, Interface
from qmon.packets.files.feeding import Item
from qmon.packets.files.pcap import PcapReader, PcapWriter

SECOND = 1_000_000_000
NOW = 1_700_000_000 * SECOND


def capture(
    frames: list[bytes],
    *,
    order: str = "<",
    magic: int = 0xA1B2C3D4,
    link: int = 1,
    version: tuple[int, int] = (2, 4),
) -> bytes:
    """Write a capture the slow way."""
    data = struct.pack(order + "IHHiIII", magic, *version, 0, 0, 65535, link)
    for index, frame in enumerate(frames):
        data += struct.pack(order + "IIII", 1_700_000_000 + index, index, len(frame), len(frame) + 1)
        if magic == 0xA1B2CD34:
            data += struct.pack(order + "IHBB", 3, 0x0800, 4 if index % 2 else 0, 0)
        data += frame
    return data


def read(data: bytes, *cuts: int) -> list[Item]:
    reader = PcapReader()
    items: list[Item] = []
    for low, high in zip([0, *cuts], [*cuts, len(data)], strict=True):
        items += reader.feed(data[low:high])
    return items + reader.finish()


def frames_of(items: list[Item]) -> list[bytes]:
    return [bytes(one.frame(i)) for one in items if isinstance(one, FrameBatch) for i in range(len(one))]


def joined(items: list[Item]) -> FrameBatch:
    return FrameBatch.concatenate([one for one in items if isinstance(one, FrameBatch)])


def damage_of(items: list[Item]) -> list[Damage]:
    return [one for one in items if isinstance(one, Damage)]


FRAMES = [bytes([index]) * (40 + index * 7) for index in range(50)]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("magic", "unit"), [(0xA1B2C3D4, 1000), (0xA1B23C4D, 1)])
def test_byte_orders_and_resolutions(order: str, magic: int, unit: int) -> None:
    items = read(capture(FRAMES, order=order, magic=magic, link=113))
    assert items[0] == Interface(link_type=113, snaplen=65535)
    batch = joined(items)
    assert frames_of(items) == FRAMES
    assert batch.time_ns.tolist() == [NOW + i * SECOND + i * unit for i in range(50)]
    assert batch.length.tolist() == [len(frame) + 1 for frame in FRAMES]
    assert not damage_of(items)


def test_the_modified_format_has_directions() -> None:
    items = read(capture(FRAMES, magic=0xA1B2CD34))
    assert frames_of(items) == FRAMES
    assert joined(items).direction.tolist()[:2] == [Direction.IN, Direction.OUT]


def test_old_versions_have_their_lengths_swapped() -> None:
    data = capture([], version=(2, 2)) + struct.pack("<IIII", 1, 2, 9, 3) + b"abc"
    batch = joined(read(data))
    assert (bytes(batch.frame(0)), batch.length.tolist()) == (b"abc", [9])


def test_the_link_type_has_upper_bits() -> None:
    items = read(capture([], link=0x2400_0000 | 1))
    assert items[0] == Interface(link_type=1, snaplen=65535, fcs_bytes=4)


def test_bytes_may_be_cut_at_every_place() -> None:
    data = capture(FRAMES[:6])
    for cut in range(len(data) + 1):
        assert frames_of(read(data, cut)) == FRAMES[:6]
    assert frames_of(read(data, *range(len(data)))) == FRAMES[:6]


def test_a_half_written_record_waits() -> None:
    data = capture(FRAMES[:2])
    reader = PcapReader()
    assert frames_of(reader.feed(data[:-1])) == FRAMES[:1]
    assert frames_of(reader.feed(data[-1:])) == FRAMES[1:2]
    assert reader.finish() == []


def test_positions_point_into_the_file() -> None:
    data = capture(FRAMES)
    batch = joined(read(data, 1000, 1001, 2500))
    assert batch.position is not None
    for index, position in enumerate(batch.position.tolist()):
        assert data[position : position + int(batch.captured[index])] == FRAMES[index]


def test_a_cut_tail_is_damage_and_the_rest_is_read() -> None:
    data = capture(FRAMES)
    items = read(data[:-5])
    assert frames_of(items) == FRAMES[:-1]
    (damage,) = damage_of(items)
    assert damage.offset == len(data) - len(FRAMES[-1]) - 16
    assert damage.skipped == len(FRAMES[-1]) + 16 - 5
    assert [damage.reason for damage in damage_of(read(data[:10]))] == ["the file ends within a header"]


def test_reading_goes_on_behind_a_record_that_cannot_be() -> None:
    data = bytearray(capture(FRAMES))
    at = 24 + sum(len(frame) + 16 for frame in FRAMES[:20])
    data[at + 8 : at + 12] = b"\xff\xff\xff\x7f"
    for cuts in ((), (at + 3,), (at + 20, at + 300), tuple(range(at, at + 400))):
        items = read(bytes(data), *cuts)
        assert frames_of(items) == FRAMES[:20] + FRAMES[21:]
        (damage,) = damage_of(items)
        assert (damage.offset, damage.skipped) == (at, 16 + len(FRAMES[20]))
        assert "2147483647" in str(damage)


def test_lost_bytes_cost_the_records_near_them() -> None:
    data = capture(FRAMES)
    at = 24 + sum(len(frame) + 16 for frame in FRAMES[:20]) + 30
    items = read(data[:at] + data[at + 200 :])
    assert damage_of(items)
    assert frames_of(items)[:20] == FRAMES[:20]
    assert frames_of(items)[-20:] == FRAMES[-20:]


def test_other_files_are_refused() -> None:
    with pytest.raises(DamagedFile):
        PcapReader().feed(b"\x7fELF" + bytes(40))


def test_lengths_at_their_limits() -> None:
    huge = b"x" * 262_144
    items = read(capture([b"", huge, b""]))
    assert frames_of(items) == [b"", huge, b""]
    assert frames_of(read(capture([huge + b"x", b"abc"], link=249))) == [huge + b"x", b"abc"]
    assert damage_of(read(capture([huge + b"x"])))


@given(
    frames=st.lists(st.binary(max_size=300), max_size=20),
    stamps=st.lists(st.integers(0, (1 << 32) * SECOND - 1), min_size=20, max_size=20),
    nanoseconds=st.booleans(),
    seed=st.integers(0, 1 << 30),
)
def test_what_is_written_is_read_again(
    frames: list[bytes], stamps: list[int], nanoseconds: bool, seed: int
) -> None:
    stamps = stamps[: len(frames)]
    writer = PcapWriter(Interface(link_type=101, snaplen=99, fcs_bytes=4), nanoseconds=nanoseconds)
    wire = [len(frame) + 3 for frame in frames]
    data = writer.header() + writer.encode(FrameBatch.from_frames(frames, time_ns=stamps, length=wire))
    rng = random.Random(seed)
    items = read(data, *sorted(rng.randrange(len(data)) for _ in range(4)))
    assert items[0] == Interface(link_type=101, snaplen=99, fcs_bytes=4)
    assert frames_of(items) == frames
    unit = 1 if nanoseconds else 1000
    assert joined(items).time_ns.tolist() == [stamp // unit * unit for stamp in stamps]
    assert joined(items).length.tolist() == wire
    assert not damage_of(items)


@given(data=st.binary(max_size=2000), cut=st.integers(0, 2000))
def test_no_bytes_behind_the_header_raise(data: bytes, cut: int) -> None:
    items = read(capture([]) + data, min(cut, len(data)))
    covered = sum(len(frame) + 16 for frame in frames_of(items)) + sum(
        one.skipped for one in damage_of(items)
    )
    assert covered == len(data)


def test_stamps_that_do_not_fit_are_moved_to_the_nearest() -> None:
    writer = PcapWriter(Interface(), nanoseconds=True)
    data = writer.header() + writer.encode(FrameBatch.from_frames([b"a", b"b"], time_ns=[-5, 1 << 62]))
    assert joined(read(data)).time_ns.tolist() == [0, (1 << 32) * SECOND - 1]
