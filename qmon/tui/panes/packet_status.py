"""The line between the packet list and the selected packet: what is shown, and in which mode.

Must never decide anything: it is told.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rich.segment import Segment
from textual.strip import Strip
from textual.widget import Widget

from qmon import text
from qmon.tui.palette import palette_of


@dataclass(frozen=True, slots=True)
class PacketStatus:
    """What the line says."""

    shown: int = 0
    total: int = 0
    expression: str = ""
    only_matches: bool = True
    behind: int = 0
    follow: bool = False
    paused: bool = False
    selected: str = ""


class StatusRule(Widget):
    """A rule with texts set into it."""

    ALLOW_SELECT: ClassVar[bool] = False
    DEFAULT_CSS = """
    StatusRule { height: 1; width: 1fr; background: $surface; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._status = PacketStatus()

    def show(self, status: PacketStatus) -> None:
        """Draw another status, if it is another."""
        if status != self._status:
            self._status = status
            self.refresh()

    def render_line(self, y: int) -> Strip:  # noqa: ARG002
        """Draw the line: the selected packet at the left, modes and counts at the right."""
        palette, background, width = palette_of(self.app), self.rich_style, self.size.width
        status = self._status
        right: list[Segment] = []
        if status.expression:
            right += [
                Segment(" capture filter ", palette.dim),
                Segment(text.cut(text.plain(status.expression), max(width // 3, 10)), palette.warn),
                Segment(" "),
            ]
        if status.behind:
            right.append(Segment(f" {status.behind:,} to check ", palette.dim))
        count = f"{status.shown:,} of {status.total:,}" if status.expression else f"{status.total:,}"
        right.append(Segment(f" {count} packets ", palette.dim))
        if status.paused:
            right += [Segment(" "), Segment(" paused ", palette.mark)]
        elif status.follow:
            right += [Segment(" "), Segment(" follow ", palette.cursor + palette.good)]
        right.append(Segment(" "))
        left = [Segment("─", palette.track)]
        if status.selected:
            left.append(Segment(f" {status.selected} ", palette.text))
        room = width - sum(len(segment.text) for segment in (*left, *right))
        if room < 0:
            left, room = left[:1], width - 1 - sum(len(segment.text) for segment in right)
        rule = Segment("─" * max(room, 0), palette.track)
        return Strip([*left, rule, *right]).crop_extend(0, width, background).apply_style(background)
