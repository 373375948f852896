"""The packet list: one line a packet, made when it becomes visible.

Owns columns, follow mode and the texts of visible rows. Must never keep a Python object per packet of the store.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding, BindingType
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip

from qmon import text
from qmon.errors import QmonError
from qmon.packets.batch import NO_TIME, Direction
from qmon.packets.filters.packet_rows import PacketRows
from qmon.packets.store.packet_store import PacketStore
from qmon.packets.summary import Summary, summarise
from qmon.tui.columns import IPV4_WIDTH, Columns, lay_out
from qmon.tui.rows import RowView, cell

_NEAR_ROWS = 1000
KNOWN_LINES = 2048
ARROWS: dict[int, str] = {Direction.UNKNOWN: "·", Direction.IN: "◂", Direction.OUT: "▸"}


@dataclass(frozen=True, slots=True)
class _Line:
    """What a row shows of its packet."""

    time_ns: int
    interface: int
    direction: int
    length: int
    summary: Summary


class PacketList(RowView):
    """Rows over a `PacketStore`; `tick` takes in what arrived."""

    HAS_HEADING = True
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f", "follow", "Follow"),
        Binding("p", "pause", "Pause"),
        Binding("T", "clock", "Time since the first", show=False),
    ]

    class ModeChanged(Message):
        """Follow or pause went on or off."""

    def __init__(self, store: PacketStore, *, live: bool, id: str | None = None) -> None:
        """Show a store; one that is `live` grows without end, and can be followed and paused."""
        super().__init__(id=id)
        self.rows = PacketRows(store)
        self.live = live
        self.follow = live
        self.since_first = False
        self._netdev_names: tuple[str, ...] = ()
        self._address_width = IPV4_WIDTH
        self._known: dict[int, _Line] = {}
        self._columns_now = lay_out(0, last_number=0, netdev=0, address=IPV4_WIDTH)
        self._first_ns: int | None = None
        self.waiting_lines: Sequence[str] = ("No packets yet",)

    # Rows

    @property
    def first_row(self) -> int:
        """The oldest packet kept."""
        return self.rows.first

    @property
    def end_row(self) -> int:
        """The newest packet taken in, and one more."""
        return self.rows.end

    @property
    def selected_seq(self) -> int | None:
        """The number of the packet under the cursor."""
        if self.cursor is None or not self.first_row <= self.cursor < self.end_row:
            return None
        return self.rows.seq(self.cursor)

    def tick(self) -> bool:
        """Take in new packets; return whether something changed on the screen."""
        if not self.rows.update():
            return False
        first = self.cursor is None and self.end_row > self.first_row
        if self.follow:
            self._to_the_newest()
        self.settle()
        if first and not self.follow:
            self.cursor = self.first_row
            self.post_message(self.Highlighted(self, self.cursor))
        return True

    def set_filter(self, expression: str) -> None:
        """Show what a capture filter lets through, near the same packet; UsageError if it cannot be compiled."""
        seq = self.selected_seq
        self.rows.set_filter(expression)
        self._stay_near(seq)

    def set_only_matches(self, value: bool) -> None:
        """Have the filter hide what does not match, or mark what does."""
        seq = self.selected_seq
        self.rows.only_matches = value
        self._stay_near(seq)

    def _stay_near(self, seq: int | None) -> None:
        self.cursor = None
        self.clear_strips()
        if self.end_row > self.first_row:
            row = self.first_row if seq is None else min(self.rows.row_of(seq), self.end_row - 1)
            self.cursor = row
            self.show_row(row)
        if self.follow:
            self._to_the_newest()
        self.settle()
        self.post_message(self.Highlighted(self, self.cursor))

    def go_to_seq(self, seq: int) -> None:
        """Put the cursor on a packet."""
        self._unfollow()
        self.move_to(self.rows.row_of(seq))

    # Modes

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer to follow and to pause only what grows."""
        if action in ("follow", "pause"):
            return self.live
        return super().check_action(action, parameters)

    def _to_the_newest(self) -> None:
        self.top = self._last_top
        self.cursor = self.end_row - 1 if self.end_row > self.first_row else None

    def stay(self, seq: int | None) -> None:
        """Follow no longer, with the cursor on a packet that is looked into."""
        if self.follow:
            self._unfollow()
            if seq is not None and seq >= self.rows.store.first_seq:
                super().move_to(self.rows.row_of(seq), quietly=True)

    def action_last(self) -> None:
        """Go to the newest packet, and stay there while packets come."""
        super().action_last()
        if self.live and not self.follow:
            self.action_follow()

    def action_follow(self) -> None:
        """Keep the newest packet in sight and selected, or stop doing so."""
        self.follow = not self.follow
        if self.follow:
            self._to_the_newest()
        self.refresh()
        self.post_message(self.ModeChanged())

    def action_pause(self) -> None:
        """Take in nothing new, or go on."""
        self.rows.paused = not self.rows.paused
        self.tick()
        self.post_message(self.ModeChanged())

    def action_clock(self) -> None:
        """Show the time of day, or the time since the first packet."""
        self.since_first = not self.since_first
        self.clear_strips()

    def _unfollow(self) -> None:
        if self.follow:
            self.follow = False
            self.post_message(self.ModeChanged())

    def move_to(self, number: int, *, quietly: bool = False) -> None:
        """Put the cursor on a row; the view then stays there."""
        self._unfollow()
        super().move_to(number, quietly=quietly)

    def scroll_rows(self, count: int) -> None:
        """Scroll; back from the newest packet ends following."""
        if count < 0:
            self._unfollow()
        super().scroll_rows(count)

    # Drawing

    def render_lines(self, crop: Region) -> list[Strip]:
        """Draw lines, with the packets of all of them fetched at once."""
        columns = self._columns(self.size.width - 1)
        if columns != self._columns_now:
            self._columns_now = columns
            self._strips.clear()
        self._fetch()
        return super().render_lines(crop)

    def _columns(self, width: int) -> Columns:
        interfaces = self.rows.store.interfaces
        if len(interfaces) != len(self._netdev_names):
            self._netdev_names = tuple(text.plain(interface.name) for interface in interfaces)
        several = len(interfaces) > 1
        longest = max((text.width(name) for name in self._netdev_names), default=0) if several else 0
        return lay_out(
            width, last_number=self.rows.store.next_seq, netdev=longest, address=self._address_width
        )

    def row_key(self, number: int) -> object:
        """Rows look alike while packet, mark and clock are the same (and the columns: see `render_lines`)."""
        seq = self.rows.seq(number)
        return (seq, self.rows.marked(seq), self.since_first)

    def heading(self, width: int) -> Sequence[Segment]:  # noqa: ARG002
        """Draw the column titles."""
        c, style = self._columns_now, self.palette.heading
        titles = [
            ("No.", c.number, True),
            ("Since first" if self.since_first else "Time", c.time, False),
            ("Netdev" if c.netdev >= 6 else "Net", c.netdev, False),
            ("", c.direction, False),
            ("Source", c.address, False),
            ("Destination", c.address, False),
            ("Protocol" if c.protocol >= 8 else "Proto", c.protocol, False),
            ("Len", c.length, True),
            ("Info", c.info, False),
        ]
        segments = [Segment(" ")]
        for title, size, right in titles:
            if size:
                segments.append(cell(title, size, style, right=right, gap=1))
        return segments

    def row(self, number: int, width: int) -> Sequence[Segment]:  # noqa: ARG002
        """Draw one packet."""
        seq = self.rows.seq(number)
        c, palette = self._columns_now, self.palette
        try:
            line = self._line(seq)
        except (QmonError, IndexError) as problem:
            return [
                Segment(f" {seq + 1:>{c.number}} ", palette.faint),
                Segment(text.plain(str(problem)), palette.bad),
            ]
        summary = line.summary
        self._notice_width(summary)
        arrow = palette.outgoing if line.direction == Direction.OUT else palette.incoming
        protocol = palette.protocol(summary.protocol)
        bad = summary.protocol == "TCP" and "[RST" in summary.info
        info = palette.bad if bad else palette.text
        parts: list[tuple[str, int, Style | None, bool]] = [
            (str(seq + 1), c.number, palette.faint, True),
            (self._time(line.time_ns, c.time), c.time, palette.dim, False),
            (self._netdev_names[line.interface] if c.netdev else "", c.netdev, palette.dim, False),
            (ARROWS[line.direction], c.direction, arrow, False),
            (shorten_address(summary.source, c.address), c.address, palette.text, False),
            (shorten_address(summary.destination, c.address), c.address, palette.text, False),
            (summary.protocol, c.protocol, protocol, False),
            (str(line.length), c.length, palette.dim, True),
            (summary.info, c.info, info, False),
        ]
        segments = [Segment("●" if self.rows.marked(seq) else " ", palette.warn)]
        for content, size, style, right in parts:
            if size:
                segments.append(
                    cell(content, size, style, right=right, gap=0 if content is summary.info else 1)
                )
        return segments

    def _line(self, seq: int) -> _Line:
        known = self._known.get(seq)
        if known is None:
            store = self.rows.store
            row = store.row(seq)
            summary = summarise(store.frame(seq), store.link_type(seq), length=row.length)
            known = self._known[seq] = _Line(row.time_ns, row.interface, row.direction, row.length, summary)
        return known

    def _fetch(self) -> None:
        """Get the packets in sight that are not known yet, in one read where they lie side by side."""
        if len(self._known) >= KNOWN_LINES:
            self._known.clear()
        start, stop = max(self.top, self.first_row), min(self.top + self.page, self.end_row)
        if start >= stop or self.rows.filtering:
            return
        while start < stop and start in self._known:
            start += 1
        store = self.rows.store
        try:
            batch = store.batch(start, stop)
        except QmonError:
            return  # Each row tells what is wrong with it.
        links = [interface.link_type for interface in store.interfaces]
        first = stop - len(batch)
        columns = (batch.time_ns, batch.interface, batch.direction, batch.length)
        for i, (time_ns, interface, direction, length) in enumerate(
            zip(*(column.tolist() for column in columns), strict=True)
        ):
            if first + i not in self._known:
                summary = summarise(batch.frame(i), links[interface], length=length)
                self._known[first + i] = _Line(time_ns, interface, direction, length, summary)

    def _notice_width(self, summary: Summary) -> None:
        longest = max(len(summary.source), len(summary.destination))
        if longest > self._address_width:
            self._address_width = longest
            self.call_later(self.clear_strips)

    def _time(self, time_ns: int, size: int) -> str:
        if not size:
            return ""
        if time_ns == NO_TIME:
            return "no time"[:size]
        if self.since_first:
            if self._first_ns is None:
                self._first_ns = self._first_time()
            seconds = (time_ns - (self._first_ns or 0)) / 1e9
            return f"{seconds:>{size}.6f}"
        whole, fraction = divmod(time_ns, 1_000_000_000)
        return f"{clock(whole)}.{fraction:09d}"[:size]

    def _first_time(self) -> int | None:
        """Return the first packet's time, or that of one soon behind it where that has none."""
        store = self.rows.store
        near = range(store.first_seq, min(store.first_seq + _NEAR_ROWS, store.next_seq))
        return next((time_ns for seq in near if (time_ns := store.row(seq).time_ns) != NO_TIME), None)

    def nothing(self) -> Sequence[str]:
        """Say why there are no rows."""
        if self.rows.filtering:
            if self.rows.behind:
                return ("Searching …",)
            return (
                f"No packet matches {text.plain(self.rows.expression)}",
                "/: change the filter · Esc: remove it",
            )
        return self.waiting_lines


def clock(seconds: int) -> str:
    """Return the local time of day; a stamp no calendar has is shown as it is."""
    try:
        return time.strftime("%H:%M:%S", time.localtime(seconds))
    except (OverflowError, ValueError, OSError):
        return "--:--:--"


def shorten_address(address: str, size: int) -> str:
    """Cut the middle of an address: both its network and its end tell hosts apart."""
    if len(address) <= size or size < 6:
        return address
    tail = min(6, size // 2 - 1)
    return f"{address[: size - tail - 1]}…{address[-tail:]}"
