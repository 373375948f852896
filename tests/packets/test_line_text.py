"""Lines for people, beside tcpdump's for the same packets."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from qmon.packets.batch import Direction
from qmon.packets.files.source import CaptureFile
from qmon.packets.line_text import Bytes, LineText, Style, Times
from qmon.packets.lines import Line, lines_of
from qmon.packets.link_header import link_header
from qmon.text import plain_lines
from tests.packets.traffic import frames, write_pcap

# What tcpdump reads as a message of a protocol, it gives the length of otherwise, or not at all.
_LENGTH = re.compile(r"\blength:? (\d+)$")


def lines(path: Path) -> Iterator[Line]:
    with CaptureFile(path) as capture:
        while (batch := capture.read_batch()) is not None:
            yield from lines_of(batch, capture.interfaces, range(1, len(batch) + 1))


def tcpdump(path: Path, *flags: str) -> list[str]:
    command = ["tcpdump", "-n", *flags, "-r", str(path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.splitlines()


def test_length_is_the_payloads(fixture_capture: Path) -> None:
    if "tap" in fixture_capture.stem and "7.2" in str(fixture_capture):
        return  # Its frames have a virtio-net header, which tcpdump does not know.
    words = [LineText(Style(times=Times.NONE))(line) for line in lines(fixture_capture)]
    compared = 0
    for ours, theirs in zip(words, tcpdump(fixture_capture, "-q", "-t"), strict=True):
        wanted = re.search(r": (?:tcp|UDP, length) (\d+)$", theirs) or _LENGTH.search(theirs)
        if wanted is None or "frag" in theirs:
            continue
        assert f" length {wanted[1]}" in ours, (ours, theirs)
        compared += 1
    assert compared > 10


def test_the_link_layer(tmp_path: Path) -> None:
    path = write_pcap(tmp_path / "all.pcap", list(frames().values()))
    style = Style(times=Times.NONE, link=True)
    compared = 0
    for line, theirs in zip(lines(path), tcpdump(path, "-e", "-q", "-t"), strict=True):
        told = tcpdump_link(theirs)
        if told is not None:
            assert LineText(style)(line).startswith(told), theirs
            compared += 1
    assert compared > 50


def tcpdump_link(line: str) -> str | None:
    """The link layer's part of a line of `tcpdump -e -q`."""
    found = re.match(r"(\S+ > \S+), (?:IPv4|IPv6|ARP), (length \d+:)", line)
    if found is None:
        return None
    kind = {"4": "IPv4 (0x0800)", "6": "IPv6 (0x86dd)", "P": "ARP (0x0806)"}[line.split(", ")[1][-1]]
    return f"{found[1]}, ethertype {kind}, {found[2]}"


def test_the_ip_header(tmp_path: Path) -> None:
    path = write_pcap(tmp_path / "all.pcap", list(frames().values()))
    text = LineText(Style(verbose=True))
    ours = dict(told for line in lines(path) for told in ip_headers(text(line)))
    theirs = dict(told for line in tcpdump(path, "-v") for told in ip_headers(line))
    common = ours.keys() & theirs.keys()
    assert len(common) > 50
    assert {time: ours[time] for time in common} == {time: theirs[time] for time in common}


def ip_headers(text: str) -> list[tuple[str, str]]:
    """What is said of IP's header: (time, words), without options and tcpdump's length of a super-frame."""
    return re.findall(r"(?m)^([\d:.]+) (IP \(.*?, length \d+)(?:,.*)?\)", text)


def test_quiet_lines_have_the_ports() -> None:
    line = Line(1, 0, "u1", Direction.OUT, 1, frames()["tcp syn"], 60)
    words = LineText(Style(times=Times.NONE, quiet=True))(line)
    assert re.fullmatch(r"u1 Out 10\.0\.2\.15\.\d+ > 10\.0\.2\.2\.\d+ TCP length 0", words)


@given(
    st.binary(max_size=120),
    st.sampled_from([1, 113, 276, 101, 0, 777]),
    st.builds(
        Style,
        times=st.sampled_from(Times),
        link=st.booleans(),
        quiet=st.booleans(),
        verbose=st.booleans(),
        bytes=st.sampled_from(Bytes),
        whole_frame=st.booleans(),
    ),
    st.integers(-(1 << 63), (1 << 63) - 1),
)
def test_any_bytes_in_any_style(frame: bytes, link_type: int, style: Style, time_ns: int) -> None:
    line = Line(1, time_ns, "u1", Direction.IN, link_type, frame, len(frame))
    said = LineText(style)(line)
    assert plain_lines(said).replace("\\t", "\t") == said
    assert 0 <= link_header(frame, link_type).size <= len(frame)
