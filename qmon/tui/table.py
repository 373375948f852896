"""A list with columns: what conversations, usernet rows, events and notes are shown in.

Owns the sharing out of the width among columns. Must never hold the rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.segment import Segment
from rich.style import Style

from qmon.tui.rows import RowView, cell

Cell = tuple[str, Style]


@dataclass(frozen=True, slots=True)
class Column:
    """A column `width` cells wide; `share` > 0 lets it grow into what is left, `need` leaves it out of lists
    that are narrower than that."""

    title: str
    width: int
    right: bool = False
    share: int = 0
    need: int = 0


def widths(columns: Sequence[Column], width: int) -> list[int]:
    """Return the width of each column in a list `width` cells wide; 0 for one that is left out."""
    sizes = [column.width if width >= column.need else 0 for column in columns]
    spare = width - sum(size + 1 for size in sizes if size) - 1
    shares = sum(column.share for column, size in zip(columns, sizes, strict=True) if size)
    if spare > 0 and shares:
        for number, column in enumerate(columns):
            if sizes[number] and column.share:
                sizes[number] += spare * column.share // shares
    return sizes


class TableView(RowView):
    """Rows of cells under titles."""

    HAS_HEADING = True

    def __init__(self, columns: Sequence[Column], *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.columns = tuple(columns)
        self.sorted_by: int | None = None

    def cells(self, number: int) -> Sequence[Cell]:
        """Return one row's texts (already plain) and styles, one a column."""
        raise NotImplementedError

    def heading(self, width: int) -> Sequence[Segment]:
        """Draw the column titles; the one sorted by stands out."""
        palette = self.palette
        segments = [Segment(" ")]
        for number, (column, size) in enumerate(
            zip(self.columns, widths(self.columns, width - 1), strict=True)
        ):
            if size:
                sorting = number == self.sorted_by
                title = column.title + ("▾" if sorting else "")
                style = palette.heading + palette.accent if sorting else palette.heading
                segments += [cell(title, size, style, right=column.right), Segment(" ")]
        return segments

    def row(self, number: int, width: int) -> Sequence[Segment]:  # noqa: ARG002
        """Draw one row."""
        segments = [Segment(" ")]
        sizes = widths(self.columns, self.size.width - 1)
        for column, size, (content, style) in zip(self.columns, sizes, self.cells(number), strict=True):
            if size:
                segments.append(cell(content, size, style, right=column.right, gap=1))
        return segments
