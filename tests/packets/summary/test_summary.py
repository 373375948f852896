"""What is said about a packet is what Wireshark's list says: compared with tshark, field by field."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from qmon.packets.summary import Summary, link, summarise
from qmon.packets.summary.line import Line
from qmon.text import plain
from tests.packets.summary.tshark import columns, ours, tshark
from tests.packets.traffic import damaged, frames, write_pcap

FIXTURES = sorted((Path(__file__).parents[3] / "fixtures").glob("*/captures/*.pcap"))
NAMES = sorted(frames())
# Alone, a packet does not tell these: tshark reassembles streams and datagrams, and guesses by ports we do not.
DIFFERENT = {
    "udp no checksum",  # Port 2222 is EtherNet/IP's to tshark.
}


def test_columns_as_in_tshark(tmp_path: Path) -> None:
    path = write_pcap(tmp_path / "all.pcap", list(frames().values()))
    pairs = zip(frames(), ours(path), tshark(path), strict=True)
    different = {
        name: (mine, theirs)
        for name, mine, theirs in pairs
        if columns(mine) != columns(theirs) and name not in DIFFERENT
    }
    assert not different


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: f"{path.parts[-3]}-{path.stem}")
def test_recorded_captures(path: Path) -> None:
    """Apart from what tshark reassembles (parts of a HTTP answer, of a large ping), all is the same."""
    for number, (mine, theirs) in enumerate(zip(ours(path), tshark(path), strict=True), 1):
        if columns(mine) != columns(theirs):
            assert columns(mine)[:2] == columns(theirs)[:2], number
            assert {mine.protocol, theirs.protocol} in ({"TCP", "HTTP"}, {"IPv4", "ICMP"}), (
                number,
                mine,
                theirs,
            )


def test_the_fixtures_are_there() -> None:
    assert len(FIXTURES) >= 9


# Of the damaged frames those that tshark names otherwise, by what qmon says: mostly it looks further into bytes that
# are cut or wrong, and some it names by a port. Each is known; one that is not in here is to be looked at.
NAMED_OTHERWISE = {
    "HTTP": {90, 91, 92, 93, 95, 97, 98, 100, 103},
    "TCP": {115, 94, 99, 479},
    "TLSv1.2": {117, 118, 122, 123},
    "SSH": {128, 130},
    "SSHv2": {131},
    "IPv4": {138, 142, 217, 218, 296, 371, 523, 601},
    "UDP": {141, 286, 305, 359, 390},
    "IGMP": {181},
    "XNS": {213},
    "IPv6": {467},
    "Ethernet": {552, 572},
    "PPP": {579},
}


def test_damaged_frames_are_named_as_tshark_does_but_for_known_ones(tmp_path: Path) -> None:
    path = write_pcap(tmp_path / "damaged.pcap", list(damaged()))
    pairs = zip(ours(path), tshark(path), strict=True)
    others: dict[str, set[int]] = {}
    for number, (mine, theirs) in enumerate(pairs):
        if columns(mine) != columns(theirs):
            others.setdefault(mine.protocol, set()).add(number)
    new = {protocol: numbers - NAMED_OTHERWISE.get(protocol, set()) for protocol, numbers in others.items()}
    assert {protocol: numbers for protocol, numbers in new.items() if numbers} == {}


@pytest.mark.parametrize(
    ("name", "info"),
    [
        ("arp who-has", "Who has 10.0.2.2? Tell 10.0.2.15"),
        ("arp is-at", "10.0.2.2 is at 52:55:0a:00:02:02"),
        ("arp probe", "Who has 10.0.2.15? (ARP Probe)"),
        ("arp announcement", "ARP Announcement for 10.0.2.15"),
        ("tcp syn", "40000 → 80 [SYN] Seq=1000 Win=8192 Len=0 MSS=1460 SACK_PERM TSval=1 TSecr=0 WS=128"),
        ("udp", "51111 → 7777 Len=7"),
        ("icmp echo", "Echo (ping) request  id=0x0005, seq=1/256"),
        ("icmp port unreachable", "Destination unreachable (Port unreachable) for 10.0.2.15 udp/2"),
        (
            "dhcp discover",
            "DHCP Discover - Transaction ID 0x1234abcd, from 52:54:00:12:34:56, host name guest",
        ),
        (
            "dhcp offer",
            "DHCP Offer    - Transaction ID 0x1234abcd, gives 10.0.2.15 to 52:54:00:12:34:56, server 10.0.2.2",
        ),
        ("dns query", "Standard query 0x004d A demo.invalid"),
        ("dns answer", "Standard query response 0x004d A demo.invalid A 10.0.2.9 A 10.0.2.8"),
        ("dns nxdomain", "Standard query response 0x004d No such name A demo.invalid SOA a.root"),
        ("tftp read", "Read Request, File: boot.ipxe, Transfer type: octet, blksize=1432"),
        ("tftp error", "Error Code, Code: File not found, Message: File not found"),
        ("http get", "GET /boot.ipxe HTTP/1.1"),
        (
            "tls hello",
            "40013 → 443 [PSH, ACK] Seq=1000 Ack=2000 Win=8192 Len=142 [begins a TLS Client Hello (SNI=example.org)]",
        ),
        ("icmp6 ns", "Neighbor Solicitation for fec0::2 from 52:54:00:12:34:56"),
        ("ipv6 first fragment", "IPv6 fragment (off=0 more=y ident=0x00000005 nxt=17)"),
        ("unknown ethertype", "Ethernet II, type 0x1234, 46 bytes"),
    ],
)
def test_info(name: str, info: str) -> None:
    assert summarise(frames()[name], 1).info == info


def test_length_counts_what_was_on_the_wire() -> None:
    frame = frames()["tcp push"]
    whole = summarise(frame, 1)
    assert summarise(frame[:54], 1, length=len(frame)).info == whole.info
    assert "[cut short by the capture]" in summarise(frame[:40], 1, length=len(frame)).info
    assert "[malformed]" in summarise(frame[:40], 1).info


def test_padding_is_no_payload() -> None:
    assert summarise(frames()["udp"] + bytes(11), 1).info == "51111 → 7777 Len=7"


def test_super_frame() -> None:
    frame = bytearray(frames()["tcp push"] + bytes(69_000))
    frame[16:18] = b"\0\0"  # Its length is left to the network card.
    assert summarise(bytes(frame), 1).info.endswith(f"Len={len(frame) - 54}")


@pytest.mark.parametrize(
    ("link_type", "head", "protocol"),
    [
        (0, b"\2\0\0\0", "UDP"),
        (101, b"", "UDP"),
        (228, b"", "UDP"),
        (276, b"\x08\0" + bytes(18), "UDP"),
        (147, b"", "LINKTYPE 147"),
    ],
)
def test_link_types(link_type: int, head: bytes, protocol: str) -> None:
    assert summarise(head + frames()["udp"][14:], link_type).protocol == protocol


def test_notes_of_ours() -> None:
    frame = struct.pack(">HH8s4x", 12, 8, b"syslog") + b"<133>qmon change: link of nic1 set down"
    summary = summarise(frame, 252)
    assert columns(summary) == ("", "", "Syslog")
    assert summary.info == "LOCAL0.NOTICE: qmon change: link of nic1 set down"


def test_hostile_names_are_plain() -> None:
    frame = frames()["dhcp discover"].replace(b"guest", b"\x1b[2J\x07")
    info = summarise(frame, 1).info
    assert "\\x1b[2J\\x07" in info


def assert_plain(summary: Summary) -> None:
    for text in (summary.source, summary.destination, summary.protocol, summary.info):
        assert plain(text) == text
        assert len(text) < 2000


def assert_understood(summary: Summary) -> None:
    """The guard around the wording is for mistakes: none is known."""
    assert_plain(summary)
    assert not summary.info.endswith("[could not be read]"), summary


LINK_TYPES = sorted({*link.LINKS, *link.NAMES, 777})
HEADS = sorted({bytes(frame[:cut]) for frame in frames().values() for cut in (14, 18, 34, 42)})
# What stands before the network header, by link type; the payload then is a real one.
BEFORE_IP = {
    0: b"\2\0\0\0",
    9: b"\xff\3\0\x21",
    50: b"\x0f\0\x08\0",
    104: b"\x0f\0\x08\0",
    105: b"\x08\1\0\0" + bytes(20) + b"\xaa\xaa\3\0\0\0\x08\0",
    108: b"\0\0\0\2",
    113: bytes(14) + b"\x08\0",
    127: b"\0\0\x08\0\0\0\0\0\x08\1\0\0" + bytes(20) + b"\xaa\xaa\3\0\0\0\x08\0",
    252: b"\0\x0c\0\4ip\0\0\0\0\0\0",
    276: b"\x08\0" + bytes(18),
}


@pytest.mark.parametrize("link_type", LINK_TYPES)
@settings(max_examples=150)
@given(frame=st.binary(max_size=200))
@example(frame=b"")
@example(frame=bytes.fromhex("0f00fefe 00 ff 00000000".replace(" ", "")))
def test_any_bytes(link_type: int, frame: bytes) -> None:
    assert_understood(summarise(frame, link_type))


@pytest.mark.parametrize("link_type", LINK_TYPES)
@settings(max_examples=150)
@given(name=st.sampled_from(NAMES), data=st.data())
def test_mutated_frames_of_every_link_type(link_type: int, name: str, data: st.DataObject) -> None:
    head = BEFORE_IP.get(link_type, b"")
    frame = bytearray(head + frames()[name][0 if link_type == 1 else 14 :])
    for _ in range(data.draw(st.integers(0, 6))):
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    stop = data.draw(st.integers(0, len(frame)))
    assert_understood(summarise(bytes(frame[:stop]), link_type, length=len(frame)))


@settings(max_examples=400)
@given(st.sampled_from(HEADS), st.binary(max_size=120))
def test_any_bytes_behind_real_headers(head: bytes, rest: bytes) -> None:
    assert_understood(summarise(head + rest, 1))


def test_a_mistake_in_the_wording_costs_one_row(monkeypatch: pytest.MonkeyPatch) -> None:
    def mistaken(line: Line, at: int) -> None:
        line.set("ODD", "half")
        raise KeyError(at)

    monkeypatch.setitem(link.LINKS, 1, mistaken)
    summary = summarise(frames()["udp"], 1)
    assert (summary.protocol, summary.info) == ("ODD", "half [could not be read]")
