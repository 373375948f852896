"""Who asks: addresses, and what is answered to whom."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet6 import ICMPv6ND_NS, IPv6
from scapy.layers.l2 import ARP, Ether

from qmon.errors import UsageError
from qmon.wire import neighbour
from qmon.wire.layers import frame_of, read
from qmon.wire.neighbour import Neighbour, made_up_mac, parse_source

US = Neighbour("02:71:6d:00:00:01", "10.0.2.254")
GUEST = "52:54:00:12:34:56"


def test_its_addresses() -> None:
    assert made_up_mac("web", "u1") == made_up_mac("web", "u1") != made_up_mac("web", "u2")
    assert int(made_up_mac("web", "u1")[:2], 16) & 3 == 2
    assert US.address6 == "fe80::71:6dff:fe00:1"
    assert parse_source("10.0.2.9", US.mac) == Neighbour(US.mac, "10.0.2.9", made_up=False)
    assert parse_source("10.0.2.9,02:AA:bb:cc:dd:ee", US.mac).mac == "02:aa:bb:cc:dd:ee"
    for wrong in ("", "10.0.2", "fe80::1", "10.0.2.9,x", "10.0.2.9,01:00:5e:00:00:01"):
        with pytest.raises(UsageError):
            parse_source(wrong, US.mac)


def reply_to(packet: object) -> object:
    return neighbour._reply(read(bytes(packet)), US)  # type: ignore[call-overload]


def test_those_who_ask_for_it_are_answered_and_probes_are_not() -> None:
    link = Ether(src=GUEST, dst="ff:ff:ff:ff:ff:ff")
    asked = ARP(op=1, hwsrc=GUEST, psrc="10.0.2.15", pdst=US.address)
    answer = reply_to(link / asked)
    assert (answer.dst, answer[ARP].op, answer[ARP].hwsrc, answer[ARP].psrc) == (GUEST, 2, US.mac, US.address)
    assert len(frame_of(answer)) == 60
    # Who is about to take the address gets it; nobody else's is answered for; our own question is none.
    assert reply_to(link / ARP(op=1, hwsrc=GUEST, psrc="0.0.0.0", pdst=US.address)) is None
    assert reply_to(link / ARP(op=1, hwsrc=GUEST, psrc="10.0.2.15", pdst="10.0.2.2")) is None
    assert reply_to(link / ARP(op=2, hwsrc=GUEST, psrc="10.0.2.15", pdst=US.address)) is None
    assert reply_to(Ether(src=US.mac, dst="ff:ff:ff:ff:ff:ff") / asked) is None
    solicited = link / IPv6(src="fe80::9", dst="ff02::1:ff00:1") / ICMPv6ND_NS(tgt=US.address6)
    assert reply_to(solicited)[IPv6].dst == "fe80::9"
    assert reply_to(link / IPv6(src="::", dst="ff02::1:ff00:1") / ICMPv6ND_NS(tgt=US.address6)) is None


@given(st.binary(max_size=200))
def test_any_bytes_are_read(frame: bytes) -> None:
    packet = read(frame)
    if packet is not None:
        neighbour._reply(packet, US)
