"""The shape of the packet store's rows: columns in chunks, and what is handed out of them.

Owns the sizes, and the one list of columns (`Rows`): a new column is an entry there. Must never know where rows go.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from qmon.packets.batch import Direction, FrameBatch
from qmon.packets.copying import I64, U8, U16, U32, Mask
from qmon.packets.store.conversations import NO_FLOW
from qmon.packets.store.decode import Headers

if TYPE_CHECKING:
    from numpy.typing import NDArray

T = TypeVar("T", bound=np.generic)

CHUNK = 1 << 16
# The `link` column: interface in the upper 12 bits, then 2 bits of direction, then 2 of offload.
_INTERFACE_SHIFT, _DIRECTION_SHIFT = 4, 2


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
class Arrived:
    """n frames on their way into the store: as they came, what their headers say, and what was found for them.

    `flow` is as of `Conversations.assign`; `position` is where the bytes lie in file or spool.
    """

    batch: FrameBatch
    headers: Headers
    flow: U32
    position: I64


def _kept(kind: type[np.generic], fill: Callable[[Arrived], NDArray[Any]]) -> dict[str, Any]:
    return {"kind": kind, "fill": fill}


def _link(new: Arrived) -> U16:
    link: U16 = new.batch.interface << np.uint16(_INTERFACE_SHIFT)
    link |= new.batch.direction.astype(np.uint16) << _DIRECTION_SHIFT
    if new.batch.offload is not None:
        link |= new.batch.offload
    return link


@dataclass(frozen=True, slots=True)
class Rows:
    """Columns of the packets `first` … `first + n - 1`.

    Each is declared here and nowhere else: its name, how it is kept, how it is filled. What shares a column to save
    memory is a property. `kind` holds `decode.Kind`s; `position` is where the bytes lie in file or spool.
    """

    first: int
    time_ns: I64 = field(metadata=_kept(np.int64, lambda new: new.batch.time_ns))
    position: I64 = field(metadata=_kept(np.int64, lambda new: new.position))
    captured: U32 = field(metadata=_kept(np.uint32, lambda new: new.batch.captured))
    length: U32 = field(metadata=_kept(np.uint32, lambda new: new.batch.length))
    flow_and_way: U32 = field(metadata=_kept(np.uint32, lambda new: new.flow))
    link: U16 = field(metadata=_kept(np.uint16, _link))
    kind: U8 = field(metadata=_kept(np.uint8, lambda new: new.headers.kind))
    tcp_flags: U8 = field(metadata=_kept(np.uint8, lambda new: new.headers.tcp_flags))

    def __len__(self) -> int:
        return len(self.time_ns)

    @property
    def flow(self) -> U32:
        """The conversation's number, NO_FLOW where there is none."""
        return self.flow_and_way & np.uint32(NO_FLOW)

    @property
    def reversed(self) -> Mask:
        """True where a packet goes from B to A, against the conversation's first one."""
        return self.flow_and_way > NO_FLOW

    @property
    def interface(self) -> U16:
        """An index into the store's interfaces."""
        return self.link >> np.uint16(_INTERFACE_SHIFT)

    @property
    def direction(self) -> U8:
        """A `Direction`."""
        return (self.link >> _DIRECTION_SHIFT & 3).astype(np.uint8)

    @property
    def offload(self) -> U8:
        """The bits of `Offload`."""
        return (self.link & 3).astype(np.uint8)


@dataclass(frozen=True, slots=True)
class Column:
    """How one of the columns of `Rows` is kept and filled."""

    kind: type[np.generic]
    fill: Callable[[Arrived], NDArray[Any]]


COLUMNS = {one.name: Column(**one.metadata) for one in fields(Rows) if one.metadata}


class Chunk:
    """Room for CHUNK packets, by column."""

    __slots__ = ("columns",)

    def __init__(self) -> None:
        self.columns = {name: np.empty(CHUNK, column.kind) for name, column in COLUMNS.items()}


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
