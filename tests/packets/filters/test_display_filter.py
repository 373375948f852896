"""Display filters match what they match in Wireshark: compared with tshark, expression by expression."""

from __future__ import annotations

import re
import subprocess
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qmon.errors import UsageError
from qmon.packets.batch import Direction, FrameBatch, Interface
from qmon.packets.field_lines import FieldLines
from qmon.packets.fields.registry import completions, fields, nearest
from qmon.packets.files.source import CaptureFile
from qmon.packets.filters.display.selector import DisplayFilter
from qmon.packets.filters.selector import WrongExpression
from qmon.packets.filters.words import selector_from
from qmon.packets.store.packet_store import PacketStore
from tests.packets.traffic import damaged, frames, write_pcap

# Of a hello that is cut short, tshark shows what there is.
WHOLE = {name: frame for name, frame in frames().items() if name != "tls hello"}
HERE = Path(__file__).parent
EXPRESSIONS = (HERE / "display_expressions.txt").read_text().splitlines()
TABLE = [line for line in EXPRESSIONS if line and not line.startswith("#")]
# What tshark 4.0 does not take, or takes otherwise, by the filter it is the same as.
SAME = {
    "tcp xor ip": "(tcp and not ip) or (ip and not tcp)",
    "ip.ttl in {1, 255, 60..70}": "ip.ttl == 1 or ip.ttl == 255 or (ip.ttl >= 60 and ip.ttl <= 70)",
    "tcp.port in {80 443}": "tcp.port == 80 or tcp.port == 443",
    "80 == tcp.port": "tcp.port == 80",
    "1 < ip.ttl < 100": "ip.ttl > 1 && ip.ttl < 100",
    "eth.dst[-1:1] == ff": "eth.dst[5] == ff",
    "tcp.flags.syn": "tcp",
    "ip.addr in {10.0.2.2, 10.0.2.3}": "ip.addr == 10.0.2.2 or ip.addr == 10.0.2.3",
    'dns.qry.name == "EXAMPLE.org" or tcp': "tcp",
}


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pcap(tmp_path_factory.mktemp("display") / "all.pcap", list(WHOLE.values()))


def ours(path: Path, expression: str) -> list[int]:
    selector, found, before = DisplayFilter(expression), [], 0
    with CaptureFile(path) as file:
        while (batch := file.read_batch()) is not None:
            found += (before + 1 + np.flatnonzero(selector.mask(batch, file.interfaces))).tolist()
            before += len(batch)
    return found


def test_as_many_as_in_tshark(capture: Path) -> None:
    assert len(TABLE) >= 150
    command = ["tshark", "-n", "-q", "-r", str(capture)]
    command += [word for expression in TABLE for word in ("-z", f"io,stat,0,{expression}")]
    told = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    # The last one asked for comes first.
    counts = [int(count) for count in re.findall(r"<>\s*[\d.]+\s*\|\s*(\d+)\s*\|", told)][::-1]
    different = {
        expression: (count, len(found))
        for expression, count in zip(TABLE, counts, strict=True)
        if len(found := ours(capture, expression)) != count
    }
    assert different == {}


@pytest.mark.parametrize("expression", SAME)
def test_the_same_said_otherwise(capture: Path, expression: str) -> None:
    assert ours(capture, expression) == ours(capture, SAME[expression])


def test_headers_and_frames_agree() -> None:
    """What columns tell of a batch is what is found in each frame: also in damaged ones."""
    batch = FrameBatch.from_frames([*frames().values(), *damaged()])
    ethernet = [Interface()]
    for expression in TABLE:
        together = DisplayFilter(expression).mask(batch, ethernet)
        alone = DisplayFilter(f"({expression}) && frame.protocols").mask(batch, ethernet)
        assert together.tolist() == alone.tolist(), expression


def test_a_store_gives_the_same(capture: Path) -> None:
    with CaptureFile(capture) as file:
        store = PacketStore(source=file)
        while (batch := file.read_batch()) is not None:
            for interface in file.interfaces[len(store.interfaces) :]:
                store.add_interface(interface)
            store.append(batch)
        for expression in ("frame.number > 5 && tcp", "frame.time_relative >= 0", "dns"):
            found = DisplayFilter(expression).seqs(store, 0, len(store)) + 1
            assert found.tolist() == ours(capture, expression)


def test_what_only_qmon_knows() -> None:
    frame = frames()["tcp syn"]
    batch = FrameBatch.from_frames(
        [frame] * 3, interface=[0, 1, 0], direction=[Direction.IN, Direction.OUT, 0]
    )
    interfaces = [Interface("u1"), Interface("u2")]
    for expression, wanted in {
        'qmon.netdev == "u1"': [True, False, True],
        'qmon.dir == "in"': [True, False, False],
        'qmon.dir == out && qmon.netdev == "u2"': [False, True, False],
    }.items():
        assert DisplayFilter(expression).mask(batch, interfaces).tolist() == wanted


@pytest.mark.parametrize(
    ("expression", "at", "said"),
    [
        ("tcp.prot == 80", 0, "did you mean tcp.port?"),
        ("tcp && ip.add == 1.2.3.4", 7, "did you mean ip.addr?"),
        ("ip.addr == 10.0.2.400", 11, "10.0.0.0/8"),
        ("tcp.port == eighty", 12, "80"),
        ("tcp.port ==", 11, "missing at its end"),
        ("tcp.port == 80)", 14, "joins"),
        ("(tcp.port == 80", 15, "missing at its end"),
        ("tcp udp", 4, "joins"),
        ("tcp.port[0] == 1", 9, "sliced"),
        ('tcp.port contains "x"', 18, "contains nothing"),
        ('dns.qry.name matches "("', 21, "regular expression"),
        ("eth.addr[x] == 1", 9, "slice"),
        ("tcp.port in {}", 13, "empty"),
        ("tcp $ udp", 4, "understood"),
        ("=! tcp", 0, ""),
        ("arp.opcode == asks", 14, "request"),
    ],
)
def test_errors_point_at_the_place(expression: str, at: int, said: str) -> None:
    with pytest.raises(WrongExpression) as caught:
        DisplayFilter(expression)
    assert caught.value.at == at
    assert said in f"{caught.value.message} {caught.value.hint}"


@given(st.text(alphabet="tcp.porludns&|!=<>(){}[]\"'0123456789:-~ \\x", max_size=40))
@settings(max_examples=300)
def test_any_text_is_a_filter_or_told_to_be_none(expression: str) -> None:
    with suppress(WrongExpression):
        DisplayFilter(expression)


def test_deep_nesting_is_told() -> None:
    with pytest.raises(WrongExpression, match="nested"):
        DisplayFilter("(" * 500 + "tcp" + ")" * 500)
    with pytest.raises(WrongExpression, match="characters"):
        DisplayFilter("tcp or " * 5000 + "tcp")


@pytest.mark.parametrize(
    ("words", "language"),
    [
        ("tcp.port == 80", "display filter"),
        ("tcp", "display filter"),
        ("tcp port 80", "capture filter"),
        ("host 10.0.2.15", "capture filter"),
        ("tcp[13] & 2 != 0", "display filter"),
    ],
)
def test_which_language_it_is(words: str, language: str) -> None:
    selector = selector_from(words)
    assert selector is not None
    assert selector.language == language


def test_the_error_of_the_language_that_got_further() -> None:
    with pytest.raises(WrongExpression, match=r"tcp\.prot"):
        selector_from("tcp.prot == 80")
    with pytest.raises(WrongExpression, match="capture filter"):
        selector_from("tcp port 80 and")


def test_fields_as_in_tshark(capture: Path) -> None:
    """The values of every field are Wireshark's, but for those that need more than the frame."""
    names = [name for name, field in fields().items() if name not in MORE_THAN_THE_FRAME and "." in name]
    command = ["tshark", "-n", "-r", str(capture), "-T", "fields", "-E", "aggregator=,"]
    command += [word for name in names for word in ("-e", name)]
    told = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    mine: list[str] = []
    form = FieldLines(names)
    with CaptureFile(capture) as file:
        while (batch := file.read_batch()) is not None:
            mine += form(batch, file.interfaces, range(len(mine) + 1, len(mine) + 1 + len(batch)))
    different: dict[str, tuple[str, str, str]] = {}
    for kind, theirs, line in zip(WHOLE, told.splitlines(), mine, strict=True):
        for name, wanted, value in zip(names, theirs.split("\t"), line.split("\t"), strict=True):
            if wanted != value and (kind, name) not in UNLIKE:
                different[f"{kind}: {name}"] = (wanted, value, kind)
    assert different == {}


MORE_THAN_THE_FRAME = {
    "frame.protocols", "frame.interface_name", "frame.interface_id", "frame.comment", "qmon.netdev", "qmon.dir",
    "tcp.stream", "tcp.seq", "tcp.nxtseq", "tcp.ack", "tcp.window_size", "tcp.window_size_scalefactor",
    "tcp.options.sack_le", "tcp.options.sack_re", "tls.handshake", "tls.change_cipher_spec", "tls.alert_message",
}  # fmt: skip
UNLIKE = {
    ("icmp frag needed", "tcp.seq_raw"),  # tshark leaves it out where nothing of the segment follows.
    ("tftp ack", "tftp.destination_file"),  # Said by the request before.
}


def test_names_are_completed() -> None:
    assert completions("tcp.flags.s") == ["tcp.flags.str", "tcp.flags.syn"]


def test_fields_are_found_by_what_is_nearly_their_name() -> None:
    assert nearest("tcp.prt") == "tcp.port"
    assert nearest("something else") is None
    with pytest.raises(UsageError, match=r"ip\.sorce"):
        FieldLines(["ip.sorce"])
