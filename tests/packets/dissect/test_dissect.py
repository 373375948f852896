"""The tree's promises: ranges nest and never overlap, texts are plain, nothing raises, nothing takes long."""

from __future__ import annotations

import itertools
import os
import random
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from qmon.packets.dissect import Node, dissect, nodes
from qmon.packets.summary import link
from qmon.text import plain
from tests.packets.traffic import damaged, frames

NAMES = sorted(frames())
LINK_TYPES = sorted({*link.LINKS, *link.NAMES, 65535})


def assert_sound(root: Node, size: int) -> None:
    assert (root.start, root.stop) == (0, size)
    for node in root.walk():
        assert plain(node.label) == node.label
        assert plain(node.value) == node.value
        assert (node.start is None) == (node.stop is None)
        reached = None if node.start is None else node.start
        for child in node.children:
            if child.start is None or child.stop is None:
                assert all(below.start is None for below in child.walk())
                continue
            assert node.stop is not None, f"{child.label} has bytes, its parent {node.label} has none"
            assert reached is not None
            assert reached <= child.start <= child.stop <= node.stop, (node.label, child.label)
            reached = child.stop


def found(root: Node, *labels: str) -> Node:
    node = root
    for label in labels:
        node = next(child for child in node.children if child.label == label)
    return node


@pytest.mark.parametrize("name", NAMES)
def test_known_frames(name: str) -> None:
    frame = frames()[name]
    root = dissect(frame)
    assert_sound(root, len(frame))
    layers = [layer for layer in root.children if layer.start is not None]
    # Layer by layer the whole frame is covered, without holes.
    assert layers[0].start == 0
    assert layers[-1].stop == len(frame)
    for one, two in itertools.pairwise(layers):
        assert one.stop == two.start, (one.label, two.label)


def test_damaged_frames() -> None:
    for frame in damaged():
        assert_sound(dissect(frame), len(frame))


@pytest.mark.parametrize("link_type", LINK_TYPES)
@settings(max_examples=40)
@given(frame=st.binary(max_size=300))
@example(frame=b"")
@example(frame=b"\0")
def test_random_bytes(link_type: int, frame: bytes) -> None:
    assert_sound(dissect(frame, link_type), len(frame))


def test_a_mistake_in_the_dissection_leaves_the_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    def mistaken(*_: object) -> Node:
        raise KeyError

    monkeypatch.setattr(nodes, "root", mistaken)
    data = Node("Data", "64 bytes, could not be dissected", 0, 64)
    assert dissect(bytes(64)) == Node("Frame", "64 bytes", 0, 64, (data,))


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(NAMES), st.data())
def test_mutated_frames(name: str, data: st.DataObject) -> None:
    frame = bytearray(frames()[name])
    for _ in range(data.draw(st.integers(1, 8))):
        frame[data.draw(st.integers(12, len(frame) - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del frame[data.draw(st.integers(0, len(frame))) :]
    assert_sound(dissect(bytes(frame)), len(frame))


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 255), st.binary(max_size=200))
def test_random_payloads_behind_real_headers(seed: int, payload: bytes) -> None:
    name = NAMES[seed % len(NAMES)]
    frame = frames()[name][: 14 + seed % 40] + payload
    assert_sound(dissect(frame), len(frame))


def test_fields_have_their_bytes() -> None:
    root = dissect(frames()["tcp syn"])
    assert found(root, "Ethernet II", "Source") == Node("Source", "52:54:00:12:34:56", 6, 12)
    ports = found(root, "Transmission Control Protocol", "Source Port")
    assert (ports.start, ports.stop) == (34, 36)
    segment = found(root, "Transmission Control Protocol", "Options", "Maximum segment size")
    assert (segment.value, segment.start, segment.stop) == ("1460", 54, 58)


def test_bit_fields_share_a_group() -> None:
    internet = found(dissect(frames()["udp"]), "Internet Protocol Version 4")
    group = internet.children[0]
    assert (group.start, group.stop) == (14, 15)
    assert [(child.label, child.value, child.start) for child in group.children] == [
        ("Version", "4", None),
        ("Header Length", "20 bytes (5)", None),
    ]


def test_dns_records() -> None:
    frame = frames()["dns cname"]
    answers = found(dissect(frame), "Domain Name System", "Answers")
    names = [found(record, "Data") for record in answers.children]
    assert [name.value for name in names] == ["y.z.", "fec0::9"]
    assert frame[names[1].start : names[1].stop] == bytes.fromhex("fec0" + "00" * 13 + "09")


def test_compressed_names_keep_their_places() -> None:
    head = frames()["dns answer"][:42]
    message = (
        bytes.fromhex("000181800001000200000000")
        + b"\x01w\x01x\0\0\x01\0\x01"
        + bytes.fromhex("c00c00010001000000050004 0a000209".replace(" ", ""))
        + bytes.fromhex("c00c00050001000000050002c00c")
    )
    frame = (
        head[:16]
        + (28 + len(message)).to_bytes(2, "big")
        + head[18:38]
        + (8 + len(message)).to_bytes(2, "big")
    )
    frame += head[40:42] + message
    root = dissect(frame)
    assert_sound(root, len(frame))
    first, second = found(root, "Domain Name System", "Answers").children
    assert (found(first, "Name").value, found(first, "Name").start) == ("w.x.", 42 + 12 + 9)
    assert (found(second, "Data").start, found(second, "Data").stop) == (len(frame) - 2, len(frame))


def test_dhcp_options() -> None:
    options = found(dissect(frames()["dhcp request"]), "DHCP options", "Options")
    words = {option.label: option.value for option in options.children}
    assert words["Message-type (53)"] == "Request"
    assert words["Requested addr (50)"] == "10.0.2.15"
    assert words["Hostname (12)"] == "guest"


def test_groups_of_bits_are_called_by_what_they_say() -> None:
    for name, layer, labels in (
        ("vlan tcp", "802.1Q Virtual LAN", {"ID": "5"}),
        ("tcp syn", "Transmission Control Protocol", {"Flags": "SYN (0x2)"}),
        ("udp", "Internet Protocol Version 4", {"Version": "4", "Flags": "none (0x0)"}),
        ("dns answer", "Domain Name System", {"Flags": "0x81", "Reply code": "ok (0)"}),
    ):
        groups = {
            node.label: node.value for node in found(dissect(frames()[name]), layer).children if node.children
        }
        assert groups.items() >= labels.items(), name


def test_http_is_a_protocol() -> None:
    frame = frames()["http get"]
    message = found(dissect(frame), "Hypertext Transfer Protocol")
    assert_sound(dissect(frame), len(frame))
    assert [(node.label, node.value) for node in message.children[0].children] == [
        ("Request Method", "GET"),
        ("Request URI", "/boot.ipxe"),
        ("Request Version", "HTTP/1.1"),
    ]
    assert found(message, "Host").value == "demo.invalid"
    answer = found(dissect(frames()["http ok"]), "Hypertext Transfer Protocol")
    assert found(answer, "Status line", "Status Code").value == "200"
    assert found(answer, "Data").value == "4 bytes"


def test_lines_of_text() -> None:
    frame = frames()["http get"].replace(b"GET /boot.ipxe HTTP/1.1", b"220 this is not of HTTP")
    assert found(dissect(frame), "Text").children[0].value == "220 this is not of HTTP"


def test_hostile_text_is_plain() -> None:
    frame = frames()["http raw"].replace(b"Host: a", b"Host:\x1b[")
    assert_sound(dissect(frame), len(frame))
    nasty = frames()["dhcp request"].replace(b"guest", b"\x1b[2J\xff")
    root = dissect(nasty)
    assert_sound(root, len(nasty))


@pytest.mark.parametrize(
    ("name", "said"),
    [("tcp ack", "[correct]"), ("tcp bad checksum", "[wrong]"), ("udp no checksum", "[none]")],
)
def test_checksums(name: str, said: str) -> None:
    root = dissect(frames()[name])
    layer = "User Datagram Protocol" if "udp" in name else "Transmission Control Protocol"
    assert said in found(root, layer, "Checksum").value


def test_partial_checksum_is_no_error() -> None:
    frame = bytearray(frames()["tcp push"])
    pseudo = bytes(frame[26:34]) + bytes((0, 6, 0, len(frame) - 34))
    total = sum(int.from_bytes(pseudo[i : i + 2], "big") for i in range(0, 12, 2))
    frame[50:52] = ((total & 0xFFFF) + (total >> 16)).to_bytes(2, "big")
    value = found(dissect(bytes(frame)), "Transmission Control Protocol", "Checksum").value
    assert "left to the network card" in value


def test_super_frame() -> None:
    frame = frames()["tcp ack"] + bytes(69000)
    root = dissect(frame)
    assert_sound(root, len(frame))


def hostile_frames() -> dict[str, bytes]:
    ip = frames()["ipip"][14:34]
    header = frames()["dns query"][:42]
    v6 = frames()["ipv6 udp"][:54]
    chance = random.Random(5)
    pointer = header + bytes.fromhex("0001800000000fff00000000") + b"\xc0\x0c" * 4000
    names = (
        header
        + bytes.fromhex("000180000fff000000000000")
        + b"".join(b"\x3f" + chance.randbytes(63) + b"\xc0\x0c" for _ in range(120))
    )
    return {
        "nested ip": frames()["ipip"][:14] + ip * 400,
        "vlan tags": frames()["vlan tcp"][:12] + bytes.fromhex("81000005") * 2000,
        "dns pointers": pointer,
        "dns long names": names,
        "tcp options": frames()["tcp syn"][:46] + b"\xf0" + frames()["tcp syn"][47:54] + b"\x01" * 40,
        "dhcp options": frames()["dhcp discover"][:282] + b"\x0c\x01a" * 2500,
        "ipv6 options": v6[:20] + b"\0" + v6[21:] + b"\0\xff" + b"\0" * 2046,
        "ipv6 headers": v6[:20] + b"\0" + v6[21:] + bytes(8) * 1000,
        "dhcp6 options": frames()["dhcp6 solicit"][:66] + bytes.fromhex("00080000") * 2000,
        "lldp": frames()["lldp"][:14] + bytes.fromhex("0a00") * 4000,
        "sctp": frames()["sctp"][:46] + bytes.fromhex("00000004") * 2000,
        "mpls": frames()["mpls"][:14] + bytes.fromhex("00010040") * 2000,
    }


@pytest.mark.parametrize("name", sorted(hostile_frames()))
def test_hostile_frames_take_no_time(name: str) -> None:
    frame = hostile_frames()[name]
    dissect(b"")
    begun = time.thread_time()
    root = dissect(frame)
    assert time.thread_time() - begun < 2
    assert_sound(root, len(frame))
    assert sum(1 for _ in root.walk()) < 10_000


def test_scapy_leaves_no_trace(tmp_path: Path) -> None:
    """It is not loaded by the import; loading it writes nothing, opens no socket, prints nothing."""
    program = """
import sys
from qmon.packets.dissect import dissect
assert not any(name.partition('.')[0] == 'scapy' for name in sys.modules)
opened = []
sys.addaudithook(lambda event, arguments: opened.append((event, arguments)) if event.startswith('socket.') else None)
root = dissect(bytes.fromhex(sys.argv[1]))
assert [layer.label for layer in root.children][:2] == ['Ethernet II', 'Internet Protocol Version 4'], root
assert not [event for event, _ in opened if event in ('socket.connect', 'socket.bind', 'socket.sendto')], opened
"""
    told = subprocess.run(
        [sys.executable, "-c", program, frames()["udp"].hex()],
        env={"HOME": str(tmp_path), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (told.returncode, told.stdout, told.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


def test_notes_of_ours() -> None:
    frame = struct.pack(">HH8s4x", 12, 8, b"syslog") + b"<133>qmon change: link of nic1 set down"
    root = dissect(frame, 252)
    assert_sound(root, len(frame))
    assert found(root, "Exported PDU", "Dissector").value == "syslog"
    assert found(root, "Message").value == "<133>qmon change: link of nic1 set down"
