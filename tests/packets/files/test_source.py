import gzip
import io
import os
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest

from qmon.errors import DamagedFile, QmonError
from qmon.packets.batch import NO_TIME, FrameBatch, Interface, Note
from qmon.packets.files import source as file_module
from qmon.packets.files.pcap import PcapWriter
from qmon.packets.files.pcapng_writer import PcapngWriter
from qmon.packets.files.source import CaptureFile

SECOND = 1_000_000_000
FRAMES = [bytes([index % 256]) * (index % 90 + 14) for index in range(3000)]
TIMES = [1_700_000_000 * SECOND + index * 1000 for index in range(3000)]


def _batch() -> FrameBatch:
    return FrameBatch.from_frames(FRAMES, time_ns=TIMES)


def pcap() -> bytes:
    writer = PcapWriter(Interface())
    return writer.header() + writer.encode(_batch())


def pcapng() -> bytes:
    writer = PcapngWriter()
    head = writer.header() + writer.interface(Interface("u1")) + writer.names({"10.0.2.2": "gateway"})
    return head + writer.encode(_batch())


@pytest.fixture(params=["pcap", "pcapng"])
def content(request: pytest.FixtureRequest) -> tuple[str, bytes]:
    return request.param, pcap() if request.param == "pcap" else pcapng()


def _all(file: CaptureFile, *, copy: bool = False) -> tuple[list[bytes], list[FrameBatch]]:
    frames: list[bytes] = []
    batches: list[FrameBatch] = []
    while (batch := file.read_batch()) is not None:
        frames += [bytes(batch.frame(index)) for index in range(len(batch))]
        batches.append(batch)
    return frames, batches


@pytest.mark.parametrize("reuse", [False, True])
@pytest.mark.parametrize(
    "sizes", [(file_module.FIRST_BYTES, file_module.BUFFER_BYTES), (64, 256), (1000, 5000)]
)
def test_a_file_is_read_by_batches(
    tmp_path: Path,
    content: tuple[str, bytes],
    reuse: bool,
    sizes: tuple[int, int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(file_module, "FIRST_BYTES", sizes[0])
    monkeypatch.setattr(file_module, "BUFFER_BYTES", sizes[1])
    path = tmp_path / "capture"
    path.write_bytes(content[1])
    with CaptureFile(path, reuse_buffer=reuse) as file:
        assert file.format == content[0]
        frames, batches = _all(file)
        assert frames == FRAMES
        assert np.concatenate([batch.time_ns for batch in batches]).tolist() == TIMES
        assert file.progress == 1.0
        assert not file.damage
        assert file.read_batch() is None
        if not reuse:
            # Batches own their bytes: still good after all others were read.
            again = [bytes(batch.frame(index)) for batch in batches for index in range(len(batch))]
            assert again == FRAMES
        for batch in batches:
            assert batch.position is not None
            for index in (0, len(batch) - 1):
                position, captured = int(batch.position[index]), int(batch.captured[index])
                assert content[1][position : position + captured] == file.frame(position, captured)


def test_gzip_of_one_and_of_several_members(tmp_path: Path, content: tuple[str, bytes]) -> None:
    path = tmp_path / "capture.gz"
    middle = len(content[1]) // 2
    for packed in (
        gzip.compress(content[1]),
        gzip.compress(content[1][:middle]) + gzip.compress(content[1][middle:]),
        gzip.compress(content[1]) + bytes(100),
    ):
        path.write_bytes(packed)
        with CaptureFile(path) as file:
            assert _all(file)[0] == FRAMES
            assert file.format == f"{content[0]} (gzip)"
            assert not file.seekable
            assert not file.damage
            with pytest.raises(QmonError, match="cannot be read again"):
                file.frame(24, 1)


def test_damaged_gzip_is_told(tmp_path: Path) -> None:
    packed = gzip.compress(pcap())
    path = tmp_path / "capture.gz"
    for broken in (packed[:-4000], packed[:5000] + b"\xff\xff\xff\xff" + packed[5004:]):
        path.write_bytes(broken)
        with CaptureFile(path) as file:
            frames, _ = _all(file)
            assert frames == FRAMES[: len(frames)]
            assert "gzip" in str(file.damage[0])


def test_a_pipe_gives_what_has_arrived(tmp_path: Path, content: tuple[str, bytes]) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    may_end = threading.Event()

    def write() -> None:
        with path.open("wb", buffering=0) as out:
            out.write(content[1][:2000])
            may_end.wait(30)
            out.write(content[1][2000:])

    writer = threading.Thread(target=write)
    writer.start()
    with CaptureFile(path) as file:
        first = file.read_batch()
        assert first is not None
        assert not may_end.is_set()
        assert first.position is None
        frames = [bytes(first.frame(index)) for index in range(len(first))]
        may_end.set()
        assert frames + _all(file)[0] == FRAMES
        assert file.progress == 0
    writer.join()


def test_stdin_is_a_dash() -> None:
    code = (
        "from qmon.packets.files.source import CaptureFile\n"
        "with CaptureFile('-') as file:\n"
        "    n = 0\n"
        "    while (batch := file.read_batch()) is not None: n += len(batch)\n"
        "    print(n, file.seekable)\n"
    )
    import sys

    done = subprocess.run(
        [sys.executable, "-c", code], input=pcap(), capture_output=True, check=True, timeout=60
    )
    assert done.stdout.split() == [b"3000", b"False"]


def test_stdin_from_a_file_begins_where_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "behind"
    path.write_bytes(b"something else " + pcap())
    fd = os.open(path, os.O_RDONLY)
    saved = os.dup(0)
    try:
        os.lseek(fd, 15, os.SEEK_SET)
        os.dup2(fd, 0)
        with CaptureFile("-") as file:
            batch = file.read_batch()
            assert batch is not None
            assert batch.position is not None
            assert file.frame(int(batch.position[5]), int(batch.captured[5])) == FRAMES[5]
    finally:
        os.dup2(saved, 0)
        os.close(saved)
        os.close(fd)


@pytest.mark.parametrize(
    ("data", "message", "hint"),
    [
        (b"", "is empty", None),
        (b"\x7fELF....", "begins with 7f 45 4c 46", "qmon dump"),
        (b"\n", "begins with 0a", "qmon dump"),
        (bytes.fromhex("28b52ffd00"), "compressed by zstd", "zstd -d"),
        (b"snoop\0\0\0\0\0\0\2", "snoop", "editcap"),
        (gzip.compress(b"plain text", mtime=0), "not a pcap or pcapng", None),
    ],
)
def test_what_is_no_capture(tmp_path: Path, data: bytes, message: str, hint: str | None) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    with pytest.raises(DamagedFile, match=message) as raised:
        CaptureFile(path)
    if hint:
        assert hint in str(raised.value.hint)
    assert len(os.listdir("/proc/self/fd")) < 200


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    for path, reason in (
        (tmp_path, "it is a directory"),
        (tmp_path / "none", "No such file"),
        ("nul\0", "null"),
    ):
        with pytest.raises(QmonError, match=reason):
            CaptureFile(path)
    with pytest.raises(QmonError) as raised:
        CaptureFile(tmp_path / "\x1b[31mred")
    assert "\x1b" not in str(raised.value)


def test_a_read_that_fails_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "capture"
    path.write_bytes(pcap())

    def broken(*_: object) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("os.preadv", broken)
    with pytest.raises(QmonError, match="Input/output error"):
        CaptureFile(path)


def test_only_a_header(tmp_path: Path) -> None:
    path = tmp_path / "capture"
    path.write_bytes(pcap()[:24])
    with CaptureFile(path) as file:
        assert file.read_batch() is None
        assert file.interfaces == [Interface()]
        assert not file.damage
    path.write_bytes(pcap()[:9])
    with CaptureFile(path) as file:
        assert file.read_batch() is None
        assert len(file.damage) == 1


def test_time_can_be_shifted(tmp_path: Path) -> None:
    path = tmp_path / "capture"
    writer = PcapngWriter()
    path.write_bytes(pcapng() + writer.header("a comment"))
    with CaptureFile(path, time_shift_ns=-5) as file:
        _, batches = _all(file)
        assert batches[0].time_ns[0] == TIMES[0] - 5
        assert file.notes == [Note(NO_TIME, "a comment", "comment")]
        assert file.names == {"10.0.2.2": "gateway"}


def test_virtio_headers_are_removed_when_asked(fixture_capture: Path) -> None:
    with CaptureFile(fixture_capture) as file:
        raw, _ = _all(file)
    with CaptureFile(fixture_capture, virtio_header=None) as file:
        clean, batches = _all(file)
        for batch in batches:
            assert batch.position is not None
            assert file.frame(int(batch.position[0]), int(batch.captured[0])) == bytes(batch.frame(0))
    with_header = fixture_capture.parts[-3].startswith("7.") and fixture_capture.stem == "tap-linux"
    assert clean == ([frame[12:] for frame in raw] if with_header else raw)
    with CaptureFile(fixture_capture, virtio_header=10) as file:
        assert _all(file)[0] == [frame[10:] for frame in raw]


def test_a_file_that_grows_or_shrinks_while_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_module, "FIRST_BYTES", 1000)
    monkeypatch.setattr(file_module, "BUFFER_BYTES", 1000)
    path = tmp_path / "capture"
    path.write_bytes(pcap())
    with CaptureFile(path) as file:
        assert file.read_batch() is not None
        os.truncate(path, 5000)
        frames, batches = _all(file)
        assert frames
        assert len(file.damage) == 1
        assert batches[-1].position is not None
        with pytest.raises(DamagedFile, match="shorter"):
            file.frame(6000, 10)


def test_the_same_bytes_from_a_file_object_are_not_needed_twice(tmp_path: Path) -> None:
    path = tmp_path / "capture"
    path.write_bytes(io.BytesIO(pcap()).getvalue())
    file = CaptureFile(path)
    assert "pcap at byte" in repr(file)
    file.close()
    file.close()
