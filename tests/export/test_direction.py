"""One direction of the frames, beside another filter."""

import numpy as np

from qmon.export.direction import Directed
from qmon.packets.batch import Direction, FrameBatch
from qmon.packets.filters.capture_filter import compile_filter

ARP = b"\xff" * 6 + b"\x52\x54\x00\x12\x34\x56" + b"\x08\x06" + bytes(46)
IP = b"\xff" * 6 + b"\x52\x54\x00\x12\x34\x56" + b"\x08\x00" + b"\x45" + bytes(45)


def batch() -> FrameBatch:
    both = FrameBatch.from_frames([ARP, ARP, IP, IP])
    directions = np.array([Direction.IN, Direction.OUT, Direction.OUT, Direction.UNKNOWN], np.uint8)
    return FrameBatch(
        both.data,
        both.offset,
        both.captured,
        both.length,
        both.time_ns,
        both.interface,
        directions,
        both.position,
    )


def test_alone_it_keeps_one_direction() -> None:
    assert Directed(Direction.OUT).mask(batch(), 1).tolist() == [False, True, True, False]
    assert Directed(Direction.IN).mask(batch(), 1).tolist() == [True, False, False, False]
    assert Directed(Direction.IN).expression == ""


def test_with_another_filter_both_must_agree() -> None:
    directed = Directed(Direction.OUT, compile_filter("arp"))
    assert directed.mask(batch(), 1).tolist() == [False, True, False, False]
    assert directed.expression == "arp"
