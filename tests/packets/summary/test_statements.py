"""Nothing is said about a packet that its bytes do not prove: frames that were once called something they are not.

Each is worded as tshark words it, where tshark says it of that frame alone.
"""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from qmon.packets.summary import summarise
from tests.packets.summary.tshark import columns, ours, tshark
from tests.packets.traffic import frames, write_pcap

_ENDS = bytes.fromhex("525400123456 52550a000202".replace(" ", ""))
_ports = iter(range(41000, 60000))


def segment(payload: bytes, server: int, *, answer: bool = False) -> bytes:
    """Return a TCP segment of a connection of its own."""
    ports = (server, next(_ports)) if answer else (next(_ports), server)
    tcp = struct.pack(">HHIIBBHHH", *ports, 1000, 2000, 0x50, 0x18, 8192, 0, 0)
    return ip(6, tcp + payload)


def ip(protocol: int, payload: bytes) -> bytes:
    head = struct.pack(
        ">BBHHHBBH8s", 0x45, 0, 20 + len(payload), 1, 0, 64, protocol, 0, b"\n\0\2\x0f\n\0\2\2"
    )
    return _ENDS[6:] + _ENDS[:6] + b"\x08\0" + head + payload


def ip6(following: int, payload: bytes) -> bytes:
    ends = bytes.fromhex("fec0") + bytes(13) + b"\x0f" + bytes.fromhex("fec0") + bytes(13) + b"\2"
    head = struct.pack(">IHBB", 6 << 28, len(payload), following, 64)
    return _ENDS[6:] + _ENDS[:6] + b"\x86\xdd" + head + ends + payload


def record(kind: int, content: bytes, version: int = 0x303) -> bytes:
    return struct.pack(">BHH", kind, version, len(content)) + content


def message(kind: int, content: bytes) -> bytes:
    return struct.pack(">I", kind << 24 | len(content)) + content


def hello(name: bytes, *, more: int = 0) -> bytes:
    """Return a Client Hello that names a server and has an extension of so many bytes behind that."""
    server = struct.pack(">HHHBH", 0, len(name) + 5, len(name) + 3, 0, len(name)) + name
    extensions = server + struct.pack(">HH", 51, more) + bytes(more)
    body = (
        b"\3\3"
        + bytes(32)
        + b"\0"
        + b"\0\2\x13\1"
        + b"\1\0"
        + struct.pack(">H", len(extensions))
        + extensions
    )
    return record(22, message(1, body), 0x301)


def ssh(number: int, size: int = 24) -> bytes:
    """Return an SSH packet before encryption."""
    return struct.pack(">IBB", size - 4, 6, number) + bytes(size - 6)


QUERY = bytes.fromhex("123401000001000000000000076578616d706c65036f72670000010001")
FINISHED = bytes(8) + bytes.fromhex("9f81c3a5d7e9fb0d1f31435567798b9dafc1d3e5f7091b2d3f516375")
SERVER_HELLO = message(
    2, b"\3\3" + bytes(32) + b"\0\x13\1\0" + bytes.fromhex("0006 002b00020304".replace(" ", ""))
)
CERTIFICATE = message(11, b"\0\0\0")
LONG = hello(b"example.org", more=1600)
ARP = bytes.fromhex("0001080006040001")
UDP = struct.pack(">HHHH", 51111, 7777, 8, 0)

ETHERNET = {
    "tls hello, whole": (segment(hello(b"example.org"), 443), "TLSv1", "Client Hello (SNI=example.org)"),
    "tls hello, first part": (
        segment(LONG[:1448], 443),
        "TCP",
        "[begins a TLS Client Hello (SNI=example.org)]",
    ),
    "tls hello, last part": (segment(LONG[1448:], 443), "TCP", f"Len={len(LONG) - 1448}"),
    "tls finished": (segment(record(22, FINISHED), 443), "TLSv1.2", "Encrypted Handshake Message"),
    "tls behind change cipher": (
        segment(record(20, b"\1") + record(22, message(0, b"")), 443),
        "TLSv1.2",
        "Change Cipher Spec, Encrypted Handshake Message",
    ),
    "tls hello request": (segment(record(22, message(0, b"")), 443, answer=True), "TLSv1.2", "Hello Request"),
    "tls server": (
        segment(record(22, SERVER_HELLO) + record(20, b"\1") + record(23, FINISHED), 443, answer=True),
        "TLSv1.3",
        "Server Hello, Change Cipher Spec, Application Data",
    ),
    "tls two messages in a record": (
        segment(record(22, message(14, b"") + message(0, b"")), 443, answer=True),
        "TLSv1.2",
        "Server Hello Done, Hello Request",
    ),
    "tls alert": (
        segment(record(21, b"\2\x28"), 443),
        "TLSv1.2",
        "Alert (Level: Fatal, Description: Handshake Failure)",
    ),
    "tls alert, encrypted": (segment(record(21, FINISHED), 443), "TLSv1.2", "Encrypted Alert"),
    "tls data, not whole": (segment(record(23, bytes(2000))[:1448], 443), "TCP", "Len=1448"),
    "tls data, more begun": (
        segment(record(23, bytes(100)) + record(23, bytes(2000))[:1000], 443),
        "TLSv1.2",
        "Application Data",
    ),
    "dns length alone": (segment(struct.pack(">H", len(QUERY)), 53), "TCP", "Len=2"),
    "dns in a stream": (
        segment(struct.pack(">H", len(QUERY)) + QUERY, 53),
        "DNS",
        "Standard query 0x1234 A example.org",
    ),
    "dns not whole": (segment(struct.pack(">H", 3000) + QUERY + bytes(1000), 53), "TCP", "Len=1031"),
    "ssh key exchange": (segment(ssh(20, 800), 22), "SSHv2", "Client: Key Exchange Init"),
    "ssh key exchange, first part": (segment(ssh(20, 2000)[:1448], 22), "TCP", "Len=1448"),
    "ssh new keys": (
        segment(ssh(21) + bytes(range(200, 232)), 22),
        "SSHv2",
        "Client: New Keys, Encrypted packet (len=32)",
    ),
    "ssh encrypted": (
        segment(bytes(range(130, 182)), 22, answer=True),
        "SSH",
        "Server: Encrypted packet (len=52)",
    ),
    "text on port 22": (segment(b"hello there, how are you?\r\n", 22), "TCP", "Len=27"),
    "llc, no stp": (
        b"\1\x80\xc2\0\0\0" + _ENDS[:6] + b"\0\x26\x42\xaa\3" + bytes(35),
        "LLC",
        "DSAP 0x42, SSAP 0xaa, control 0x03",
    ),
    "arp of two bytes": (
        frames()["arp who-has"][:12]
        + b"\x08\6"
        + bytes.fromhex("0001080001040001 b50a00020fb60a000202".replace(" ", "")),
        "ARP",
        "Who has 10.0.2.2? Tell 10.0.2.15",
    ),
    "arp reply, infiniband": (
        frames()["arp who-has"][:12]
        + b"\x08\6"
        + bytes.fromhex("0020080008040002")
        + bytes(range(8))
        + b"\n\0\2\2"
        + bytes(8)
        + b"\n\0\2\x0f",
        "ARP",
        "10.0.2.2 is at 00:01:02:03:04:05:06:07",
    ),
    "arp inverse": (
        frames()["arp who-has"][:12]
        + b"\x08\6"
        + ARP[:6]
        + b"\0\x09"
        + _ENDS[:6]
        + b"\n\0\2\x0f"
        + bytes(10),
        "Inverse ARP",
        "52:54:00:12:34:56 is at 10.0.2.15",
    ),
    "30 extension headers": (
        ip6(60, (b"\x3c\0\1\4" + bytes(4)) * 29 + b"\x11\0\1\4" + bytes(4) + UDP),
        "UDP",
        "51111 → 7777 Len=0",
    ),
}
_IP = frames()["udp"][14:]
OTHER_LINKS = {
    "cisco": (50, b"\x0f\0\x08\0" + _IP, "UDP"),
    "ppp": (50, b"\xff\3\0\x21" + _IP, "UDP"),
    "slarp": (
        50,
        b"\x8f\0\x80\x35" + bytes.fromhex("00000002000000010000000 0ffff".replace(" ", "")),
        "SLARP",
    ),
    "osi": (104, bytes.fromhex("0f00fefe0081") + bytes(20), "CLNP"),
}


# tshark goes by the port alone, or by half of the header.
DIFFERENT = {
    "tls hello, last part",
    "ssh key exchange",
    "ssh key exchange, first part",
    "ssh new keys",
    "text on port 22",
    "llc, no stp",
}


def test_ethernet_as_in_tshark(tmp_path: Path) -> None:
    path = write_pcap(tmp_path / "statements.pcap", [frame for frame, _, _ in ETHERNET.values()])
    pairs = zip(ETHERNET, ours(path), tshark(path), strict=True)
    different = {name: (mine, theirs) for name, mine, theirs in pairs if columns(mine) != columns(theirs)}
    assert set(different) == DIFFERENT


@pytest.mark.parametrize("name", ETHERNET)
def test_words(name: str) -> None:
    frame, protocol, info = ETHERNET[name]
    summary = summarise(frame, 1)
    assert summary.protocol == protocol
    assert summary.info.endswith(info)


@pytest.mark.parametrize("name", OTHER_LINKS)
def test_other_links(name: str, tmp_path: Path) -> None:
    link_type, frame, protocol = OTHER_LINKS[name]
    (told,) = tshark(write_pcap(tmp_path / "one.pcap", [frame], link_type=link_type))
    assert columns(summarise(frame, link_type))[2] == protocol == told.protocol


_A, _B, _C = (bytes.fromhex(f"52540000000{i}") for i in (1, 2, 3))
_LLC = b"\xaa\xaa\3\0\0\0\x08\0" + _IP
RADIO = {
    "beacon": b"\x80\0\0\0" + _A + _B + _C + b"\x10\2" + bytes(8) + b"\x64\0\x11\4\0\4home",
    "hidden": b"\x80\0\0\0" + _A + _B + _C + b"\x10\2" + bytes(8) + b"\x64\0\x11\4\0\0",
    "probe": b"\x40\0\0\0" + _A + _B + _C + b"\x10\2\0\4home",
    "deauthentication": b"\xc0\0\0\0" + _A + _B + _C + b"\x10\2\7\0",
    "acknowledgement": b"\xd4\0\0\0" + _A,
    "clear to send": b"\xc4\0\0\0" + _A,
    "request to send": b"\xb4\0\0\0" + _A + _B,
    "block ack request": b"\x84\0\0\0" + _A + _B + b"\4\0\x10\0",
    "block ack": b"\x94\0\0\0" + _A + _B + b"\4\0\x10\0" + bytes(8),
    "power save poll": b"\xa4\0\1\xc0" + _A + _B,
    "contention free end": b"\xe4\0\0\0" + _A + _B,
    "null function": b"\x48\1\0\0" + _A + _B + _C + b"\x10\2",
    "data": b"\x08\0\0\0" + _A + _B + _C + b"\x10\2" + _LLC,
    "data to the distribution system": b"\x08\1\0\0" + _A + _B + _C + b"\x10\2" + _LLC,
    "data between access points": b"\x08\3\0\0" + _A + _B + _C + b"\x10\2" + _B + _LLC,
    "data with a priority": b"\x88\2\0\0" + _A + _B + _C + b"\x10\2\0\0" + _LLC,
    "encrypted": b"\x08\x41\0\0" + _A + _B + _C + b"\x10\2" + bytes(40),
}


def test_radio_as_in_tshark(tmp_path: Path) -> None:
    path = write_pcap(tmp_path / "radio.pcap", list(RADIO.values()), link_type=105)
    for name, mine, theirs in zip(RADIO, ours(path), tshark(path), strict=True):
        assert columns(mine) == columns(theirs), name
        if mine.protocol == "802.11":
            assert mine.info == theirs.info, name


def test_radiotap_with_a_check_sum() -> None:
    head = b"\0\0\x0a\0\2\0\0\0\x10\0"
    frame = head + RADIO["data"] + bytes(4)
    assert summarise(frame, 127) == summarise(RADIO["data"], 105)
    acknowledged = summarise(head + RADIO["acknowledgement"] + bytes(4), 127)
    assert columns(acknowledged) == ("", "52:54:00:00:00:01 (RA)", "802.11")
    assert acknowledged.info == "Acknowledgement, Flags=........C"


def test_headers_far_behind_are_still_read() -> None:
    chain = (b"\x3c\0\1\4" + bytes(4)) * 900 + b"\x11\0\1\4" + bytes(4) + UDP
    assert summarise(ip6(60, chain), 1).info == "51111 → 7777 Len=0"


def test_what_is_too_long_is_said_to_be() -> None:
    chain = (b"\x3c\xff\1\4" + bytes(2044)) * 200
    frame = bytearray(ip6(60, b"") + chain)
    assert summarise(bytes(frame), 1).info == "[too long to be read]"
