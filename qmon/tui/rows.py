"""A list that draws only what is visible: the ground under every list, table and tree of the dashboard.

Owns the cursor, the top row, the scroll bar, and the keys and mouse that move them. Must never hold the rows:
a subclass says how many there are and draws one at a time. A plain widget on purpose: Textual's scroll views
lay out the whole screen anew whenever their content grows, which costs half a core while packets arrive.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from qmon import text
from qmon.tui.palette import Palette, palette_of

CACHED_STRIPS = 1024
WHEEL_ROWS = 3


def cell(
    content: str, width: int, style: Style | None = None, *, right: bool = False, gap: int = 0
) -> Segment:
    """Return `content` (already plain) as exactly `width` cells, and `gap` empty ones behind them."""
    size = len(content) if content.isascii() else cell_len(content)
    if size > width:
        content = f"{set_cell_size(content, width - 1)}…" if width else ""
        size = width
    room = " " * (width - size)
    return Segment((room + content if right else content + room) + " " * gap, style)


@dataclass(frozen=True, slots=True)
class _Frame:
    """What all lines of one drawing have in common; asking the widget again for each line costs more than a line."""

    width: int
    page: int
    first: int
    end: int
    under: tuple[Style, Style, Style]
    thumb: range
    bar: tuple[Segment, Segment]

    @property
    def has_bar(self) -> bool:
        return self.end - self.first > self.page


class RowView(Widget, can_focus=True):
    """Rows `first_row` … `end_row - 1`, of which those on the screen are drawn.

    Row numbers may start above 0, so that a list that forgets its oldest rows keeps the numbers of the others.
    """

    SHOW_CURSOR: ClassVar[bool] = True
    HAS_HEADING: ClassVar[bool] = False
    NOTHING_IS_A_BLOCK: ClassVar[bool] = False
    DEFAULT_CSS = """
    RowView { height: 1fr; width: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down", "move(1)", "Down", show=False),
        Binding("k,up", "move(-1)", "Up", show=False),
        Binding("ctrl+d", "move_pages(0.5)", "Half a page down", show=False),
        Binding("ctrl+u", "move_pages(-0.5)", "Half a page up", show=False),
        Binding("pagedown,ctrl+f", "move_pages(1)", "Page down", show=False),
        Binding("pageup,ctrl+b", "move_pages(-1)", "Page up", show=False),
        Binding("g,home", "first", "First", show=False),
        Binding("G,end", "last", "Last", show=False),
        Binding("enter", "choose", "Open", show=False),
    ]

    class Highlighted(Message):
        """The cursor came to rest on another row; `row` is None when there is none."""

        def __init__(self, view: RowView, row: int | None) -> None:
            super().__init__()
            self.view = view
            self.row = row

        @property
        def control(self) -> RowView:
            """The list it happened in."""
            return self.view

    class Chosen(Message):
        """Enter or a double click on a row."""

        def __init__(self, view: RowView, row: int) -> None:
            super().__init__()
            self.view = view
            self.row = row

        @property
        def control(self) -> RowView:
            """The list it happened in."""
            return self.view

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self.top = 0
        self.cursor: int | None = None
        self._strips: dict[tuple[object, ...], Strip] = {}
        self._dragging = False
        self._frame: _Frame | None = None

    # What a subclass says

    @property
    def first_row(self) -> int:
        """The number of the oldest row there is."""
        return 0

    @property
    def end_row(self) -> int:
        """One more than the number of the newest row."""
        raise NotImplementedError

    def row(self, number: int, width: int) -> Sequence[Segment]:
        """Draw one row in at most `width` cells."""
        raise NotImplementedError

    def row_key(self, number: int) -> object:
        """Return what, with the row's number, decides how the row looks; equal keys may share a drawing."""
        return number

    def heading(self, width: int) -> Sequence[Segment]:  # noqa: ARG002
        """Draw the line of column titles; asked for only where `HAS_HEADING` is true."""
        return ()

    def nothing(self) -> Sequence[str]:
        """Return the lines shown while there are no rows; the first is the most important."""
        return ()

    def selectable(self, number: int) -> bool:  # noqa: ARG002
        """Say whether the cursor may rest on this row."""
        return True

    # Where things are

    @property
    def palette(self) -> Palette:
        """The colours of the theme that is on."""
        return palette_of(self.app)

    @property
    def heading_height(self) -> int:
        """How many lines the titles take."""
        return 1 if self.HAS_HEADING else 0

    @property
    def page(self) -> int:
        """How many rows fit."""
        return max(self.size.height - self.heading_height, 1)

    @property
    def _last_top(self) -> int:
        return max(self.end_row - self.page, self.first_row)

    def clear_strips(self) -> None:
        """Forget every drawn row; for when what rows look like has changed."""
        self._strips.clear()
        self.refresh()

    def settle(self) -> None:
        """Bring top row and cursor back among the rows that exist; for when rows came or went."""
        self.top = min(max(self.top, self.first_row), self._last_top)
        if self.cursor is not None and not self.first_row <= self.cursor < self.end_row:
            self.cursor = (
                None
                if self.end_row <= self.first_row
                else min(max(self.cursor, self.first_row), self.end_row - 1)
            )
        self.refresh()

    # Moving

    def move_to(self, number: int, *, quietly: bool = False) -> None:
        """Put the cursor on a row and bring it into sight."""
        if self.end_row <= self.first_row:
            return
        step = -1 if self.cursor is not None and number < self.cursor else 1
        number = min(max(number, self.first_row), self.end_row - 1)
        found = self._nearest_selectable(number, step)
        if found is None:
            return
        moved, self.cursor = found != self.cursor, found
        self.show_row(found)
        if moved and not quietly:
            self.post_message(self.Highlighted(self, found))

    def _nearest_selectable(self, number: int, step: int) -> int | None:
        for direction in (step, -step):
            candidate = number
            while self.first_row <= candidate < self.end_row:
                if self.selectable(candidate):
                    return candidate
                candidate += direction
        return None

    def show_row(self, number: int) -> None:
        """Scroll no further than needed to see a row."""
        if number < self.top:
            self.top = number
        elif number >= self.top + self.page:
            self.top = number - self.page + 1
        self.settle()

    def scroll_rows(self, count: int) -> None:
        """Move the view and leave the cursor where it is."""
        self.top = min(max(self.top + count, self.first_row), self._last_top)
        self.refresh()

    def action_move(self, count: int) -> None:
        """Move the cursor; from the edge of what is visible if it is out of sight."""
        if self.cursor is None or not self.top <= self.cursor < self.top + self.page:
            self.move_to(self.top if count > 0 else min(self.top + self.page, self.end_row) - 1)
        else:
            self.move_to(self.cursor + count)

    def action_move_pages(self, pages: float) -> None:
        """Move cursor and view by pages."""
        count = round(self.page * pages) or (1 if pages > 0 else -1)
        at = self.cursor if self.cursor is not None else self.top
        self.scroll_rows(count)
        self.move_to(at + count)

    def action_first(self) -> None:
        """Go to the oldest row."""
        self.move_to(self.first_row)

    def action_last(self) -> None:
        """Go to the newest row."""
        self.move_to(self.end_row - 1)

    def action_choose(self) -> None:
        """Open the row under the cursor."""
        if self.cursor is not None:
            self.post_message(self.Chosen(self, self.cursor))

    # Mouse

    def _row_at(self, y: int) -> int | None:
        number = self.top + y - self.heading_height
        return number if y >= self.heading_height and number < self.end_row else None

    @property
    def _has_bar(self) -> bool:
        return self.end_row - self.first_row > self.page

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Scroll by the wheel."""
        event.stop()
        self.scroll_rows(WHEEL_ROWS)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Scroll by the wheel."""
        event.stop()
        self.scroll_rows(-WHEEL_ROWS)

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """Take hold of the scroll bar."""
        offset = event.get_content_offset(self)
        if offset is not None and self._has_bar and offset.x == self.size.width - 1:
            event.stop()
            self._dragging = True
            self.capture_mouse()
            self._drag_to(offset.y)

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Drag the scroll bar."""
        if self._dragging:
            self._drag_to(event.y - self.gutter.top)

    def on_mouse_up(self, event: events.MouseUp) -> None:  # noqa: ARG002
        """Let go of the scroll bar."""
        if self._dragging:
            self._dragging = False
            self.release_mouse()

    def _drag_to(self, y: int) -> None:
        share = (y - self.heading_height) / max(self.page - 1, 1)
        share = min(max(share, 0.0), 1.0)
        self.scroll_rows(self.first_row + round(share * (self._last_top - self.first_row)) - self.top)

    def on_click(self, event: events.Click) -> None:
        """Put the cursor where the mouse is; twice opens."""
        offset = event.get_content_offset(self)
        if offset is None or (self._has_bar and offset.x == self.size.width - 1):
            return
        number = self._row_at(offset.y)
        if number is None or not self.selectable(number):
            return
        self.clicked(number, offset.x)
        if event.chain == 2:
            self.action_choose()

    def clicked(self, number: int, x: int) -> None:  # noqa: ARG002
        """Take a click on a row at content column `x`."""
        self.move_to(number)

    # Drawing

    def on_resize(self) -> None:
        """Keep the view within the rows when the widget changes its height."""
        self._strips.clear()
        if self.end_row > self.first_row:
            self.settle()

    def notify_style_update(self) -> None:
        """Draw everything anew when the theme changes."""
        super().notify_style_update()
        self._strips.clear()

    def on_focus(self) -> None:
        """Show the cursor as the one that keys move."""
        self.refresh()

    def on_blur(self) -> None:
        """Show the cursor as at rest."""
        self.refresh()

    def render_lines(self, crop: Region) -> list[Strip]:
        """Draw lines; what they have in common is found out once."""
        self._frame = self._new_frame()
        return super().render_lines(crop)

    def _new_frame(self) -> _Frame:
        width, page, first, end = self.size.width, self.page, self.first_row, self.end_row
        base, palette, rows = self.rich_style, self.palette, max(end - first, 1)
        size = max(1, round(page * page / rows))
        start = round((self.top - first) / max(rows - page, 1) * (page - size))
        bar = Segment("│", base + palette.track), Segment("┃", base + palette.thumb)
        under = base, base + palette.cursor_blurred, base + palette.cursor
        return _Frame(width, page, first, end, under, range(start, start + size), bar)

    def render_line(self, y: int) -> Strip:
        """Draw one line of the widget."""
        frame = self._frame or self._new_frame()
        width, background = frame.width, frame.under[0]
        if self.HAS_HEADING:
            if y == 0:
                return Strip(self.heading(width)).crop_extend(0, width, background).apply_style(background)
            y -= 1
        if frame.end <= frame.first:
            return self._draw_nothing(y, width).apply_style(background)
        number, room = self.top + y, width - (1 if frame.has_bar else 0)
        if frame.first <= number < frame.end:
            strip = self._drawn(number, room, frame)
        else:
            strip = Strip.blank(room, background)
        return Strip([*strip, frame.bar[y in frame.thumb]], width) if frame.has_bar else strip

    def _drawn(self, number: int, room: int, frame: _Frame) -> Strip:
        at_cursor = 0 if number != self.cursor or not self.SHOW_CURSOR else 2 if self.has_focus else 1
        under = frame.under[at_cursor]
        key = (number, self.row_key(number), room, under)
        strip = self._strips.get(key)
        if strip is None:
            if len(self._strips) >= CACHED_STRIPS:
                self._strips.clear()
            segments = [Segment(text, under + style) for text, style, _ in self.row(number, room)]
            size = sum(len(text) if text.isascii() else cell_len(text) for text, _, _ in segments)
            if size < room:
                segments.append(Segment(" " * (room - size), under))
            strip = Strip(segments, max(size, room))
            if size > room:
                strip = strip.crop(0, room)
            self._strips[key] = strip
        return strip

    def _draw_nothing(self, y: int, width: int) -> Strip:
        lines = self.nothing()
        line = y - max((self.page - len(lines)) // 3, 0)
        if not 0 <= line < len(lines):
            return Strip.blank(width)
        content = text.cut(lines[line], width)
        longest = max(map(text.width, lines)) if self.NOTHING_IS_A_BLOCK else text.width(content)
        left = max((width - longest) // 2, 0)
        style = self.palette.text if line == 0 else self.palette.dim
        segments = [Segment(" " * left), Segment(content, style)]
        return Strip(segments).crop_extend(0, width, None)
