import random

import numpy as np
import pytest

from qmon.packets.batch import NO_TIME, FrameBatch
from qmon.packets.store.conversations import NO_FLOW, REVERSED, Conversations
from qmon.packets.store.decode import decode
from tests.packets import reference, traffic
from tests.packets.frames import frame

ETHERNET = np.array([1], np.uint16)


def on(count: int, interface: int = 0) -> "np.ndarray[tuple[int], np.dtype[np.uint16]]":
    return np.full(count, interface, np.uint16)


class Slow:
    """Conversations counted one packet at a time."""

    def __init__(self) -> None:
        self.flows: dict[object, int] = {}
        self.rows: list[dict[str, object]] = []

    def add(self, one: bytes, time_ns: int) -> tuple[int, bool]:
        row = reference.decode(one, 1)
        if not row.version:
            return NO_FLOW, False
        sender, receiver = (row.source, row.source_port), (row.destination, row.destination_port)
        key = (row.version, row.protocol, frozenset((sender, receiver)))
        if key not in self.flows:
            self.flows[key] = len(self.flows)
            self.rows.append({"a": sender, "b": receiver, "packets": [0, 0], "bytes": [0, 0], "times": []})
        flow = self.flows[key]
        entry = self.rows[flow]
        back = sender != entry["a"]
        entry["packets"][back] += 1  # type: ignore[index]
        entry["bytes"][back] += len(one)  # type: ignore[index]
        entry["times"].append(time_ns)  # type: ignore[attr-defined]
        return flow, back


@pytest.mark.parametrize("batch_size", [1, 7, 3000])
def test_conversations_are_those_found_one_by_one(batch_size: int) -> None:
    rng = random.Random(batch_size)
    frames = [frame(rng) for _ in range(300 if batch_size == 1 else 3000)]
    times = [rng.randrange(1 << 60) for _ in frames]
    slow, table = Slow(), Conversations()
    expected = [slow.add(one, time_ns) for one, time_ns in zip(frames, times, strict=True)]
    got: list[tuple[int, bool]] = []
    for low in range(0, len(frames), batch_size):
        batch = FrameBatch.from_frames(frames[low : low + batch_size], time_ns=times[low : low + batch_size])
        flow = table.assign(decode(batch, ETHERNET), batch.interface)
        table.count(flow, batch.length, batch.time_ns)
        got += [(int(one) & NO_FLOW, bool(one & REVERSED)) for one in flow]
    assert got == expected
    whole = table.table()
    assert len(whole) == len(table) == len(slow.rows)
    for flow, entry in enumerate(slow.rows):
        one = whole[flow]
        assert one == table.one(flow)
        assert [one.packets_ab, one.packets_ba] == entry["packets"]
        assert [one.bytes_ab, one.bytes_ba] == entry["bytes"]
        assert (one.port_a, one.port_b) == (entry["a"][1], entry["b"][1])  # type: ignore[index]
        assert (one.first_ns, one.last_ns) == (min(entry["times"]), max(entry["times"]))  # type: ignore[call-overload]
        assert one.packets == sum(entry["packets"])  # type: ignore[call-overload]
        assert one.bytes == sum(entry["bytes"])  # type: ignore[call-overload]


def _udp(count: int) -> FrameBatch:
    head = bytes(12) + b"\x08\x00" + bytes.fromhex("4500001c0000000040110000c0a80001c0a80002")
    frames = [head + number.to_bytes(4, "big") + bytes(4) for number in range(count)]
    return FrameBatch.from_frames(frames)


def test_many_conversations_are_kept_apart() -> None:
    table = Conversations()
    headers = decode(_udp(50_000), ETHERNET)
    flow = table.assign(headers, on(50_000))
    assert flow.tolist() == list(range(50_000))
    assert (table.assign(headers, on(50_000)) == flow).all()
    table.count(flow, np.full(50_000, 60, np.uint32), np.arange(50_000))
    last = table.one(49_999)
    assert (last.protocol, last.address_a, last.port_a, last.port_b) == ("UDP", "192.168.0.1", 0, 49_999)


def test_equal_addresses_on_two_interfaces_are_two_conversations() -> None:
    table = Conversations()
    headers = decode(FrameBatch.concatenate([_udp(2)] * 3), ETHERNET)
    where = np.array([0, 0, 7, 7, 0, 0], np.uint16)
    flow = table.assign(headers, where)
    assert flow.tolist() == [0, 1, 2, 3, 0, 1]
    table.count(flow, np.full(6, 60, np.uint32), np.arange(6))
    whole = table.table()
    assert whole.interface.tolist() == [0, 0, 7, 7]
    assert [whole[flow].packets for flow in range(4)] == [2, 2, 1, 1]
    assert (table.one(3).interface, table.one(3).address_a) == (7, whole[1].address_a)
    assert whole.order_by("interface").tolist() == [2, 3, 0, 1]


def test_sorting() -> None:
    table = Conversations()
    flow = table.assign(decode(_udp(4), ETHERNET), on(4))
    table.count(flow[[0, 1, 1, 2, 2, 2, 3]], np.array([9, 1, 1, 5, 5, 5, 9], np.uint32), np.arange(7) * 10)
    whole = table.table()
    assert whole.order_by("packets").tolist() == [2, 1, 0, 3]
    assert whole.order_by("bytes").tolist() == [2, 0, 3, 1]
    assert whole.order_by("first_ns", descending=False).tolist() == [0, 1, 2, 3]
    assert whole.order_by("last_ns").tolist() == [3, 2, 1, 0]
    assert whole.order_by("duration").tolist() == [2, 1, 0, 3]
    assert whole.order_by("flow").tolist() == [3, 2, 1, 0]
    assert whole.order_by("protocol").tolist() == [0, 1, 2, 3]


def test_what_is_not_there() -> None:
    table = Conversations()
    assert len(table.table()) == 0
    with pytest.raises(IndexError):
        table.one(0)
    flow = table.assign(decode(FrameBatch.from_frames([b"", b"\xff" * 60]), ETHERNET), on(2))
    assert flow.tolist() == [NO_FLOW, NO_FLOW]
    table.count(flow, np.array([0, 60], np.uint32), np.array([1, 2]))
    assert len(table) == 0


def test_protocols_without_a_name_show_their_number() -> None:
    one = bytes(12) + b"\x08\x00" + bytes.fromhex("450000140000000040670000c0a80001c0a80002")
    table = Conversations()
    table.count(
        table.assign(decode(FrameBatch.from_frames([one]), ETHERNET), on(1)),
        np.array([34], np.uint32),
        np.array([5]),
    )
    assert table.one(0).protocol == "IP 103"


@pytest.mark.parametrize(
    ("times", "first", "last"), [([NO_TIME, 7, 9], 7, 9), ([NO_TIME] * 2, NO_TIME, NO_TIME)]
)
def test_packets_without_a_time_leave_the_times_of_the_others(
    times: list[int], first: int, last: int
) -> None:
    table = Conversations()
    batch = FrameBatch.from_frames([traffic.frames()["udp"]] * len(times), time_ns=times)
    table.count(table.assign(decode(batch, ETHERNET), batch.interface), batch.length, batch.time_ns)
    one = table.one(0)
    assert (one.packets, one.first_ns, one.last_ns) == (len(times), first, last)
    assert table.table().order_by("duration").tolist() == [0]
