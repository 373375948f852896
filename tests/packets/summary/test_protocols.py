"""Protocols are named as by tshark where their first bytes prove them, and not by their port where they do not."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path

import pytest

from qmon.packets.summary import link, summarise
from qmon.packets.summary.streams import PORTS
from qmon.packets.summary.transport import UDP_PORTS
from tests.packets.summary.test_statements import ip, segment
from tests.packets.summary.tshark import columns, ours, tshark
from tests.packets.traffic import write_pcap


def datagram(payload: bytes, server: int) -> bytes:
    return ip(17, struct.pack(">HHHH", 51111, server, 8 + len(payload), 0) + payload)


def little(form: str, *values: int) -> bytes:
    return struct.pack("<" + form, *values)


SMB2 = b"\xfeSMB\x40\0" + bytes(6) + b"\x03\0" + bytes(50)
SMB = b"\xffSMB\x72" + bytes(4) + b"\x18" + bytes(22) + b"\0\0\0"
CIP = b"\x0e\x03\x20\x01\x24\x01\x30\x01"
ENCAPSULATED = bytes(6) + b"\2\0" + bytes(4) + b"\xb2\0" + little("H", len(CIP)) + CIP
LDAP = bytes.fromhex("300c0201016007020103040080 00".replace(" ", ""))
# What each segment is to its server's port.
SEGMENTS = {
    "Modbus/TCP": (502, bytes.fromhex("000100000006ff0300000001")),
    "SMB2": (445, struct.pack(">I", len(SMB2)) + SMB2),
    "SMB": (139, struct.pack(">I", len(SMB)) + SMB),
    "NBSS": (139, b"\x85\0\0\0"),
    "DNP 3.0": (20000, bytes.fromhex("056405c00100000091f8")),
    "IEC 60870-5-104": (2404, bytes.fromhex("680407000000")),
    "S7COMM": (102, bytes.fromhex("0300001902f08032010000ccc100080000f0000001000101e0")),
    "CIP": (44818, little("HHII", 0x6F, len(ENCAPSULATED), 1, 0) + bytes(12) + ENCAPSULATED),
    "ENIP": (44818, little("HHII", 0x65, 4, 0, 0) + bytes(12) + b"\1\0\0\0"),
    "MQTT": (1883, bytes.fromhex("100c00044d5154540402003c0000")),
    "PGSQL": (5432, b"Q\0\0\0\x0dselect 1\0"),
    "RESP": (6379, b"*1\r\n$4\r\nPING\r\n"),
    "AMQP": (5672, b"AMQP\0\0\x09\1"),
    "LDAP": (389, LDAP),
    "RTSP": (554, b"OPTIONS rtsp://10.0.2.2/ RTSP/1.0\r\nCSeq: 1\r\n\r\n"),
    "TELNET": (23, b"\xff\xfd\x18\xff\xfd\x20"),
    "FTP": (21, b"USER anonymous\r\n"),
    "SMTP": (25, b"EHLO guest\r\n"),
    "VNC": (5900, b"RFB 003.008\n"),
    "OpenFlow": (6633, bytes.fromhex("0100000800000001")),
    "BitTorrent": (6881, b"\x13BitTorrent protocol" + bytes(48)),
    "HTTP": (80, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    "NFS": (2049, struct.pack(">10I", 0x80000028 - 4 + 4, 1, 0, 2, 100003, 3, 0, 0, 0, 0) + bytes(4)),
}
DATAGRAMS = {
    "RADIUS": (1812, b"\1\1\0\x14" + bytes(16)),
    "RIPv2": (520, b"\2\2\0\0\0\2\0\0\n\0\0\0\xff\0\0\0" + bytes(4) + b"\0\0\0\1"),
    "WireGuard": (51820, b"\4\0\0\0" + bytes(28)),
    "DTLSv1.2": (5684, bytes.fromhex("17fefd0001000000000001 0020".replace(" ", "")) + bytes(range(32))),
    "ISAKMP": (4500, bytes(4) + bytes(range(1, 17)) + b"\x21\x20\x22\x08" + bytes(4) + b"\0\0\0\x1c"),
    "ESP": (4500, bytes.fromhex("0102030400000001") + bytes(40)),
    "OpenVPN": (1194, b"\x38" + bytes(range(8)) + b"\0\0\0\0\0"),
    "SIP": (5060, b"OPTIONS sip:a@10.0.2.2 SIP/2.0\r\nVia: x\r\n\r\n"),
    "CoAP": (5683, bytes.fromhex("40010001")),
    "BFD Control": (
        3784,
        bytes.fromhex("20c0031800000001000000000001000000010000 00000000".replace(" ", "")),
    ),
    "PTPv2": (319, b"\0\2\0\x2c" + bytes(40)),
    "CLDAP": (389, LDAP),
    "Portmap": (111, struct.pack(">10I", 1, 0, 2, 100000, 2, 0, 0, 0, 0, 0)),
    "GTP <UDP>": (2152, bytes.fromhex("30ff001c") + bytes(4) + ip(17, struct.pack(">HHHH", 1, 2, 8, 0))[14:]),
    "L2TP": (1701, bytes.fromhex("c802000c0001000000000000")),
    "KRB5": (
        88,
        bytes.fromhex("7e1b3019a003020105a10302011ea40f180d3230323631313235313230 3030".replace(" ", ""))[
            :29
        ],
    ),
    "SYNCHROPHASOR": (4713, bytes.fromhex("aa410012003c00000000000000000002ce00")),
}


def _compare(names: Iterable[str], path: Path) -> None:
    mine, theirs = ours(path), tshark(path)
    assert [one.protocol for one in mine] == list(names)
    assert [columns(one) for one in mine] == [columns(one) for one in theirs]


def test_segments_as_in_tshark(tmp_path: Path) -> None:
    path = write_pcap(tmp_path / "segments.pcap", [segment(one, port) for port, one in SEGMENTS.values()])
    _compare(SEGMENTS, path)


def test_datagrams_as_in_tshark(tmp_path: Path) -> None:
    path = write_pcap(tmp_path / "datagrams.pcap", [datagram(one, port) for port, one in DATAGRAMS.values()])
    _compare(DATAGRAMS, path)


# Random bytes: what has a port of one of these must not be called what it is not.
NOISE = bytes.fromhex("b1e7439a5c20d8f36e914b07aac5fd1278e43b96")
BY_PORT_ALONE = {53, 67, 68, 69, 123, 137, 138, 161, 162, 514, 546, 547, 1900, 4789, 5353, 5355, 6081, 4500}


@pytest.mark.parametrize("port", sorted(set(PORTS) - {22}))
def test_noise_on_a_port_is_tcp(port: int) -> None:
    assert summarise(segment(NOISE, port), 1).protocol == "TCP"


@pytest.mark.parametrize("port", sorted(set(UDP_PORTS) - BY_PORT_ALONE))
def test_noise_on_a_port_is_udp(port: int) -> None:
    assert summarise(datagram(NOISE, port), 1).protocol == "UDP"


def test_a_http_message_that_goes_on_is_tcp() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n"
    summary = summarise(segment(head + bytes(1400), 80, answer=True), 1)
    assert (summary.protocol, summary.info) == ("TCP", "HTTP/1.1 200 OK [goes on in the next segment]")
    whole = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
    assert summarise(segment(whole, 80, answer=True), 1).protocol == "HTTP/JSON"


def test_what_a_ring_of_fibre_carries() -> None:
    frame = b"\x50" + bytes(range(12)) + b"\xaa\xaa\3\0\0\0\x08\0" + segment(b"", 80)[14:]
    assert 10 in link.LINKS
    assert summarise(frame, 10).protocol == "TCP"
