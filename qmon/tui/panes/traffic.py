"""Traffic in and out of each netdev over the last minutes.

Owns the chart's scale and how netdevs share the width. Must never count: the store does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from rich.segment import Segment
from textual.strip import Strip

from qmon import text
from qmon.packets.store.packet_store import PacketStore
from qmon.packets.store.traffic import Traffic, TrafficCounter
from qmon.tui.braille import bars
from qmon.tui.moment import Moment, Pane
from qmon.tui.palette import palette_of
from qmon.tui.panes.header import amount

if TYPE_CHECKING:
    from qmon.snapshot import Snapshot

RATE_OVER_S = 2
_MIN_PANEL = 36


@dataclass(frozen=True, slots=True)
class Series:
    """Bytes a second of one netdev, oldest first; the last element is the last complete second."""

    name: str
    incoming: tuple[float, ...]
    outgoing: tuple[float, ...]

    @property
    def peak(self) -> float:
        """The busiest second of either direction."""
        return max((*self.incoming, *self.outgoing), default=0.0)


def series(name: str, traffic: Traffic, *, now_s: int, seconds: int) -> Series:
    """Return the last `seconds` complete seconds before `now_s`, with zeros where nothing passed.

    Bytes of unknown direction count as outgoing.
    """
    incoming, outgoing = np.zeros(seconds), np.zeros(seconds)
    place = traffic.second - (now_s - seconds)
    seen = (place >= 0) & (place < seconds)
    incoming[place[seen]] = traffic.in_bytes[seen]
    outgoing[place[seen]] = (traffic.out_bytes + traffic.unknown_bytes)[seen]
    return Series(name, tuple(incoming.tolist()), tuple(outgoing.tolist()))


class TrafficPane(Pane):
    """One panel a netdev, side by side: rates above, out upwards and in downwards from a middle line."""

    ALLOW_SELECT: ClassVar[bool] = False
    DEFAULT_CSS = """
    TrafficPane { height: 6; width: 1fr; background: $surface; }
    """

    def __init__(self, store: PacketStore, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._store = store
        self._second = 0
        self._shown: tuple[tuple[int, str], ...] = ()
        self._series: tuple[Series, ...] = ()
        self._lines: list[list[Segment]] = []

    def show(self, now: Moment) -> None:
        """Draw the seconds that are over, of the netdevs that are captured or still there."""
        if now.snapshot is None:
            return
        second, shown = now.second, self._panels(now.snapshot)
        if second == self._second and shown == self._shown:
            return
        self._second, self._shown = second, shown
        seconds = max(self.size.width, 40) * 2
        counter = self._store.observer(TrafficCounter)
        fresh = tuple(
            series(
                text.plain(name),
                counter.of(index),
                now_s=second,
                seconds=seconds,
            )
            for index, name in shown
        )
        if fresh != self._series:
            self._series = fresh
            self._redraw()

    def _panels(self, snapshot: Snapshot) -> tuple[tuple[int, str], ...]:
        """Return number and name of each interface to show: not those whose netdev was removed."""
        panels = {tap.interface: tap.netdev for tap in snapshot.taps}
        there = {netdev.id for netdev in snapshot.network.netdevs if not netdev.ghost}
        panels |= {i: one.name for i, one in enumerate(self._store.interfaces) if one.name in there}
        return tuple(sorted(panels.items()))

    def on_resize(self) -> None:
        """Draw for another size."""
        self._second = 0
        self._redraw()

    def notify_style_update(self) -> None:
        """Draw in other colours when the theme changes."""
        super().notify_style_update()
        self._redraw()

    def _redraw(self) -> None:
        self._lines = self._drawn() if self.size.width else []
        self.refresh()

    def _drawn(self) -> list[list[Segment]]:
        width, height = self.size
        shown = self._series[: max(width // _MIN_PANEL, 1)]
        if not shown:
            return [[Segment(" Nothing is captured", palette_of(self.app).dim)]]
        each = width // len(shown)
        panels = [self._panel(one, each - 1, height) for one in shown]
        more = len(self._series) - len(shown)
        lines = [
            [segment for panel in panels for segment in (*panel[row], Segment(" "))] for row in range(height)
        ]
        if more:
            lines[0][-1] = Segment(f"+{more}", palette_of(self.app).dim)
        return lines

    def _panel(self, one: Series, width: int, height: int) -> list[list[Segment]]:
        palette = palette_of(self.app)
        out_rate, in_rate = (sum(part[-RATE_OVER_S:]) / RATE_OVER_S for part in (one.outgoing, one.incoming))
        name = text.cut(one.name, max(width - 27, 4))
        title = [
            Segment(f" {name} ", palette.strong),
            Segment(" ▸ ", palette.outgoing),
            Segment(f"{amount(out_rate) + '/s':<9}", palette.text),
            Segment(" ◂ ", palette.incoming),
            Segment(f"{amount(in_rate) + '/s':<9}", palette.text),
        ]
        left = width - sum(segment.cell_length for segment in title)
        peak = f"peak {amount(one.peak)}/s " if one.peak else "quiet "
        title.append(Segment(peak.rjust(left) if len(peak) < left else " " * max(left, 0), palette.faint))
        rows = height - 1
        if rows < 2:
            return [
                title,
                *_row(bars(_both(one), cells=width - 1, rows=1, peak=one.peak)[:rows], palette.outgoing),
            ]
        upper = rows - rows // 2
        up = bars(one.outgoing, cells=width - 1, rows=upper, peak=one.peak)
        down = bars(one.incoming, cells=width - 1, rows=rows // 2, peak=one.peak, hanging=True)
        return [title, *_row(up, palette.outgoing), *_row(down, palette.incoming)]

    def render_line(self, y: int) -> Strip:
        """Draw one line."""
        width, background = self.size.width, self.rich_style
        segments = self._lines[y] if y < len(self._lines) else []
        return Strip(segments).crop_extend(0, width, background).apply_style(background)


def _both(one: Series) -> Sequence[float]:
    return [out + into for out, into in zip(one.outgoing, one.incoming, strict=True)]


def _row(lines: Sequence[str], style: object) -> list[list[Segment]]:
    return [[Segment(" "), Segment(line, style)] for line in lines]  # type: ignore[arg-type]
