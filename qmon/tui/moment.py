"""How every pane is kept up to date: it is shown one moment, at the drawing rate.

Owns that one way. What a pane draws beside the moment comes from the store it was given, which grows by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.widget import Widget

from qmon.packets.batch import Note

if TYPE_CHECKING:
    from qmon.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Moment:
    """What there is to draw.

    `second` is the one that runs now (UTC, since the epoch); `snapshot` is the VM's, None for a file; `notes` are a
    file's, each with the number of the packet it belongs to, where it belongs to one; `waiting` says why there are no
    packets yet, a line each.
    """

    second: int
    snapshot: Snapshot | None = None
    notes: Sequence[tuple[Note, int | None]] = ()
    waiting: Sequence[str] = ()


class Pane(Widget):
    """Something that draws moments; `entry` is the widget that gets the focus when its tab is opened."""

    def show(self, now: Moment) -> None:
        """Draw what is new; called up to 30 times a second while the pane can be seen, so cheap when nothing is."""
        raise NotImplementedError

    @property
    def entry(self) -> Widget:
        """The pane itself, unless a part of it is better."""
        return self
