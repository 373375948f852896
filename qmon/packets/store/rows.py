"""The shape of the packet store's rows: columns in chunks, and what is handed out of them.

Owns the sizes. Must never know where rows come from or go to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from qmon.packets.batch import Direction
from qmon.packets.copying import I64, U8, U16, U32, Mask

if TYPE_CHECKING:
    from numpy.typing import NDArray

T = TypeVar("T", bound=np.generic)

CHUNK = 1 << 16


@dataclass(frozen=True, slots=True)
class Row:
    """What the store knows of one packet. `kind` is a `decode.Kind`; `flow` None if it is not IP."""

    seq: int
    time_ns: int
    captured: int
    length: int
    interface: int
    direction: Direction
    kind: int
    flow: int | None
    reversed: bool
    tcp_flags: int
    offload: int


@dataclass(frozen=True, slots=True)
class Rows:
    """Columns of the packets `first` … `first + n - 1`.

    `kind` holds `decode.Kind`s. `flow` is NO_FLOW where there is none; `reversed` is true where a packet goes from
    B to A, against the conversation's first one. `position` is where the bytes lie in file or spool.
    """

    first: int
    time_ns: I64
    captured: U32
    length: U32
    interface: U16
    direction: U8
    kind: U8
    flow: U32
    reversed: Mask
    tcp_flags: U8
    offload: U8
    position: I64

    def __len__(self) -> int:
        return len(self.time_ns)


class Chunk:
    """Room for CHUNK packets."""

    __slots__ = ("captured", "flow", "kind", "length", "link", "position", "tcp_flags", "time_ns")

    def __init__(self) -> None:
        self.time_ns = np.empty(CHUNK, np.int64)
        self.position = np.empty(CHUNK, np.int64)
        self.captured = np.empty(CHUNK, np.uint32)
        self.length = np.empty(CHUNK, np.uint32)
        self.flow = np.empty(CHUNK, np.uint32)
        self.link = np.empty(CHUNK, np.uint16)
        self.kind = np.empty(CHUNK, np.uint8)
        self.tcp_flags = np.empty(CHUNK, np.uint8)


def chunk_parts(start: int, stop: int) -> list[tuple[int, slice]]:
    """Cut a range of rows into (chunk, slice of it)."""
    return [
        (i, slice(max(start - i * CHUNK, 0), min(stop - i * CHUNK, CHUNK)))
        for i in range(start // CHUNK, -(-stop // CHUNK))
    ]


def joined(pieces: list[NDArray[T]], kind: type[T]) -> NDArray[T]:
    """Return the pieces as one array; a single piece is not copied."""
    if len(pieces) == 1:
        return pieces[0]
    return np.concatenate(pieces) if pieces else np.zeros(0, kind)
