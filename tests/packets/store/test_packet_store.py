import random
import threading
from pathlib import Path

import numpy as np
import pytest

from qmon.errors import DamagedFile, QmonError
from qmon.packets.batch import Direction, FrameBatch, Interface, Offload
from qmon.packets.files.pcap import PcapWriter
from qmon.packets.files.source import CaptureFile
from qmon.packets.store import packet_store as store
from qmon.packets.store import rows, spool
from qmon.packets.store.conversations import NO_FLOW
from qmon.packets.store.decode import Kind
from qmon.packets.store.packet_store import PacketStore
from qmon.packets.store.traffic import TrafficCounter
from tests.packets import reference
from tests.packets.frames import frame


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "CHUNK", 64)
    monkeypatch.setattr(rows, "CHUNK", 64)
    monkeypatch.setattr(spool, "SEGMENT_BYTES", 4096)


def _fill(kept: PacketStore, frames: list[bytes], rng: random.Random) -> None:
    low = 0
    while low < len(frames):
        high = min(len(frames), low + rng.randrange(1, 150))
        batch = FrameBatch.from_frames(
            frames[low:high],
            time_ns=[index * 1000 for index in range(low, high)],
            interface=[index % 2 for index in range(low, high)],
            direction=[index % 3 for index in range(low, high)],
            length=[len(one) + 1 for one in frames[low:high]],
        )
        kept.append(batch)
        low = high


@pytest.fixture
def filled(small_chunks: None) -> tuple[PacketStore, list[bytes]]:
    rng = random.Random(8)
    frames = [frame(rng) for _ in range(1000)]
    kept = PacketStore()
    kept.add_interface(Interface("u1"))
    kept.add_interface(Interface("u2", link_type=1))
    _fill(kept, frames, rng)
    return kept, frames


def test_every_packet_is_there_as_it_came(filled: tuple[PacketStore, list[bytes]]) -> None:
    kept, frames = filled
    assert (len(kept), kept.first_seq, kept.next_seq, kept.packets, kept.evicted) == (1000, 0, 1000, 1000, 0)
    assert kept.bytes == sum(len(one) + 1 for one in frames)
    for seq, one in enumerate(frames):
        row = kept.row(seq)
        assert kept.frame(seq) == one
        assert (row.seq, row.time_ns, row.captured, row.length) == (seq, seq * 1000, len(one), len(one) + 1)
        assert (row.interface, row.direction) == (seq % 2, Direction(seq % 3))
        expected = reference.decode(one, 1)
        assert (row.kind, row.tcp_flags) == (expected.kind, expected.tcp_flags)
        if expected.version:
            assert row.flow is not None
            talk = kept.conversation(row.flow)
            ports = (talk.port_b, talk.port_a) if row.reversed else (talk.port_a, talk.port_b)
            assert ports == (expected.source_port, expected.destination_port)
        else:
            assert row.flow is None


def test_any_range_of_rows(filled: tuple[PacketStore, list[bytes]]) -> None:
    kept, frames = filled
    for start, stop in (
        (0, 1000),
        (0, 1),
        (63, 65),
        (64, 128),
        (130, 700),
        (-5, 5),
        (990, 2000),
        (7, 7),
        (9, 3),
    ):
        rows = kept.rows(start, stop)
        expected = list(range(max(0, start), max(max(0, start), min(stop, 1000))))
        assert (rows.time_ns // 1000).tolist() == expected
        assert rows.captured.tolist() == [len(frames[seq]) for seq in expected]
        assert rows.interface.tolist() == [seq % 2 for seq in expected]
        assert rows.direction.tolist() == [seq % 3 for seq in expected]
        batch = kept.batch(start, stop)
        assert [bytes(batch.frame(index)) for index in range(len(batch))] == [frames[seq] for seq in expected]


def test_sums_are_those_of_the_rows(filled: tuple[PacketStore, list[bytes]]) -> None:
    kept, frames = filled
    rows = kept.rows(0, 1000)
    table = kept.conversations()
    assert table.packets.sum() == (rows.flow != NO_FLOW).sum()
    assert table.bytes.sum() == rows.length[rows.flow != NO_FLOW].sum()
    total = sum(int(kept.observer(TrafficCounter).of(one).in_bytes.sum()) for one in (0, 1))
    assert total == sum(len(one) + 1 for seq, one in enumerate(frames) if seq % 3 == Direction.IN)
    kept.append(
        FrameBatch.from_frames([frames[0]] * 10, interface=1, direction=Direction.IN, time_ns=5 * 10**9)
    )
    assert kept.observer(TrafficCounter).of(1).second.tolist()[-1] == 5
    assert kept.observer(TrafficCounter).of(1).in_packets.tolist()[-1] == 10


def test_what_is_not_there(filled: tuple[PacketStore, list[bytes]]) -> None:
    kept, _ = filled
    for seq in (-1, 1000, 1 << 40):
        with pytest.raises(IndexError):
            kept.row(seq)
        with pytest.raises(IndexError):
            kept.frame(seq)
    with pytest.raises(IndexError):
        kept.conversation(1 << 20)


@pytest.mark.parametrize("limit", [{"limit_packets": 256}, {"limit_bytes": 20_000}])
def test_the_oldest_go_and_are_counted(small_chunks: None, limit: dict[str, int]) -> None:
    rng = random.Random(8)
    frames = [frame(rng) for _ in range(3000)]
    kept = PacketStore(**limit)  # type: ignore[arg-type]
    kept.add_interface(Interface())
    kept.add_interface(Interface())
    _fill(kept, frames, rng)
    assert kept.packets == 3000
    assert 0 < len(kept) < 1500
    assert kept.evicted == kept.first_seq == 3000 - len(kept)
    for seq in range(kept.first_seq, 3000):
        assert kept.frame(seq) == frames[seq]
    with pytest.raises(IndexError):
        kept.frame(kept.first_seq - 1)
    assert kept.rows(0, 3000).first == kept.first_seq
    counted = sum(
        int(traffic.in_packets.sum() + traffic.out_packets.sum() + traffic.unknown_packets.sum())
        for traffic in (kept.observer(TrafficCounter).of(0), kept.observer(TrafficCounter).of(1))
    )
    assert counted == 3000
    kept.close()


def test_interfaces_have_their_own_link_types() -> None:
    kept = PacketStore()
    one, two = kept.add_interface(Interface("a", link_type=101)), kept.add_interface(Interface("b"))
    raw = bytes.fromhex("450000140000000040670000c0a80001c0a80002")
    kept.append(
        FrameBatch.from_frames([raw, bytes(12) + b"\x08\6" + bytes(28), raw], interface=[one, two, two])
    )
    assert kept.rows(0, 3).kind.tolist() == [Kind.IPV4, Kind.ARP, Kind.OTHER]
    assert [kept.link_type(seq) for seq in range(3)] == [101, 1, 1]
    assert [one.name for one in kept.interfaces] == ["a", "b"]


def test_offload_marks_are_kept() -> None:
    kept = PacketStore()
    kept.add_interface(Interface())
    batch = FrameBatch.from_frames([b"a", b"b"], direction=Direction.OUT)
    marked = FrameBatch.concatenate([batch])
    kept.append(
        FrameBatch(
            marked.data,
            marked.offset,
            marked.captured,
            marked.length,
            marked.time_ns,
            marked.interface,
            marked.direction,
            offload=np.array([0, 3], np.uint8),
        )
    )
    assert kept.row(1).offload == Offload.SEGMENTATION | Offload.PARTIAL_CHECKSUM
    assert kept.row(1).direction is Direction.OUT
    assert kept.row(0).offload == Offload.NONE
    offload = kept.batch(0, 2).offload
    assert offload is not None
    assert offload.tolist() == [0, 3]


def test_too_many_interfaces_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MAX_INTERFACES", 2)
    kept = PacketStore()
    kept.add_interface(Interface())
    kept.add_interface(Interface())
    with pytest.raises(QmonError, match="more than 2 interfaces"):
        kept.add_interface(Interface())


def _capture(path: Path, frames: list[bytes]) -> None:
    writer = PcapWriter(Interface())
    path.write_bytes(writer.header() + writer.encode(FrameBatch.from_frames(frames)))


def test_frames_of_a_file_are_read_from_the_file(tmp_path: Path) -> None:
    rng = random.Random(1)
    frames = [frame(rng) for _ in range(500)]
    path = tmp_path / "a.pcap"
    _capture(path, frames)
    with CaptureFile(path, reuse_buffer=True) as file:
        kept = PacketStore(source=file)
        while (batch := file.read_batch()) is not None:
            for interface in file.interfaces[len(kept.interfaces) :]:
                kept.add_interface(interface)
            kept.append(batch)
        assert [kept.frame(seq) for seq in range(500)] == frames
        whole = kept.batch(100, 400)
        assert [bytes(whole.frame(index)) for index in range(300)] == frames[100:400]
        path.write_bytes(path.read_bytes()[:1000])
        assert kept.frame(0) == frames[0]
        with pytest.raises(DamagedFile, match="has become shorter"):
            kept.frame(499)
        with pytest.raises(DamagedFile):
            kept.batch(0, 500)
        with pytest.raises(QmonError, match="without positions"):
            kept.append(FrameBatch.from_frames([b"x"]))


def test_no_memory_is_an_error_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = PacketStore()
    kept.add_interface(Interface())

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.pwrite", full)
    with pytest.raises(QmonError, match="no memory for more packets: No space left"):
        kept.append(FrameBatch.from_frames([b"x"]))
    assert len(kept) == 0


def test_reading_while_another_thread_appends(small_chunks: None) -> None:
    kept = PacketStore(limit_packets=640)
    kept.add_interface(Interface())
    head = bytes(12) + b"\x08\x00" + bytes.fromhex("4500001c0000000040110000c0a80001c0a80002")
    done = threading.Event()

    def append() -> None:
        for seq in range(0, 6000, 20):
            # Each packet belongs to a conversation of its own, and to an old one.
            ports = [number.to_bytes(4, "big") for one in range(seq, seq + 20, 2) for number in (one, 0)]
            frames = [head + port + bytes(4) for port in ports]
            kept.append(FrameBatch.from_frames(frames, time_ns=list(range(seq, seq + 20))))

    def run() -> None:
        try:
            append()
        finally:
            done.set()

    thread = threading.Thread(target=run)
    thread.start()
    while not done.is_set():
        part = kept.rows(kept.next_seq - 50, kept.next_seq)
        assert part.time_ns.tolist() == list(range(part.first, part.first + len(part)))
        table = kept.conversations()
        assert table.bytes.sum() == table.packets.sum() * 42
    thread.join()
    table = kept.conversations()
    assert table.packets.sum() == 6000
    assert table.packets[0, 0] == 3001
    assert (table.packets[1:].sum(axis=1) == 1).all()


def test_reading_goes_on_while_the_oldest_packets_go(small_chunks: None) -> None:
    kept = PacketStore(limit_bytes=2_000_000)
    kept.add_interface(Interface("u1"))
    frames = FrameBatch.from_frames([bytes([number]) * 6000 for number in range(100)])
    done = threading.Event()

    def fill() -> None:
        for _ in range(300):
            kept.append(frames)
        done.set()

    filler = threading.Thread(target=fill)
    filler.start()
    read = 0
    while not done.is_set():
        first = kept.first_seq
        batch = kept.batch(first, first + 3)
        for index in range(len(batch)):
            frame = bytes(batch.frame(index))
            assert frame == frame[:1] * 6000
            read += 1
    filler.join()
    assert kept.evicted > 0
    assert read > 0
    kept.close()


def test_a_column_is_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `COLUMNS` holds is kept, filled and read back, without a word of it anywhere else."""
    twice = rows.Column(np.uint32, lambda new: new.batch.length * 2)
    monkeypatch.setitem(rows.COLUMNS, "length", twice)
    kept = PacketStore()
    try:
        kept.add_interface(Interface("u1"))
        kept.append(FrameBatch.from_frames([b"x" * 60, b"y" * 70]))
        assert kept.rows(0, 2).length.tolist() == [120, 140]
    finally:
        kept.close()


def test_observers_see_each_packet_once_and_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    class Lengths:
        def __init__(self) -> None:
            self.seen: list[int] = []

        def see(self, arrived: rows.Arrived) -> None:
            assert len(arrived.flow) == len(arrived.batch)
            self.seen += arrived.batch.length.tolist()

    monkeypatch.setattr(store, "standard", lambda: (Lengths(),))
    kept = PacketStore(limit_packets=1)
    try:
        kept.add_interface(Interface("u1"))
        for size in (60, 70, 80):
            kept.append(FrameBatch.from_frames([bytes(size), bytes(size + 1)]))
            kept.conversations()
        assert kept.observer(Lengths).seen == [60, 61, 70, 71, 80, 81]
        with pytest.raises(LookupError):
            kept.observer(TrafficCounter)
    finally:
        kept.close()
