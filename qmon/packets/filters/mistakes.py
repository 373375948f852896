"""Where an expression goes wrong, found out by asking.

libpcap says that there is a syntax error, not where. An expression goes wrong at the first word after which nothing
could follow that would make it right. So beginnings of it are tried, each with some endings of which one fits whatever
the grammar waits for (man pcap-filter): the longest beginning that can still become an expression ends before the
mistake. Beginnings of a possible beginning are possible too, hence few are tried.

Pure; must never know the compiler.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence

# One of them makes an expression of every beginning of one: nothing, a value of each sort, a primitive, a relation.
_ENDINGS = (
    "",
    " tcp",
    " 1",
    " 10.0.0.1",
    " host 10.0.0.1",
    " port 1",
    " ::1",
    " 0:0:0:0:0:1",
    " = 1",
    " 1 = 1",
    " ] = 1",
    " 0 ] = 1",
    " mask 255.0.0.0",
    " mgt",
    " beacon",
    " in",
    " snap",
    " len 1",
)


def first_mistake(pieces: Sequence[str], compiles: Callable[[str], bool]) -> int | None:
    """Return the index of the first piece that cannot stand where it does, `len(pieces)` if one is missing at the end.

    The pieces make the expression when they are put one after the other. None if not even its beginning says anything.
    """

    def hopeless(count: int) -> bool:
        beginning = "".join(pieces[:count])
        closing = " )" * (beginning.count("(") - beginning.count(")"))
        return not any(compiles(beginning + ending + closing) for ending in _ENDINGS)

    if hopeless(0):
        return None
    # All pieces together may be hopeless, or still wait for something.
    return (
        bisect_left(range(len(pieces) + 1), True, key=hopeless) - 1 if hopeless(len(pieces)) else len(pieces)
    )
