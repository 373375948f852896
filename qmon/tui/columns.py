"""How the packet list shares out its width: which columns there are, and how wide each is (pure).

Owns the trade between columns from 80 cells (all a small terminal has) to 160 and more. Must never draw.
"""

from __future__ import annotations

from dataclasses import dataclass

IPV4_WIDTH = 15
CLOCK_MS, CLOCK_US = 12, 15  # 13:37:00.123, 13:37:00.123456
MIN_INFO = 20


@dataclass(frozen=True, slots=True)
class Columns:
    """Widths in cells; 0 leaves a column out. `info` is what remains. Columns are one cell apart."""

    number: int
    time: int
    netdev: int
    direction: int
    address: int
    protocol: int
    length: int
    info: int


def lay_out(width: int, *, last_number: int, netdev: int, address: int) -> Columns:
    """Return the columns for a list `width` cells wide.

    `last_number` is the largest packet number, `netdev` the longest netdev name (0 when there is only one
    netdev), `address` the longest address seen so far.
    """
    # What a wider list shows more of grows a little at a time, so that Info does not pay for it all at once.
    roomy = width >= 110
    number = max(len(str(last_number)), 4 + min(max((width - 100) // 10, 0), 2))
    time = min(CLOCK_MS + max((width - 108) // 4, 0), CLOCK_US) if width >= 70 else 0
    netdev = max(min(netdev, 10 if roomy else 6), 3) if netdev else 0
    length = 5 if width >= 90 else 0
    protocol = 8 if roomy else 7
    fixed = sum(part + 1 for part in (number, time, netdev, length, protocol) if part) + 2 + 2 + 1
    room = width - fixed - MIN_INFO
    # What both addresses do not need; of more than that, half is for Info.
    both = 2 * IPV4_WIDTH
    longest = max(room // 2 if room < both else IPV4_WIDTH + (room - both) // 4, 9)
    address = min(max(address, IPV4_WIDTH if width >= 78 else 11), longest)
    info = max(width - fixed - 2 * address, 0)
    return Columns(number, time, netdev, 1, address, protocol, length, info)
