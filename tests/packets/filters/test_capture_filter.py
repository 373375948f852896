"""The filter language means what it means in tcpdump: compared with tcpdump, expression by expression."""

from __future__ import annotations

import random
import re
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest

from qmon.errors import UsageError
from qmon.packets.batch import Direction, FrameBatch, Interface
from qmon.packets.filters import bpf
from qmon.packets.filters.capture_filter import COMMON_LINK_TYPES, CaptureFilter
from qmon.packets.filters.matches import STEP_PACKETS, Matches
from qmon.packets.filters.names import with_addresses
from qmon.packets.store.packet_store import PacketStore
from tests.packets.traffic import damaged, frames, write_pcap

ETHERNET = (Interface(),)
EXPRESSIONS = tuple(
    line
    for line in (Path(__file__).parent / "expressions.txt").read_text().splitlines()
    if not line.startswith("#")
)


def tcpdump(path: Path, expression: str) -> list[int] | None:
    """Return the numbers of the packets that match (from their times), None if the expression is refused."""
    told = subprocess.run(
        ["tcpdump", "-r", str(path), "-w", "-", "--", expression],
        capture_output=True,
        timeout=20,
        check=False,
    )
    if told.returncode:
        return None
    numbers, at = [], 24
    while at < len(told.stdout):
        _, microseconds, captured, _ = struct.unpack_from("<IIII", told.stdout, at)
        numbers.append(microseconds // 1000)
        at += 16 + captured
    return numbers


def batch_of(packets: list[bytes], snaplen: int = 262144) -> FrameBatch:
    return FrameBatch.from_frames([p[:snaplen] for p in packets], length=[len(p) for p in packets])


def ours(
    packets: list[bytes], expression: str, link_type: int = 1, snaplen: int = 262144
) -> list[int] | None:
    try:
        chosen = CaptureFilter(expression, (link_type,))
    except UsageError:
        return None
    return [
        int(i)
        for i in np.flatnonzero(chosen.mask(batch_of(packets, snaplen), (Interface(link_type=link_type),)))
    ]


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Path, list[bytes], int]]:
    folder = tmp_path_factory.mktemp("corpus")
    whole, broken = list(frames().values()), list(damaged())
    chance = random.Random(3)
    many = [chance.choice(whole) for _ in range(900)]
    return [
        (write_pcap(folder / "whole.pcap", whole), whole, 262144),
        (write_pcap(folder / "damaged.pcap", broken), broken, 262144),
        (write_pcap(folder / "cut.pcap", many, snaplen=50), many, 50),
    ]


def test_the_corpus_is_large() -> None:
    assert len(EXPRESSIONS) >= 200


@pytest.mark.parametrize("part", range(8))
def test_same_packets_as_tcpdump(corpora: list[tuple[Path, list[bytes], int]], part: int) -> None:
    different = []
    for expression in EXPRESSIONS[part::8]:
        for path, packets, snaplen in corpora:
            theirs = tcpdump(path, expression)
            if ours(packets, expression, snaplen=snaplen) != theirs:
                different.append((expression, path.name, theirs))
    assert not different


# LINKTYPE_: NULL in both byte orders, RAW, LINUX_SLL, IPV4.
@pytest.mark.parametrize(
    ("link_type", "head"),
    [
        (0, struct.pack("<I", 2)),
        (101, b""),
        (228, b""),
        (113, bytes.fromhex("0004000100065254001234560000") + b"\x08\x00"),
    ],
)
def test_other_link_types(tmp_path: Path, link_type: int, head: bytes) -> None:
    packets = [head + frame[14:] for frame in frames().values() if frame[12:14] == b"\x08\x00"]
    path = write_pcap(tmp_path / "other.pcap", packets, link_type=link_type)
    for expression in (
        "tcp",
        "udp port 53",
        "host 10.0.2.2",
        "ip[9] = 1",
        "icmp6",
        "greater 100",
        "inbound",
        "vlan",
    ):
        assert ours(packets, expression, link_type) == tcpdump(path, expression) or expression == "inbound", (
            expression
        )


def test_loopback_of_a_big_endian_machine() -> None:
    ip = frames()["udp"][14:]
    packets = [struct.pack(">I", 2) + ip, struct.pack("<I", 2) + ip, b"\0", b""]
    assert ours(packets, "udp", 0) == [0, 1]


def test_numpy_and_libpcap_agree_on_random_bytes() -> None:
    import cypcap

    chance = random.Random(4)
    packets = [chance.randbytes(chance.randrange(120)) for _ in range(400)]
    batch = batch_of(packets)
    for expression in EXPRESSIONS:
        try:
            program = cypcap.compile(1, 262144, expression, True, 0)
        except cypcap.Error:
            continue
        instructions = [bpf.Instruction(*i) for i in program]
        if bpf.is_loop(instructions) or bpf.ancillary_loads(instructions):
            continue
        theirs = [program.offline_filter(cypcap.Pkthdr(0, len(p), len(p)), p) for p in packets]
        assert bpf.run(instructions, batch).tolist() == theirs, expression


def test_direction() -> None:
    batch = FrameBatch.from_frames(
        [b"x" * 60] * 3, direction=[Direction.IN, Direction.OUT, Direction.UNKNOWN]
    )
    assert CaptureFilter("inbound").mask(batch, ETHERNET).tolist() == [True, False, False]
    assert CaptureFilter("outbound").mask(batch, ETHERNET).tolist() == [False, True, False]
    assert CaptureFilter("outbound and ether[0] = 0x78").mask(batch, ETHERNET).tolist() == [
        False,
        True,
        False,
    ]


def test_several_link_types_in_one_file() -> None:
    raw, ethernet = frames()["udp"][14:], frames()["udp"]
    batch = FrameBatch.from_frames([raw, ethernet, raw], interface=[1, 0, 1])
    both = (Interface(link_type=1), Interface(link_type=101))
    assert CaptureFilter("udp", (1, 101)).mask(batch, both).tolist() == [True, True, True]
    sent = CaptureFilter("ether src 52:54:00:12:34:56", (1, 101))
    assert sent.mask(batch, both).tolist() == [False, True, False]


@pytest.mark.parametrize(
    "expression", ["tcp port", "foo", "port 80 and", "ifindex 3", "on eth0", "wlan type mgt"]
)
def test_wrong_expressions_are_named(expression: str) -> None:
    with pytest.raises(UsageError, match=re.escape(repr(expression))) as caught:
        CaptureFilter(expression)
    assert "man pcap-filter" in str(caught.value)


def test_hostile_expressions_are_made_plain() -> None:
    with pytest.raises(UsageError) as caught:
        CaptureFilter("tcp \x1b[31m")
    assert "\x1b" not in str(caught.value)


def test_nul_in_an_expression() -> None:
    with pytest.raises(UsageError):
        CaptureFilter("tcp\0and garbage")


def test_names_are_never_asked_for_on_the_network() -> None:
    with pytest.raises(UsageError, match="asks no name server"):
        CaptureFilter("host example.com")
    with pytest.raises(UsageError, match=r"example\.com"):
        CaptureFilter("tcp and src example.com")


def given(expression: str, hosts: Path) -> str:
    return "".join(piece.given for piece in with_addresses(expression, hosts))


def test_names_of_the_hosts_file(tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text("10.0.2.15 guest guest.lan # a comment\nfec0::2 both\n10.0.2.2 both\nnonsense bad\n")
    assert given("host guest and port http", hosts) == "host 10.0.2.15 and port http"
    assert given("not src host both", hosts) == "not src host (fec0::2 or 10.0.2.2)"
    assert given("ether host 52:54:00:12:34:56 or net 10", hosts) == "ether host 52:54:00:12:34:56 or net 10"
    with pytest.raises(UsageError):
        with_addresses("host bad", hosts)


def test_empty_batches() -> None:
    assert CaptureFilter("tcp").mask(FrameBatch.empty(), ETHERNET).tolist() == []
    assert CaptureFilter("ip6 protochain 6").mask(FrameBatch.empty(), ETHERNET).tolist() == []


def test_a_file_without_what_is_asked_for_is_refused() -> None:
    chosen = CaptureFilter("ether host 52:54:00:12:34:56", COMMON_LINK_TYPES)
    chosen.require([Interface(link_type=1)])
    chosen.require([Interface(link_type=1), Interface(link_type=101)])
    chosen.require([])
    with pytest.raises(UsageError):
        chosen.require([Interface(link_type=101)])
    assert (
        not CaptureFilter("wlan type mgt", COMMON_LINK_TYPES)
        .mask(FrameBatch.from_frames([b"x" * 60]), ETHERNET)
        .any()
    )


def test_store_filter_follows_the_store() -> None:
    store = PacketStore()
    try:
        store.add_interface(Interface("u1"))
        matching = Matches(store, CaptureFilter("udp port 53"))
        assert not matching.step()
        store.append(batch_of([frames()["dns query"], frames()["arp who-has"], frames()["dns answer"]]))
        assert not matching.step()
        assert matching.seqs.tolist() == [0, 2]
        assert matching.looked_at == 3
        store.append(batch_of([frames()["tcp ack"]] * STEP_PACKETS + [frames()["dns query"]]))
        assert matching.step()
        assert not matching.step()
        assert matching.seqs.tolist() == [0, 2, STEP_PACKETS + 3]
        assert Matches(store, CaptureFilter("udp"), 1).step()
    finally:
        store.close()
