"""`qmon read`, as a program: lines, records, filters, rewriting, and files that are not what they should be."""

import gzip
import json
import re
import signal
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from qmon.packets.batch import FrameBatch, Interface, Note
from qmon.packets.files.pcapng_writer import PcapngWriter

FIXTURES = Path(__file__).parents[2] / "fixtures"
USER = next(iter(sorted(FIXTURES.glob("*/captures/user-linux.pcap"))))
TAP_WITH_HEADERS = next(iter(sorted(FIXTURES.glob("7.2.*/captures/tap-linux.pcap"))))


def run(*words: str | Path, stdin: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "qmon", "read", *map(str, words)]
    done = subprocess.run(command, capture_output=True, input=stdin, timeout=60)
    assert b"Traceback" not in done.stderr
    return done


def tcpdump(path: Path, *words: str) -> list[str]:
    done = subprocess.run(["tcpdump", "-nr", path, *words], capture_output=True, text=True, timeout=60)
    return done.stdout.splitlines()


def records(*words: str | Path) -> list[dict[str, object]]:
    done = run("-o", "jsonl", *words)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_line_for_each_packet() -> None:
    done = run(USER)
    assert (done.returncode, done.stderr) == (0, b"")
    assert len(done.stdout.splitlines()) == len(tcpdump(USER))


@pytest.mark.parametrize("expression", ["arp", "udp port 67 or udp port 68", "tcp and not port 80", "ip6"])
def test_filters_keep_what_tcpdump_keeps(expression: str) -> None:
    kept = records(USER, *expression.split())
    assert len(kept) == len(tcpdump(USER, expression))
    every = {one["seq"]: one for one in records(USER)}
    assert [every[one["seq"]] for one in kept] == kept


def test_records_have_the_promised_fields() -> None:
    first = records("-c", "1", USER)
    assert len(first) == 1
    assert list(first[0]) == [
        *("schema_version", "seq", "time", "netdev", "direction", "source", "source_port", "destination"),
        *("destination_port", "protocol", "length", "source_mac", "destination_mac", "vlan", "info"),
    ]
    assert (first[0]["schema_version"], first[0]["seq"]) == (1, 1)
    seconds, dot, digits = str(first[0]["time"]).partition(".")
    assert (seconds.isdecimal(), dot, len(digits)) == (True, ".", 9)


def test_a_file_is_named_as_for_tcpdump_too() -> None:
    assert run("-nn", "-r", USER, "-c", "3", "arp").stdout == run("-c", "3", USER, "arp").stdout


@pytest.mark.parametrize("flags", ["-x", "-xx", "-X", "-XX", "-A", "-AA"])
def test_bytes_of_packets_as_in_tcpdump(flags: str) -> None:
    command = ["tcpdump", "-nq", flags, "-r", str(USER)]
    theirs = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    mine = run("-q", flags, USER).stdout.decode()
    # What precedes the bytes is worded otherwise.
    heading = re.compile(r"(?m)^\d\d:\d\d:\d\d\.\d{6} .*$")
    assert heading.sub("", mine) == heading.sub("", theirs)


@pytest.mark.parametrize("flags", ["-t", "-tt", "-ttt", "-tttt", "-ttttt"])
def test_times_as_in_tcpdump(flags: str) -> None:
    theirs = tcpdump(USER, flags)
    mine = run(flags, USER).stdout.decode().splitlines()
    for ours, other in zip(mine, theirs, strict=True):
        wanted = re.split(r"(?:IP6?|ARP)", other)[0]
        assert ours.startswith(wanted or ("10.", "5", "fe", "::", "0."))


def test_one_netdev_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "two.pcapng"
    writer = PcapngWriter()
    batch = FrameBatch.from_frames([bytes(60)] * 3, time_ns=10**18, interface=[0, 1, 0])
    head = writer.header() + writer.interface(Interface("u1")) + writer.interface(Interface("u2"))
    path.write_bytes(head + bytes(writer.encode(batch)))
    assert [one["seq"] for one in records("-i", "u2", path)] == [2]
    assert [one["seq"] for one in records("--netdev", "u1", path)] == [1, 3]
    wrong = run("-i", "u3", path)
    assert (wrong.returncode, wrong.stdout) == (2, b"")
    assert b"It has: u1, u2" in wrong.stderr


def test_a_file_in_every_wrapping(tmp_path: Path) -> None:
    expected = run(USER).stdout
    packed = tmp_path / "x.pcap.gz"
    packed.write_bytes(gzip.compress(USER.read_bytes()))
    assert run(packed).stdout == expected
    assert run("-", stdin=USER.read_bytes()).stdout == expected
    rewritten = tmp_path / "x.pcapng"
    assert run(USER, "-w", rewritten).returncode == 0
    assert run(rewritten).stdout == expected


def test_rewriting_keeps_the_frames(tmp_path: Path) -> None:
    target = tmp_path / "dns.pcap"
    done = run(USER, "-w", target, "udp")
    assert done.returncode == 0
    assert b"packets written to" in done.stderr
    assert tcpdump(target) == tcpdump(USER, "udp")


def test_it_is_said_that_a_file_is_overwritten(tmp_path: Path) -> None:
    target = tmp_path / "out.pcap"
    assert b"overwritten" not in run(USER, "-w", target).stderr
    assert f"{target} exists and is overwritten".encode() in run(USER, "-w", target).stderr


def test_a_capture_is_not_written_over_itself(tmp_path: Path) -> None:
    own = tmp_path / "own.pcap"
    own.write_bytes(USER.read_bytes())
    assert run(own, "-w", own).returncode == 2
    assert own.read_bytes() == USER.read_bytes()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_writing_from_an_idle_pipe_ends_on_a_signal(tmp_path: Path, number: signal.Signals) -> None:
    target = tmp_path / "out.pcap"
    command = [sys.executable, "-m", "qmon", "read", "-", "-w", str(target)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(USER.read_bytes())
        process.stdin.flush()
        while not target.exists() or target.stat().st_size < USER.stat().st_size:
            assert process.poll() is None
        process.send_signal(number)
        assert process.wait(20) == 128 + number
        assert b"packets written to" in process.stderr.read()
    assert tcpdump(target) == tcpdump(USER)


def test_standard_input_is_not_written_over(tmp_path: Path) -> None:
    own = tmp_path / "own.pcap"
    own.write_bytes(USER.read_bytes())
    with own.open("rb") as stream:
        done = subprocess.run(
            [sys.executable, "-m", "qmon", "read", "-", "-w", str(own)],
            stdin=stream,
            capture_output=True,
            timeout=60,
        )
    assert done.returncode == 2
    with own.open("ab") as stream:
        done = subprocess.run(
            [sys.executable, "-m", "qmon", "read", str(own), "-w", "-"],
            stdout=stream,
            stderr=subprocess.PIPE,
            timeout=60,
        )
    assert done.returncode == 2
    assert own.read_bytes() == USER.read_bytes()


@pytest.mark.parametrize("shift", ["9223372036", "-99999999999", "99999999999", "9223372037"])
def test_times_do_not_leave_the_years_there_are(shift: str) -> None:
    done = run("--time-shift", shift, USER)
    assert done.returncode in (1, 2)
    assert b"time" in done.stderr
    assert not done.stdout


def test_events_can_be_put_another_way(tmp_path: Path) -> None:
    source, target = tmp_path / "in.pcapng", tmp_path / "out.pcapng"
    writer = PcapngWriter()
    batch = FrameBatch.from_frames([bytes(60)] * 2, time_ns=[10**18, 10**18 + 2000])
    note = writer.journal(Note(10**18 + 1000, "STOP", "event"))
    head = writer.header() + writer.interface(Interface("u1"))
    source.write_bytes(head + bytes(writer.encode(batch, [(1, note)])))
    assert run(source, "-w", target, "--events", "comment").returncode == 0
    command = ["tshark", "-r", str(target), "-T", "fields", "-e", "frame.comment"]
    told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    assert told == "\nqmon event at 2001-09-09T01:46:40.000001000Z: STOP\n"
    again = tmp_path / "again.pcapng"
    assert run(target, "-w", again, "--events", "journal").returncode == 0
    assert note in again.read_bytes()


@pytest.fixture
def without_times(tmp_path: Path) -> Path:
    """Simple packet blocks have no time; here one stands between two that have."""
    path = tmp_path / "simple.pcapng"
    writer = PcapngWriter()
    timed = bytes(writer.encode(FrameBatch.from_frames([bytes(60)], time_ns=10**18)))
    simple = struct.pack("<III", 3, 76, 60) + bytes(60) + struct.pack("<I", 76)
    path.write_bytes(writer.header() + writer.interface(Interface("u1")) + simple + timed + simple)
    return path


def test_what_has_no_time_is_not_from_1970(without_times: Path, tmp_path: Path) -> None:
    lines = run(without_times).stdout.decode().splitlines()
    assert [line.startswith("no time u1 ") for line in lines] == [True, False, True]
    times = [one["time"] for one in records(without_times)]
    assert times == [None, "1000000000.000000000", None]
    moved = [one["time"] for one in records("--started-at", "5", without_times)]
    assert moved == [None, "5.000000000", None]
    done = run(without_times, "-w", tmp_path / "out.pcapng")
    assert b"2 of them have no time" in done.stderr


def test_times_that_a_file_cannot_hold_are_told(tmp_path: Path) -> None:
    done = run("--started-at", "-5", "-c", "2", USER, "-w", tmp_path / "out.pcap")
    assert done.returncode == 0
    assert b"of them have times outside of 1970 to 2106: the nearest one was written" in done.stderr


def test_times_can_be_mended() -> None:
    def first(*words: str) -> str:
        return str(records(*words, "-c", "1", USER)[0]["time"])

    def ns(text: str) -> int:
        return int(text.replace(".", ""))

    plain = ns(first())
    assert ns(first("--time-shift", "-259200")) == plain - 259_200 * 10**9
    assert ns(first("--time-shift", "0.000000001")) == plain + 1
    assert first("--started-at", "2024-05-01T12:00:00Z") == "1714564800.000000000"
    assert first("--started-at", "1714564800.5") == "1714564800.500000000"
    whole = [ns(str(one["time"])) for one in records(USER)]
    shifted = [ns(str(one["time"])) for one in records("--started-at", "1714564800", USER)]
    assert {new - old for new, old in zip(shifted, whole, strict=True)} == {1714564800 * 10**9 - plain}


@pytest.mark.parametrize(
    "words",
    [("--time-shift", "soon"), ("--started-at", "yesterday"), ("--time-shift", "1", "--started-at", "2")],
)
def test_times_that_are_none(words: tuple[str, ...]) -> None:
    done = run(*words, USER)
    assert (done.returncode, done.stdout) == (2, b"")


def test_headers_of_virtio_net_are_removed() -> None:
    protocols = {one["protocol"] for one in records(TAP_WITH_HEADERS)}
    assert {"ARP", "ICMP"} & protocols
    kept = {one["protocol"] for one in records("--virtio-header", "0", TAP_WITH_HEADERS)}
    assert not {"ARP", "ICMP"} & kept


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", b"empty"),
        (b"just text, no capture", b"not a pcap or pcapng capture"),
        (b"\x1f\x8bxxxx", b"gzip"),
    ],
)
def test_what_is_no_capture(content: bytes, said: bytes, tmp_path: Path) -> None:
    path = tmp_path / "no.pcap"
    path.write_bytes(content)
    done = run(path)
    assert (done.returncode, done.stdout) == (1, b"")
    assert said in done.stderr


def test_what_is_not_there(tmp_path: Path) -> None:
    assert b"No such file" in run(tmp_path / "gone.pcap").stderr
    assert b"directory" in run(tmp_path).stderr


def test_a_damaged_file_gives_what_it_has(tmp_path: Path) -> None:
    whole = USER.read_bytes()
    cut = tmp_path / "cut.pcap"
    cut.write_bytes(whole[:-7])
    done = run(cut)
    assert done.returncode == 1
    assert len(done.stdout.splitlines()) == len(tcpdump(USER)) - 1
    assert done.stderr.startswith(b"qmon: ")


def test_a_wrong_filter_is_wrong_usage() -> None:
    done = run(USER, "port", "banana")
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"banana" in done.stderr


def test_a_capture_is_not_printed_on_a_terminal() -> None:
    done = subprocess.run(
        ["script", "-qec", f"{sys.executable} -m qmon read {USER} -w -", "/dev/null"],
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert b"refusing to write a capture to the terminal" in done.stdout


def test_display_filters_see_all_packets() -> None:
    wanted = subprocess.run(
        [
            "tshark",
            "-n",
            "-r",
            USER,
            "-Y",
            "tcp.flags.fin == 1",
            "-T",
            "fields",
            "-e",
            "frame.number",
            "-e",
            "tcp.seq",
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    fields = ("-T", "fields", "-e", "frame.number", "-e", "tcp.seq")
    assert run(USER, "-Y", "tcp.flags.fin == 1", *fields).stdout.decode() == wanted.stdout
    sequence = [line.split("\t")[1] for line in wanted.stdout.splitlines()]
    lines = run(USER, "-Y", "tcp.flags.fin == 1").stdout.decode().splitlines()
    assert [re.search(r"Seq=(\d+)", line)[1] for line in lines] == sequence  # type: ignore[index]


def test_both_languages_at_once() -> None:
    kept = records(USER, "-Y", "ip.ttl > 1 && !icmp", "udp")
    assert kept == [
        one for one in records(USER, "udp") if one["protocol"] != "ICMP" and ":" not in str(one["source"])
    ]


def test_wrong_fields_and_filters_are_told() -> None:
    done = run(USER, "-Y", "tcp.prot == 80")
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"did you mean tcp.port?" in done.stderr
    assert b"did you mean ip.src?" in run(USER, "-T", "fields", "-e", "ip.srcc").stderr
    assert b"which fields?" in run(USER, "-T", "fields").stderr


def test_numbers_of_the_wire() -> None:
    first = run("-S", "-c", "1", USER, "tcp").stdout
    assert re.search(rb"Seq=\d{6,}", first)
    assert b"Seq=0 " in run("-c", "1", USER, "tcp").stdout
    assert b"Seq=0 " in run("-e", "-c", "1", USER, "tcp").stdout
