"""What frames prove of addresses, and what they do not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6ND_NS, IPv6
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Packet

from qmon.packets.analysis.addresses import PER_MAC, AddressBook, Source
from qmon.packets.batch import Direction, FrameBatch, Interface

MAC, OTHER = "52:54:00:00:00:01", "52:54:00:00:00:02"
LINK = Ether(src=MAC, dst=OTHER)
U1 = (Interface("u0"), Interface("u1"))


def book_of(*packets: Packet, direction: Direction = Direction.OUT) -> AddressBook:
    book = AddressBook()
    frames = [bytes(packet) for packet in packets]
    times = range(1, len(frames) + 1)
    book.see(FrameBatch.from_frames(frames, time_ns=list(times), interface=1, direction=direction), U1)
    return book


def known(book: AddressBook, mac: str = MAC) -> dict[str, str]:
    return {one.address: one.source for one in book.of("u1", mac)}


def lease(kind: str) -> Packet:
    reply = BOOTP(op=2, chaddr=bytes.fromhex("525400000001"), yiaddr="10.0.2.15")
    options = [("lease_time", 60), ("message-type", kind), "end"]
    return (
        Ether(src=OTHER, dst=MAC)
        / IP(src="10.0.2.2")
        / UDP(sport=67, dport=68)
        / reply
        / DHCP(options=options)
    )


@pytest.mark.parametrize(
    ("packet", "expected"),
    [
        (LINK / IP(src="10.0.2.15", dst="1.1.1.1") / UDP(), {"10.0.2.15": "traffic"}),
        (LINK / Dot1Q(vlan=3) / IP(src="10.0.2.15", dst="1.1.1.1") / UDP(), {"10.0.2.15": "traffic"}),
        (LINK / ARP(op=1, hwsrc=MAC, psrc="10.0.2.15", pdst="10.0.2.2"), {"10.0.2.15": "arp"}),
        (
            LINK / IPv6(src="fe80::1", dst="ff02::1") / ICMPv6ND_NA(tgt="fec0::7"),
            {"fe80::1": "traffic", "fec0::7": "nd"},
        ),
        (LINK / IPv6(src="::", dst="ff02::1:ff00:7") / ICMPv6ND_NS(tgt="fec0::7"), {"fec0::7": "nd"}),
        (LINK / IPv6(src="fe80::1", dst="ff02::1:ff00:7") / ICMPv6ND_NS(tgt="fec0::7"), {"fe80::1": "nd"}),
        # A probe, a question without an address, groups and loopback prove nothing.
        (LINK / ARP(op=1, hwsrc=MAC, psrc="0.0.0.0", pdst="10.0.2.15"), {}),
        (LINK / IP(src="0.0.0.0", dst="255.255.255.255") / UDP(), {}),
        (LINK / IP(src="224.0.0.1", dst="1.1.1.1") / UDP(), {}),
        (LINK / IP(src="127.0.0.1", dst="1.1.1.1") / UDP(), {}),
    ],
)  # fmt: skip
def test_what_the_guest_sent(packet: Packet, expected: dict[str, str]) -> None:
    assert known(book_of(packet)) == expected
    assert known(book_of(packet, direction=Direction.IN)) == {}


def test_only_an_acknowledged_lease_counts() -> None:
    assert known(book_of(lease("ack"), direction=Direction.IN)) == {"10.0.2.15": "dhcp"}
    assert known(book_of(lease("offer"), direction=Direction.IN)) == {}


def test_the_stronger_source_stays_and_the_later_time() -> None:
    book = book_of(lease("ack"), direction=Direction.IN)
    version = book.version
    traffic = LINK / IP(src="10.0.2.15", dst="1.1.1.1")
    later = FrameBatch.from_frames([bytes(traffic)], time_ns=9, interface=1, direction=Direction.OUT)
    book.see(later, U1)
    (one,) = book.of("u1", MAC)
    assert (one.source, one.seen_ns) == (Source.DHCP, 9)
    assert book.version == version


def test_many_frames_of_few_and_of_many_addresses() -> None:
    same = [LINK / IP(src=f"10.0.0.{i % 3 + 1}", dst="1.1.1.1") for i in range(99)]
    book = book_of(*same)
    assert [(one.address, one.seen_ns) for one in book.of("u1", MAC)] == [
        ("10.0.0.1", 97), ("10.0.0.2", 98), ("10.0.0.3", 99),
    ]  # fmt: skip
    different = [LINK / IP(src=f"10.0.{i}.1", dst="1.1.1.1") for i in range(100)]
    assert len(known(book_of(*different))) == PER_MAC


@given(st.lists(st.binary(max_size=120), max_size=20), st.sampled_from(Direction))
def test_any_bytes_are_taken(frames: list[bytes], direction: Direction) -> None:
    batch = FrameBatch.from_frames(frames, interface=1, direction=direction)
    AddressBook().see(batch, U1)
    AddressBook().see(batch.select(np.zeros(len(batch), np.bool_)), U1)
