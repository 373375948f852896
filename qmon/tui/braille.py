"""Bar charts in braille: two bars a cell, four steps a cell (pure).

Must never know what is charted.
"""

from __future__ import annotations

from collections.abc import Sequence

# Dots of a braille cell from its base upwards, left and right (Unicode, block U+2800).
_UPWARDS = ((0x40, 0x04, 0x02, 0x01), (0x80, 0x20, 0x10, 0x08))
_STEPS = 4


def bars(values: Sequence[float], *, cells: int, rows: int, peak: float, hanging: bool = False) -> list[str]:
    """Return `rows` lines of `cells` cells, the newest value at the right; any value above 0 shows at least one dot.

    `hanging` bars grow downwards from the top line. `peak` is what fills the whole height.
    """
    full = rows * _STEPS
    heights = [_height(value, peak, full) for value in values[-2 * cells :]]
    heights = [0] * (2 * cells - len(heights)) + heights
    lines = []
    for row in range(rows):
        base = (row if hanging else rows - 1 - row) * _STEPS
        lines.append("".join(_cell(heights[i : i + 2], base, hanging) for i in range(0, 2 * cells, 2)))
    return lines


def _height(value: float, peak: float, full: int) -> int:
    if value <= 0 or peak <= 0:
        return 0
    return min(max(round(value / peak * full), 1), full)


def _cell(pair: Sequence[int], base: int, hanging: bool) -> str:
    bits = 0
    for side, height in enumerate(pair):
        dots = _UPWARDS[side][::-1] if hanging else _UPWARDS[side]
        for step in range(_STEPS):
            if height > base + step:
                bits |= dots[step]
    return chr(0x2800 + bits) if bits else " "
