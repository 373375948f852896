import random
import struct
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmon.errors import DamagedFile
from qmon.packets.batch import NO_TIME, Damage, Direction, FrameBatch, Interface, Names, Note, Statistics
from qmon.packets.files.feeding import Item
from qmon.packets.files.pcapng import PcapngReader
from qmon.packets.files.pcapng_writer import PcapngWriter

SECOND = 1_000_000_000
NOW = 1_700_000_000 * SECOND
U1 = Interface("u1", description="user network", mac=b"RT\0\x12\x34V", capture_filter="tcp", snaplen=4096)
U2 = Interface("u2", link_type=101, fcs_bytes=4)


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    body += bytes(-len(body) % 4)
    size = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + size + body + size


def option(code: int, value: bytes, order: str = "<") -> bytes:
    return struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4)


def section(order: str = "<") -> bytes:
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def interface(order: str = "<", link: int = 1, snaplen: int = 0, options: bytes = b"") -> bytes:
    return block(1, struct.pack(order + "HHI", link, 0, snaplen) + options, order)


def packet(frame: bytes, stamp: int = 0, which: int = 0, order: str = "<", options: bytes = b"") -> bytes:
    head = struct.pack(order + "IIIII", which, stamp >> 32, stamp & 0xFFFF_FFFF, len(frame), len(frame))
    return block(6, head + frame + bytes(-len(frame) % 4) + options, order)


def read(data: bytes, *cuts: int) -> list[Item]:
    reader = PcapngReader()
    items: list[Item] = []
    for low, high in zip([0, *cuts], [*cuts, len(data)], strict=True):
        items += reader.feed(data[low:high])
    return items + reader.finish()


def frames_of(items: list[Item]) -> list[bytes]:
    return [bytes(one.frame(i)) for one in items if isinstance(one, FrameBatch) for i in range(len(one))]


def joined(items: list[Item]) -> FrameBatch:
    return FrameBatch.concatenate([one for one in items if isinstance(one, FrameBatch)])


def of(kind: type, items: list[Item]) -> list[Item]:
    return [one for one in items if isinstance(one, kind)]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("resolution", "offset_s", "stamp", "expected"),
    [
        (None, 0, 1_700_000_000_000_001, NOW + 1000),
        (9, 0, NOW + 7, NOW + 7),
        (3, 0, 1_700_000_000_123, NOW + 123_000_000),
        (12, 0, 5_000_000_001_999, 5 * SECOND + 1),
        (0x80, 0, 77, 77 * SECOND),
        (0x8A, 0, 1_700_000_000 * 1024 + 512, NOW + SECOND // 2),
        (0xA0, 0, (5 << 32) + (1 << 31), 5 * SECOND + SECOND // 2),
        (0xBF, 0, 1 << 62, SECOND // 2),
        (9, 100, NOW, NOW + 100 * SECOND),
        (6, -100, 1_700_000_000_000_000, NOW - 100 * SECOND),
    ],
)
def test_resolutions_and_offsets(
    order: str, resolution: int | None, offset_s: int, stamp: int, expected: int
) -> None:
    options = option(9, bytes([resolution]), order) if resolution is not None else b""
    options += option(14, struct.pack(order + "q", offset_s), order) if offset_s else b""
    items = read(section(order) + interface(order, options=options) + packet(b"abc", stamp, order=order))
    assert joined(items).time_ns.tolist() == [expected]


@pytest.mark.parametrize("resolution", range(256))
def test_no_resolution_and_no_stamp_raises(resolution: int) -> None:
    options = option(9, bytes([resolution])) + option(14, struct.pack("<q", -(1 << 63)))
    data = section() + interface(options=options) + packet(b"abc", (1 << 64) - 1) + packet(b"", 0)
    assert len(joined(read(data))) == 2


def test_times_beyond_what_can_be_counted_are_told() -> None:
    seconds = option(9, b"\0")
    stamps = (1_700_000_000, 9_300_000_000, (1 << 64) - 1)
    items = read(section() + interface(options=seconds) + b"".join(packet(b"x", stamp) for stamp in stamps))
    assert joined(items).time_ns.tolist() == [NOW, NO_TIME, NO_TIME]
    (damage,) = of(Damage, items)
    assert damage == Damage(28 + 28 + 36, "a packet's time is out of the years 1678 to 2262", count=2)


def test_interfaces_are_described() -> None:
    options = b"".join(
        option(code, value)
        for code, value in (
            (2, b"eth\xff0"),
            (3, b"what"),
            (6, b"RT\0\x12\x34V"),
            (11, b"\0tcp"),
            (13, b"\4"),
            (9, b"\x09"),
        )
    )
    (found,) = read(section() + interface(options=options + bytes(4), snaplen=77, link=113))
    assert found == Interface("eth�0", 113, 77, "what", b"RT\0\x12\x34V", "tcp", 4)


def test_all_kinds_of_packet_blocks() -> None:
    old = struct.pack("<HHIIII", 0, 5, 0, 1_000_000, 3, 9) + b"old\0"
    simple = struct.pack("<I", 9) + b"simp"
    data = (
        section() + interface(snaplen=4) + block(2, old) + block(3, simple) + packet(b"enhanced", 2_000_000)
    )
    items = read(data)
    assert frames_of(items) == [b"old", b"simp", b"enhanced"]
    assert joined(items).time_ns.tolist() == [SECOND, NO_TIME, 2 * SECOND]
    assert joined(items).length.tolist() == [9, 9, 8]
    big = (
        section(">")
        + interface(">")
        + block(2, struct.pack(">HHIIII", 0, 5, 0, 1_000_000, 3, 9) + b"old", ">")
    )
    assert frames_of(read(big)) == [b"old"]


def test_what_options_of_packets_say() -> None:
    comment = option(1, b"first") + option(1, b"second")
    flags, drops = option(2, struct.pack("<I", 0x11)), option(4, struct.pack("<Q", 7))
    data = section() + interface()
    data += packet(b"in", 1, options=flags) + packet(
        b"out", 2, options=option(2, struct.pack("<I", 2)) + bytes(4)
    )
    data += packet(b"both", 3, options=comment + drops + flags + bytes(4)) + packet(
        b"broken", 4, options=b"\1\0\xff\xff" * 3
    )
    items = read(data)
    batch = joined(items)
    assert batch.direction.tolist() == [Direction.IN, Direction.OUT, Direction.IN, Direction.UNKNOWN]
    assert batch.comments == ((2, "first"), (2, "second"))
    assert of(Note, items) == [Note(3000, "7 packets were lost before this one", "gap", 0)]


def test_sections_of_both_byte_orders_one_after_the_other() -> None:
    one = section("<") + interface("<") + packet(b"little", 1)
    two = section(">") + interface(">", link=113) + packet(b"big", 2, order=">")
    items = read(one + two + one)
    assert frames_of(items) == [b"little", b"big", b"little"]
    assert joined(items).interface.tolist() == [0, 1, 0]
    assert [item.link_type for item in of(Interface, items)] == [1, 113]


def test_sections_may_turn_as_often_as_they_like() -> None:
    def one(order: str, number: int) -> bytes:
        flags = option(2, struct.pack(order + "I", 1 + number % 2), order)
        old = block(2, struct.pack(order + "HHIIII", 0, 5, 0, number, 3, 9) + b"old", order)
        simple = block(3, struct.pack(order + "I", 4) + b"simp", order)
        new = packet(b"%d" % number, number, order=order, options=flags)
        return section(order) + interface(order) + new + old + simple

    chance = random.Random(3)
    orders = [order for _ in range(60) for order in chance.choice("<>") * chance.choice((1, 1, 1, 40))]
    data = b"".join(one(order, number) for number, order in enumerate(orders))
    for items in (read(data), read(data, *range(1000, len(data), 1777))):
        assert not of(Damage, items)
        found = joined(items)
        assert frames_of(items) == [
            frame for number in range(len(orders)) for frame in (b"%d" % number, b"old", b"simp")
        ]
        assert found.time_ns[::3].tolist() == [number * 1000 for number in range(len(orders))]
        assert found.direction[::3].tolist() == [1 + number % 2 for number in range(len(orders))]
        assert found.length[1::3].tolist() == [9] * len(orders)


def test_files_joined_end_to_end_keep_their_interfaces_apart() -> None:
    same = section() + interface() + interface() + packet(b"a", which=1)
    items = read(same + same)
    assert joined(items).interface.tolist() == [1, 1]
    assert len(of(Interface, items)) == 2


def test_what_is_not_known_is_left_out() -> None:
    others = [block(kind, b"something") for kind in (10, 0xBAD, 0x4000_0BAD, 0x0000_1234, 0x8000_0001)]
    data = section() + others[0] + interface() + b"".join(others) + packet(b"here") + b"".join(others)
    items = read(data)
    assert frames_of(items) == [b"here"]
    assert not of(Damage, items)


def test_names_and_statistics() -> None:
    names = (
        option(1, bytes((10, 0, 2, 2)) + b"gateway\0router\0")
        + option(2, bytes(15) + b"\1here\0")
        + option(1, b"xx")
    )
    counts = option(4, struct.pack("<Q", 8)) + option(5, struct.pack("<Q", 3))
    data = (
        section() + interface() + block(4, names + bytes(4)) + block(5, struct.pack("<III", 0, 0, 5) + counts)
    )
    data += block(5, struct.pack("<III", 9, 0, 5))
    _, found, statistics = read(data)
    assert found == Names((("10.0.2.2", "gateway"), ("10.0.2.2", "router"), ("::1", "here")))
    assert statistics == Statistics(0, 5000, 8, 3)


def test_a_section_may_have_a_comment() -> None:
    data = block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1) + option(1, b"why") + bytes(4))
    assert read(data) == [Note(NO_TIME, "why", "comment")]


def test_packets_that_make_no_sense_are_damage_and_the_others_are_read() -> None:
    good = packet(b"good", 1)
    lying = block(6, struct.pack("<IIIII", 0, 0, 0, 5000, 5000) + b"short")
    data = (
        section()
        + interface()
        + good
        + packet(b"whose", which=8)
        + good
        + lying
        + good
        + block(6, b"tiny")
        + good
    )
    items = read(data)
    assert frames_of(items) == [b"good"] * 4
    assert len(of(Damage, items)) == 3


def _long() -> tuple[bytes, list[int]]:
    data, starts = section() + interface(), []
    for index in range(40):
        starts.append(len(data))
        data += packet(bytes([index]) * (20 + index), index)
    return data, starts


@pytest.mark.parametrize("wrong", [b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x07\0\0\0", b"\x40\0\0\0"])
def test_reading_goes_on_behind_a_length_that_cannot_be(wrong: bytes) -> None:
    data, starts = _long()
    broken = bytearray(data)
    broken[starts[20] + 4 : starts[20] + 8] = wrong
    for cuts in ((), (starts[20] + 2, starts[20] + 33), tuple(range(starts[20], starts[22]))):
        items = read(bytes(broken), *cuts)
        assert frames_of(items) == [bytes([i]) * (20 + i) for i in range(40) if i != 20]
        (damage,) = of(Damage, items)
        assert isinstance(damage, Damage)
        assert (damage.offset, damage.offset + damage.skipped) == (starts[20], starts[21])


def test_lost_bytes_cost_the_blocks_near_them() -> None:
    data, starts = _long()
    items = read(data[: starts[10] + 9] + data[starts[12] + 30 :])
    assert frames_of(items) == [bytes([i]) * (20 + i) for i in range(40) if i not in (10, 11, 12)]
    assert of(Damage, items)


def test_bytes_may_be_cut_at_every_place() -> None:
    data, _ = _long()
    data = data[:400]
    expected = frames_of(read(data))
    for cut in range(len(data) + 1):
        assert frames_of(read(data, cut)) == expected
    assert frames_of(read(data, *range(len(data)))) == expected


def test_a_cut_tail_is_damage() -> None:
    data, starts = _long()
    items = read(data[:-3])
    assert len(frames_of(items)) == 39
    assert of(Damage, items) == [
        Damage(starts[39], "the file ends within a block", len(data) - 3 - starts[39])
    ]


def test_a_byte_order_that_cannot_be_told() -> None:
    with pytest.raises(DamagedFile):
        read(block(0x0A0D0D0A, bytes(16)))


@given(data=st.binary(max_size=1500), cut=st.integers(0, 1500))
def test_no_bytes_behind_a_section_raise(data: bytes, cut: int) -> None:
    start = section() + interface()
    read(start + data, min(cut, len(data)))


@given(seed=st.integers(0, 1 << 30))
def test_a_damaged_capture_never_raises(seed: int) -> None:
    rng = random.Random(seed)
    data = bytearray(_long()[0])
    for _ in range(rng.randrange(1, 8)):
        at = rng.randrange(24, len(data))
        data[at : at + rng.randrange(6)] = rng.choice(
            (rng.randbytes(rng.randrange(6)), b"\xff\xff\xff\xff", bytes(4))
        )
    try:
        read(bytes(data), rng.randrange(len(data)))
    except DamagedFile as damage:
        assert damage.offset == 0  # noqa: PT017 - whether it raises depends on where the damage is


@given(
    frames=st.lists(st.binary(max_size=300), max_size=20),
    seed=st.integers(0, 1 << 30),
)
def test_what_is_written_is_read_again(frames: list[bytes], seed: int) -> None:
    rng = random.Random(seed)
    count = len(frames)
    stamps = [NOW + rng.randrange(1 << 50) for _ in frames]
    directions = [rng.randrange(3) for _ in frames]
    which = [rng.randrange(2) for _ in frames]
    comments = tuple((row, rng.choice(("hällo", "x" * 70_000))) for row in range(count) if rng.random() < 0.2)
    batch = FrameBatch.from_frames(frames, time_ns=stamps, direction=directions, interface=which)
    batch = replace(batch, comments=comments)
    writer = PcapngWriter(application="qmon test")
    data = writer.header("why") + writer.interface(U1)
    note = Note(NOW, "VM stopped", "event")
    data += writer.interface(U2) + bytes(writer.encode(batch, [(count // 2, writer.journal(note))]))
    data += writer.statistics(Statistics(1, NOW, 5, 6)) + writer.names(
        {"10.0.2.2": "gateway", "fec0::2": "six"}
    )
    items = read(data, *sorted(rng.randrange(len(data)) for _ in range(3)))
    assert not of(Damage, items)
    assert [item.name for item in of(Interface, items)] == ["u1", "u2"]
    assert note in items
    mine = joined(items)
    assert [bytes(mine.frame(i)) for i in range(count)] == frames
    assert mine.time_ns.tolist() == stamps
    assert mine.direction.tolist() == directions
    assert mine.interface.tolist() == which
    assert mine.comments == tuple((row, text[:0xFFFF]) for row, text in comments)
    assert of(Statistics, items) == [Statistics(1, NOW, 5, 6)]
    assert of(Names, items) == [Names((("10.0.2.2", "gateway"), ("fec0::2", "six")))]
    assert of(Note, items) == [Note(NO_TIME, "why", "comment"), note]


def test_many_small_sections_make_one_batch_and_keep_their_own_interfaces() -> None:
    data = b"".join(
        section() + interface(link=1 + n % 2) + packet(b"%d" % n) + packet(b"stray", which=1)
        for n in range(50)
    )
    items = read(data)
    (batch,) = of(FrameBatch, items)
    assert [bytes(batch.frame(n)) for n in range(50)] == [b"%d" % n for n in range(50)]
    assert batch.interface.tolist() == [n % 2 for n in range(50)]
    (damage,) = of(Damage, items)
    assert damage.count == 50
