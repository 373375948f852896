"""A capture file as a source of batches, the same shape a VM's capture has."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

from qmon.packets.batch import Damage, FrameBatch, Interface, Note, Statistics


class CaptureFile:
    """A capture file (pcap, pcapng, either of them gzipped; recognised by content), or "-" for stdin, as `with`.

    Raises UsageError/QmonError if it cannot be opened, DamagedFile if it is no capture. `time_shift_ns` is added to
    every stamp. `virtio_header` is None for finding out, or 0, 10, 12 bytes that every frame starts with.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        time_shift_ns: int = 0,
        virtio_header: int | None = 0,
        reuse_buffer: bool = False,
    ) -> None:
        self.interfaces: list[Interface] = []
        self.notes: list[Note] = []
        self.statistics: list[Statistics] = []
        self.damage: list[Damage] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def format(self) -> str:
        """`pcap`, `pcapng`, with ` (gzip)` behind it."""
        raise NotImplementedError

    @property
    def seekable(self) -> bool:
        """Whether `frame` works: batches then carry positions."""
        raise NotImplementedError

    @property
    def progress(self) -> float:
        """How much of the file was read, 0 to 1; 0 where the size is not known."""
        raise NotImplementedError

    def read_batch(self) -> FrameBatch | None:
        """Return the next frames, or None at the end. New interfaces, notes and damage are appended to the lists.

        With `reuse_buffer` the batch's `data` is good until the next call only.
        """
        raise NotImplementedError

    def frame(self, position: int, captured: int) -> bytes:
        """Return the bytes at a batch's position again; DamagedFile if the file has become shorter."""
        raise NotImplementedError

    def close(self) -> None:
        """Close the file."""
