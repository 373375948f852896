"""From a user's words to a selector: the one place that knows which languages there are.

Trailing words of commands are a capture filter (tcpdump's language, `selector_of`), `-Y` is a display filter
(Wireshark's, `display_filter`). Where both may be typed (`/` in the dashboard), `selector_from` finds out: what only
one of the languages takes is in that language; what both take (`tcp`, `arp`) is a display filter. When neither takes
it, the error of the language that got further (`WrongExpression.at`) is the one that helps. The caller shows
`selector.language`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from qmon.packets.batch import ETHERNET

if TYPE_CHECKING:
    from qmon.packets.filters.selector import Selector

# Names of fields; capture filters have none with a letter behind a dot, but for hosts.
_FIELD = re.compile(r"[a-z]\.[a-z]")


def selector_of(words: str | Sequence[str], link_types: Iterable[int] = ()) -> Selector | None:
    """Return what the words of a capture filter select, None for no words at all.

    `link_types` are those that the source has or may have; none is Ethernet. WrongExpression if the words mean nothing
    on any of them.
    """
    expression = _joined(words)
    if not expression:
        return None
    # The compiler is loaded with the first filter only.
    from qmon.packets.filters.capture_filter import CaptureFilter

    return CaptureFilter(expression, tuple(link_types) or (ETHERNET,))


def display_filter(words: str | Sequence[str]) -> Selector | None:
    """Return what a display filter selects, None for no words at all. WrongExpression if it means nothing."""
    expression = _joined(words)
    if not expression:
        return None
    from qmon.packets.filters.display.selector import DisplayFilter

    return DisplayFilter(expression)


def selector_from(words: str | Sequence[str], link_types: Iterable[int] = ()) -> Selector | None:
    """Return what words in either language select, None for no words at all; `language` says which one it was.

    WrongExpression if neither takes them.
    """
    from qmon.packets.filters.selector import WrongExpression

    try:
        return display_filter(words)
    except WrongExpression as problem:
        display = problem
    try:
        return selector_of(words, link_types)
    except WrongExpression as capture:
        there, here = (-1 if one.at is None else one.at for one in (capture, display))
        further = here > there or (here == there and _FIELD.search(display.expression))
        raise (display if further else capture) from None


def both_of(*selectors: Selector | None) -> Selector | None:
    """Return what all of several selectors mean, leaving out those there are not."""
    from qmon.packets.filters.selector import AllOf

    given = tuple(one for one in selectors if one is not None)
    return AllOf(given) if len(given) > 1 else given[0] if given else None


def _joined(words: str | Sequence[str]) -> str:
    return (words if isinstance(words, str) else " ".join(words)).strip()
