import asyncio
from pathlib import Path

import pytest

from qmon.errors import UsageError
from qmon.export.capture_file import FileOptions
from qmon.export.ring import NS, FileSeries, FlightRecorder, Names, Rules, parse_span
from qmon.packets.batch import FrameBatch, Interface, Note
from qmon.packets.files.source import CaptureFile

INTERFACES = [Interface("u1")]
START = 1_700_000_000 * NS


def frames(seconds: list[float], size: int = 100) -> FrameBatch:
    stamps = [START + int(second * NS) for second in seconds]
    return FrameBatch.from_frames([bytes(size)] * len(seconds), time_ns=stamps)


def count(path: Path) -> int:
    with CaptureFile(path) as file:
        found = 0
        while (batch := file.read_batch()) is not None:
            found += len(batch)
        assert not file.damage
        return found


def series(folder: Path, rules: Rules, names: Names | None = None) -> FileSeries:
    return FileSeries(names or Names(str(folder / "r.pcap")), rules, None, FileOptions())


async def write(output: FileSeries, batch: FrameBatch) -> None:
    output.packets(batch, INTERFACES)
    await output.close(INTERFACES, ())


async def test_every_packet_is_in_one_file(tmp_path: Path) -> None:
    await write(series(tmp_path, Rules(packets=3)), frames([1, 2, 3, 4, 5, 6, 7]))
    assert [count(path) for path in sorted(tmp_path.iterdir())] == [3, 3, 1]


async def test_only_the_last_files_stay(tmp_path: Path) -> None:
    await write(series(tmp_path, Rules(packets=1, keep=2)), frames([1, 2, 3, 4, 5]))
    names = [path.name for path in sorted(tmp_path.iterdir())]
    assert [name.split("_")[1] for name in names] == ["00004", "00005"]


async def test_a_file_ends_with_the_frame_that_reaches_its_size(tmp_path: Path) -> None:
    await write(series(tmp_path, Rules(size_bytes=10_000)), frames([1] * 500))
    paths = sorted(tmp_path.iterdir())
    # A header of 24 bytes, then 116 a frame: the 86th reaches 10,000.
    assert [count(path) for path in paths] == [86, 86, 86, 86, 86, 70]
    assert [path.stat().st_size for path in paths] == [
        24 + 116 * number for number in (86, 86, 86, 86, 86, 70)
    ]


async def test_intervals_are_whole_multiples(tmp_path: Path) -> None:
    output = series(tmp_path, Rules(interval_s=10))
    output._begun_ns = START
    await write(output, frames([1, 9, 11, 19.9, 20]))
    assert [count(path) for path in sorted(tmp_path.iterdir())] == [2, 2, 1]


async def test_it_ends_after_so_many_files(tmp_path: Path) -> None:
    output = series(tmp_path, Rules(packets=1, stop_after=2))
    await write(output, frames([1, 2, 3]))
    assert output.full
    assert len(list(tmp_path.iterdir())) == 2


async def test_files_of_others_are_told_before_they_are_overwritten(tmp_path: Path) -> None:
    told: list[str] = []
    names = Names(str(tmp_path / "a.pcap"), plain_numbers=True)
    output = FileSeries(names, Rules(packets=1, keep=2), None, FileOptions(), told.append)
    await write(output, frames([1, 2, 3, 4, 5]))
    assert told == [str(tmp_path / "a.pcap"), str(tmp_path / "a.pcap1")]


async def test_names_as_tcpdump_gives_them(tmp_path: Path) -> None:
    names = Names(str(tmp_path / "t"), plain_numbers=True, digits=1)
    await write(series(tmp_path, Rules(packets=1, keep=3), names), frames([1, 2, 3, 4]))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t0", "t1", "t2"]
    plain = Names("t", plain_numbers=True)
    assert [plain.name(number, START) for number in (1, 2)] == ["t", "t1"]
    assert Names("t-%Y.pcap").name(1, START) == "t-2023.pcap"


def test_a_flight_recorder_writes_when_the_vm_is_reset(tmp_path: Path) -> None:
    said: list[str] = []
    recorder = FlightRecorder(
        Names(str(tmp_path / "f.pcapng")),
        None,
        FileOptions(),
        seconds=None,
        size_bytes=22_000,
        talk=said.append,
    )
    for second in range(30):
        recorder.packets(frames([second]), INTERFACES)
    assert list(tmp_path.iterdir()) == []
    recorder.note(Note(START + 30 * NS, "STOP", "event"), INTERFACES)
    assert list(tmp_path.iterdir()) == []
    recorder.note(Note(START + 31 * NS, "RESET guest=False", "event"), INTERFACES)
    (path,) = tmp_path.iterdir()
    assert 8 <= recorder.written <= 11
    assert count(path) == recorder.written
    assert said == [f"RESET: {recorder.written} packets written to {path}"]
    asyncio.run(recorder.close(INTERFACES, ()))


@pytest.mark.parametrize(
    ("text", "span"),
    [("30s", (30.0, None)), ("5m", (300.0, None)), ("64MB", (None, 64_000_000)), ("1.5kB", (None, 1500))],
)
def test_spans(text: str, span: tuple[float | None, int | None]) -> None:
    assert parse_span(text) == span


@pytest.mark.parametrize("text", ["", "s", "30", "-1s", "0MB", "nans", "infs", "1e99s", "x MB"])
def test_other_spans_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_span(text)


def test_a_flight_recorder_that_cannot_write_says_so_and_goes_on(tmp_path: Path) -> None:
    said: list[str] = []
    names = Names(str(tmp_path / "gone" / "f.pcapng"))
    recorder = FlightRecorder(
        names, None, FileOptions(), seconds=60, size_bytes=None, talk=said.append, notes=False
    )
    recorder.packets(frames([0]), INTERFACES)
    recorder.note(Note(START, "RESET", "event"), INTERFACES)
    assert said[0].startswith("RESET: cannot")
    (tmp_path / "gone").mkdir()
    recorder.ask("Enter")
    recorder.push()
    asyncio.run(recorder.close(INTERFACES, ()))
    assert len(said) == 2
    assert said[1].startswith("Enter: ")
