import random
from collections import Counter

import numpy as np

from qmon.packets.batch import NO_TIME, Direction
from qmon.packets.store.traffic import SECOND_NS, TrafficCounter


def test_counts_are_those_of_a_slow_count() -> None:
    rng = random.Random(4)
    counter, slow = TrafficCounter(), Counter[tuple[int, int, int, str]]()
    for _ in range(30):
        n = rng.randrange(1, 200)
        time_ns = [
            rng.choice((5, 6, 7, rng.randrange(-50, 1 << 33))) * SECOND_NS + rng.randrange(SECOND_NS)
            for _ in range(n)
        ]
        interface = [rng.randrange(3) for _ in range(n)]
        direction = [rng.randrange(3) for _ in range(n)]
        length = [rng.randrange(1 << 32) for _ in range(n)]
        counter.count(
            np.array(time_ns),
            np.array(interface, np.uint16),
            np.array(direction, np.uint8),
            np.array(length, np.uint32),
        )
        for row in zip(interface, time_ns, direction, length, strict=True):
            key = (row[0], row[1] // SECOND_NS, row[2])
            slow[(*key, "packets")] += 1
            slow[(*key, "bytes")] += row[3]
    for interface_index in range(3):
        traffic = counter.of(interface_index)
        seconds = sorted({key[1] for key in slow if key[0] == interface_index})
        assert traffic.second.tolist() == seconds
        ways = {Direction.IN: "in", Direction.OUT: "out", Direction.UNKNOWN: "unknown"}
        for way, name in ways.items():
            for what in ("packets", "bytes"):
                expected = [slow[interface_index, second, int(way), what] for second in seconds]
                assert getattr(traffic, f"{name}_{what}").tolist() == expected


def test_an_interface_without_traffic() -> None:
    counter = TrafficCounter()
    counter.count(
        np.zeros(0, np.int64), np.zeros(0, np.uint16), np.zeros(0, np.uint8), np.zeros(0, np.uint32)
    )
    assert len(counter.of(7).second) == 0


def test_what_has_no_time_is_in_no_second() -> None:
    counter = TrafficCounter()
    none = np.zeros(2, np.uint8)
    counter.count(np.array([NO_TIME, SECOND_NS]), none.astype(np.uint16), none, np.array([60, 70], np.uint32))
    traffic = counter.of(0)
    assert (traffic.second.tolist(), traffic.unknown_bytes.tolist()) == ([1], [70])
