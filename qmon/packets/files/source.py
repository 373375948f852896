"""A capture file as a source of batches, the same shape a VM's capture has.

Owns the reading: regular files (whose frames can be read again by position), pipes, and what is gzipped. Reads with
plain `read` calls into a buffer, never by mapping the file: another process may cut it short at any time, and a map
would then kill us. Never prints.
"""

from __future__ import annotations

import os
import stat
import zlib
from collections import Counter, deque
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import numpy as np

from qmon.errors import DamagedFile, QmonError
from qmon.packets import virtio
from qmon.packets.batch import ETHERNET, NO_TIME, Damage, FrameBatch, Interface, Names, Note, Statistics
from qmon.packets.copying import I64
from qmon.packets.files.feeding import Item, Reader
from qmon.packets.files.gunzip import MAGIC, Gunzip
from qmon.packets.files.pcap import PcapReader
from qmon.packets.files.pcapng import PcapngReader
from qmon.text import plain

# The first reads are small, so that the first rows are there at once.
FIRST_BYTES, BUFFER_BYTES = 256 * 1024, 4 << 20
# Behind the bytes read, so that headers can be gathered without looking where the data ends.
SLACK_BYTES = 128
# What is kept of a file that has very much of it; that something was left out is told as damage.
MAX_NOTES, MAX_NAMES, MAX_STATISTICS, MAX_DAMAGE = 150_000, 65_536, 4096, 20
_ENDS_OF_TIME = -(1 << 63), (1 << 63) - 1
_PCAP_MAGICS = frozenset({"a1b2c3d4", "d4c3b2a1", "a1b23c4d", "4d3cb2a1", "a1b2cd34", "34cdb2a1"})
_PCAPNG_MAGIC = bytes.fromhex("0a0d0d0a")
# What others begin with, and what can be done about it.
_OTHERS = (
    (bytes.fromhex("28b52ffd"), "it is compressed by zstd", "unpack it first: zstd -d FILE"),
    (bytes.fromhex("04224d18"), "it is compressed by lz4", "unpack it first: lz4 -d FILE"),
    (bytes.fromhex("fd377a585a00"), "it is compressed by xz", "unpack it first: xz -d FILE"),
    (b"BZh", "it is compressed by bzip2", "unpack it first: bunzip2 FILE"),
    (b"PK\3\4", "it is a zip archive", "unpack it first: unzip FILE"),
    (b"snoop\0\0\0", "it is a snoop capture", "convert it first: editcap -F pcapng FILE NEW"),
    (
        b"GMBU",
        "it is a capture of Microsoft's Network Monitor",
        "convert it first: editcap -F pcapng FILE NEW",
    ),
    (
        b"RTSS",
        "it is a capture of Microsoft's Network Monitor",
        "convert it first: editcap -F pcapng FILE NEW",
    ),
    (b"TRSNIFF data", "it is a Sniffer capture", "convert it first: editcap -F pcapng FILE NEW"),
    (b"XCP\0", "it is a NetXRay capture", "convert it first: editcap -F pcapng FILE NEW"),
)

T = TypeVar("T")


class CaptureFile:
    """A capture file (pcap or pcapng, either also gzipped; recognised by content), or "-" for stdin, as `with`.

    QmonError if it cannot be opened, DamagedFile if it is no capture. `time_shift_ns` is added to every stamp;
    with `started_at_ns` it is found from the first packet, which is to have that time.
    `virtio_header` is how many bytes of virtio-net header are in front of every frame, None for finding out. With
    `reuse_buffer` the `data` of a batch is good only until the next one is read.

    `interfaces`, `notes`, `names`, `statistics` and `damage` grow while reading.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        time_shift_ns: int = 0,
        started_at_ns: int | None = None,
        virtio_header: int | None = 0,
        reuse_buffer: bool = False,
    ) -> None:
        self.interfaces: list[Interface] = []
        self.notes: list[Note] = []
        self.names: dict[str, str] = {}
        self.statistics: list[Statistics] = []
        self.damage: list[Damage] = []
        self._shown = "standard input" if str(path) == "-" else plain(str(path))
        self._time_shift_ns = time_shift_ns
        self._started_at_ns = started_at_ns
        self._virtio_header = virtio_header
        self._found_virtio: dict[int, int] = {}
        self._reuse = reuse_buffer
        self._ready: deque[FrameBatch] = deque()
        self._ended = False
        self._left_out: Counter[str] = Counter()
        self._fd = self._open(path)
        try:
            status = os.fstat(self._fd)
            if stat.S_ISDIR(status.st_mode):
                raise QmonError(f"cannot read {self._shown}: it is a directory")
            self._seekable = stat.S_ISREG(status.st_mode)
            self._size = status.st_size if self._seekable else 0
            self._start = os.lseek(self._fd, 0, os.SEEK_CUR) if self._seekable else 0
            self._read_bytes = 0
            self._unpack: Gunzip | None = None
            self._buffer = np.empty(FIRST_BYTES + SLACK_BYTES, np.uint8)
            self._have = 0
            self._used = 0
            self._fresh = True
            self._reader = self._begin()
        except BaseException:
            os.close(self._fd)
            raise

    def __repr__(self) -> str:
        return f"<CaptureFile {self._shown} {self.format} at byte {self._reader.position}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def format(self) -> str:
        """`pcap` or `pcapng`, with ` (gzip)` behind it where it is packed."""
        name = "pcap" if isinstance(self._reader, PcapReader) else "pcapng"
        return f"{name} (gzip)" if self._unpack else name

    @property
    def seekable(self) -> bool:
        """Whether `frame` works: batches then carry positions."""
        return self._seekable and self._unpack is None

    @property
    def progress(self) -> float:
        """How much of the file was read, 0 to 1; 0 where the size is not known."""
        return min(1.0, self._read_bytes / self._size) if self._size else 0.0

    def read_batch(self) -> FrameBatch | None:
        """Return the next frames, or None at the end.

        QmonError if reading fails. Waits for a pipe; what has arrived is returned without waiting for more.
        """
        while not self._ready:
            if self._ended:
                return None
            self._advance()
        return self._ready.popleft()

    def frame(self, position: int, captured: int) -> bytes:
        """Return the bytes at a batch's position again; DamagedFile if the file has become shorter."""
        if not self.seekable:
            raise QmonError(f"frames of {self._shown} cannot be read again")
        data = self._pread(captured, position)
        if len(data) != captured:
            raise DamagedFile(
                f"{self._shown} has become shorter while it was read: bytes {position} to "
                f"{position + captured} are gone",
                offset=position,
            )
        return data

    def close(self) -> None:
        """Close the file; a second time does nothing."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    # Opening

    def _open(self, path: str | Path) -> int:
        try:
            return os.dup(0) if str(path) == "-" else os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except (OSError, ValueError) as problem:
            raise self._unreadable(problem) from problem

    def _unreadable(self, problem: OSError | ValueError) -> QmonError:
        reason = problem.strerror if isinstance(problem, OSError) else str(problem)
        return QmonError(f"cannot read {self._shown}: {reason}")

    def _begin(self) -> Reader:
        """Read until the format is known."""
        while self._have < 4 and self._fill():
            pass
        magic = self._buffer[: min(self._have, 12)].tobytes()
        if magic[:2] == MAGIC and self._unpack is None:
            packed = self._buffer[: self._have].tobytes()
            self._have = 0
            self._unpack = Gunzip(packed)
            return self._begin()
        if self.damage:
            raise DamagedFile(f"{self._shown} cannot be read: {self.damage[0].reason}", offset=0)
        if not magic:
            raise DamagedFile(f"{self._shown} is empty: not even a capture's header is in it", offset=0)
        if magic[:4].hex() in _PCAP_MAGICS:
            return PcapReader(base=self._start)
        if magic[:4] == _PCAPNG_MAGIC:
            return PcapngReader(base=self._start)
        for start, what, hint in _OTHERS:
            if magic.startswith(start):
                raise DamagedFile(
                    f"{self._shown} is not a pcap or pcapng capture: {what}", hint=hint, offset=0
                )
        raise DamagedFile(
            f"{self._shown} is not a pcap or pcapng capture: it begins with {magic[:4].hex(' ')}",
            hint="a capture comes from qmon dump -w, tcpdump -w, dumpcap, or QEMU's filter-dump",
            offset=0,
        )

    # Reading

    def _advance(self) -> None:
        """Take what is in the buffer, or read more into it; collect what that completes."""
        more = True
        if not self._fresh or self._have < self._reader.need:
            self._make_room()
            more = self._fill()
        self._fresh = False
        items, used = self._reader.parse(self._buffer[self._used : self._have], final=not more)
        for item in items:
            self._take(item)
        for reason, count in self._left_out.items():
            self._complain(Damage(self._read_bytes, reason, count=count))
        self._left_out.clear()
        self._used += used
        self._ended = not more

    def _make_room(self) -> None:
        """Move what is not used up yet to the front of the buffer, or of a new one."""
        rest = self._buffer[self._used : self._have]
        # A pipe may never fill a large buffer: then nothing is gained by a new one each time.
        wanted = max(BUFFER_BYTES if self._read_bytes else FIRST_BYTES, self._reader.need + FIRST_BYTES)
        if len(self._buffer) - SLACK_BYTES < wanted or (not self._reuse and self._used):
            fresh = np.empty(max(wanted, len(rest) * 2) + SLACK_BYTES, np.uint8)
            fresh[: len(rest)] = rest
            self._buffer = fresh
        elif self._used:
            self._buffer[: len(rest)] = rest.copy()
        self._have, self._used = len(rest), 0

    def _fill(self) -> bool:
        """Read into the free part of the buffer; return False at the end of the file."""
        free = self._buffer[self._have : len(self._buffer) - SLACK_BYTES]
        try:
            if self._unpack is not None:
                count = self._unpack.read_into(free, self._read_packed)
            elif self._seekable:
                count = os.preadv(self._fd, [free.data], self._start + self._read_bytes)
                self._read_bytes += count
            else:
                count = os.readv(self._fd, [free.data])
                self._read_bytes += count
        except OSError as problem:
            raise self._unreadable(problem) from problem
        except zlib.error as problem:
            self.damage.append(Damage(self._read_bytes, f"the gzip data is damaged: {problem}"))
            count = 0
        self._have += count
        return count > 0

    def _read_packed(self) -> bytes:
        if self._seekable:
            data = self._pread(FIRST_BYTES, self._start + self._read_bytes)
        else:
            data = os.read(self._fd, FIRST_BYTES)
        self._read_bytes += len(data)
        return data

    def _pread(self, count: int, position: int) -> bytes:
        try:
            return os.pread(self._fd, count, position)
        except OSError as problem:
            raise self._unreadable(problem) from problem

    def _take(self, item: Item) -> None:
        if isinstance(item, FrameBatch):
            self._ready.append(self._finished(item))
        elif isinstance(item, Interface):
            self.interfaces.append(item)
        elif isinstance(item, Note):
            if item.time_ns != NO_TIME and self._time_shift_ns:
                moved = item.time_ns + self._time_shift_ns
                item = replace(item, time_ns=max(_ENDS_OF_TIME[0] + 1, min(moved, _ENDS_OF_TIME[1])))
            self._keep(self.notes, item, MAX_NOTES, "notes")
        elif isinstance(item, Names):
            for address, name in item.pairs:
                if address in self.names or len(self.names) < MAX_NAMES:
                    self.names[address] = name
                else:
                    self._complain(Damage(self._read_bytes, f"no more than {MAX_NAMES:,} names are kept"))
                    break
        elif isinstance(item, Statistics):
            self._keep(self.statistics, item, MAX_STATISTICS, "statistics blocks")
        else:
            self._complain(item)

    def _keep(self, kept: list[T], item: T, most: int, what: str) -> None:
        if len(kept) < most:
            kept.append(item)
        else:
            self._left_out[f"no more than {most:,} {what} are kept"] += 1

    def _complain(self, damage: Damage) -> None:
        """Keep the first places of damage and one of each further kind at most; the rest is counted."""
        for index, known in enumerate(self.damage):
            if known.reason == damage.reason:
                self.damage[index] = replace(known, count=known.count + damage.count)
                return
        if len(self.damage) < MAX_DAMAGE:
            self.damage.append(damage)
        else:
            last = self.damage[-1]
            self.damage[-1] = replace(last, reason="damage of many kinds", count=last.count + damage.count)

    def _finished(self, batch: FrameBatch) -> FrameBatch:
        """Do to a batch what was asked for: shift its time, remove virtio-net headers."""
        if self._started_at_ns is not None and len(known := batch.time_ns[batch.time_ns != NO_TIME]):
            self._time_shift_ns = self._started_at_ns - int(known[0])
            self._started_at_ns = None
        batch = replace(
            batch,
            data=self._buffer[self._used :],
            time_ns=self._shifted(batch.time_ns) if self._time_shift_ns and len(batch) else batch.time_ns,
            position=batch.position if self.seekable else None,
        )
        if self._virtio_header is not None:
            return virtio.strip(batch, self._virtio_header)
        return self._without_virtio(batch)

    def _shifted(self, time_ns: I64) -> I64:
        known = time_ns != NO_TIME
        if not known.any():
            return time_ns
        low = int(time_ns[known].min()) + self._time_shift_ns
        high = int(time_ns.max()) + self._time_shift_ns
        first, last = _ENDS_OF_TIME
        if low <= first or high > last or abs(self._time_shift_ns) > last:
            raise QmonError(
                f"the time shift moves packets of {self._shown} out of the years 1678 to 2262",
                hint="give a smaller --time-shift, or another --started-at",
            )
        shifted: I64 = np.where(known, time_ns, 0) + self._time_shift_ns
        shifted[~known] = NO_TIME
        return shifted

    def _without_virtio(self, batch: FrameBatch) -> FrameBatch:
        """Remove the headers found; each Ethernet interface is judged by its first frames that can be judged."""
        for index in np.unique(batch.interface).tolist():
            mine = batch.interface == index
            if index not in self._found_virtio and self.interfaces[index].link_type == ETHERNET:
                size = virtio.detect(batch.select(mine))
                if size is not None:
                    self._found_virtio[index] = size
            size = self._found_virtio.get(index, 0)
            if size:
                batch = virtio.strip(batch, size, mine)
        return batch
