"""Keeping one direction of the frames, beside whatever else a filter keeps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qmon.packets.batch import Direction, FrameBatch

if TYPE_CHECKING:
    from qmon.export.record import Filter
    from qmon.packets.copying import Mask


@dataclass(frozen=True, slots=True)
class Directed:
    """A filter that keeps what goes in one direction and passes `inner`, if there is one."""

    direction: Direction
    inner: Filter | None = None

    @property
    def expression(self) -> str:
        """The expression that is noted in the file."""
        return str(getattr(self.inner, "expression", ""))

    def mask(self, batch: FrameBatch, link_type: int) -> Mask:
        """Return which frames of a batch are kept."""
        kept: Mask = batch.direction == self.direction
        return kept if self.inner is None else kept & self.inner.mask(batch, link_type)
