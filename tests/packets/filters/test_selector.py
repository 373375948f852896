"""What a filter is to those who use it: a mask, its expression, and an error that says where it goes wrong."""

from __future__ import annotations

import time

import numpy as np
import pytest

from qmon.packets.batch import Direction, FrameBatch, Interface
from qmon.packets.filters.selector import AllOf, OneWay, Selector, WrongExpression, excerpt
from qmon.packets.filters.words import selector_of
from qmon.packets.store.packet_store import PacketStore
from tests.packets.traffic import frames

ARP, UDP = frames()["arp who-has"], frames()["udp"]
BOTH_WAYS = FrameBatch.from_frames(
    [ARP, ARP, UDP, UDP], direction=[Direction.IN, Direction.OUT, Direction.OUT, Direction.UNKNOWN]
)
ETHERNET = (Interface(),)


def chosen(words: str) -> Selector:
    selector = selector_of(words)
    assert selector is not None
    return selector


def test_no_words_select_nothing_in_particular() -> None:
    assert selector_of("  ") is None
    assert selector_of(()) is None
    assert chosen(" arp ").expression == "arp"
    assert chosen(" arp ").language == "capture filter"


def test_one_direction() -> None:
    assert OneWay(Direction.OUT).mask(BOTH_WAYS, ETHERNET).tolist() == [False, True, True, False]
    assert OneWay(Direction.OUT).expression == ""


def test_all_of_several() -> None:
    both = AllOf((chosen("arp"), OneWay(Direction.OUT)))
    assert both.mask(BOTH_WAYS, ETHERNET).tolist() == [False, True, False, False]
    assert both.expression == "arp"
    written = AllOf((chosen("arp"), chosen("greater 10 or icmp")))
    assert written.expression == "(arp) and (greater 10 or icmp)"
    assert (
        chosen(written.expression).mask(BOTH_WAYS, ETHERNET).tolist()
        == written.mask(BOTH_WAYS, ETHERNET).tolist()
    )
    assert AllOf(()).mask(BOTH_WAYS, ETHERNET).all()


def test_all_of_several_must_be_possible() -> None:
    cisco = (Interface(link_type=104),)
    chosen("arp").require(ETHERNET)
    with pytest.raises(WrongExpression):
        AllOf((OneWay(Direction.OUT), chosen("ether broadcast"))).require((Interface(link_type=101),))
    AllOf((OneWay(Direction.OUT),)).require(cisco)


def test_over_a_store() -> None:
    store = PacketStore()
    try:
        store.add_interface(Interface("u1"))
        store.append(BOTH_WAYS)
        assert chosen("udp").seqs(store, 0, 4).tolist() == [2, 3]
        assert chosen("udp").seqs(store, 3, 99).tolist() == [3]
        assert chosen("udp").seqs(store, 4, 9).tolist() == []
    finally:
        store.close()


@pytest.mark.parametrize(
    ("expression", "word"),
    [
        ("tcp prot 80", "prot"),
        ("tcp and and udp", "and"),
        ("tcp)", ")"),
        ("tcp port 80 and port foo or arp", "foo"),
        ("port 80 and port 99999", "99999"),
        ("dst port 80 90", "90"),
        ("host 10.0.0.1 and (tcp or udpp) and port 80", "udpp"),
        ("tcp[tcpflags] & tcp-foo != 0", "tcp-foo"),
        ("tcp[13] & 2 != 0 and ip[9 = 6", "="),
        ("src 1.2.3.4 foo", "foo"),
        ("arp @", "@"),
        ("net 10.0.0.0/8 and host 300.1.1.1", "300.1.1.1"),
        ("vlan 99999", "99999"),
        ("host nobody.example", "nobody.example"),
        ("tcp \x1b[31m", "\x1b"),
    ],
)
def test_a_mistake_is_found_where_it_stands(expression: str, word: str) -> None:
    with pytest.raises(WrongExpression) as caught:
        selector_of(expression)
    error = caught.value
    assert error.at == expression.rindex(word)
    assert error.word
    assert expression[error.at :].startswith(error.word)


@pytest.mark.parametrize(
    "expression", ["tcp port", "(tcp or udp", "tcp port 80 or", "not", "ip[0", "ip[0] ="]
)
def test_what_is_missing_at_the_end_is_said(expression: str) -> None:
    with pytest.raises(WrongExpression, match="missing at its end") as caught:
        selector_of(expression)
    assert caught.value.at == len(expression)
    assert caught.value.word == ""


def test_what_has_no_place_has_none() -> None:
    with pytest.raises(WrongExpression, match="rejects all packets") as caught:
        selector_of("tcp and icmp")
    assert caught.value.at is None


def test_long_expressions_end_soon_and_are_not_repeated() -> None:
    ports = " or ".join(f"port {number}" for number in range(1, 8001))
    before = time.process_time()
    with pytest.raises(WrongExpression, match="8000 terms") as caught:
        selector_of(ports)
    # Without a bound this takes minutes; the test says no more than that it does not.
    assert time.process_time() - before < 5
    assert len(str(caught.value)) < 400
    assert caught.value.hint is not None
    assert "portrange" in caught.value.hint


def test_many_ports_still_work() -> None:
    ports = [5353, *range(20_000, 20_100)]
    batch = FrameBatch.from_frames([ARP, frames()["dns query"]])
    selector = chosen(" or ".join(f"udp port {number}" for number in ports))
    assert selector.mask(batch, ETHERNET).tolist() == [False, False]
    selector = chosen(" or ".join(f"udp port {number}" for number in (*ports, 53)))
    assert selector.mask(batch, ETHERNET).tolist() == [False, True]


def test_an_excerpt_shows_the_place() -> None:
    assert excerpt("tcp\x1b") == "tcp\\x1b"
    long = "a" * 100 + "HERE" + "b" * 100
    assert excerpt(long).endswith("a…")
    assert "HERE" in excerpt(long, 100)
    assert excerpt(long, 100).startswith("…a")
    assert excerpt(long, 203).endswith("bb")


def test_numbers_of_packets_fit_the_mask() -> None:
    assert np.flatnonzero(chosen("arp").mask(BOTH_WAYS, ETHERNET)).tolist() == [0, 1]
