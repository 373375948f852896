"""From a user's words to a selector: the one place that knows which languages there are.

Everything that takes a filter (dump, read, wireshark, extcap, the dashboard's `/`, saving) comes through `selector_of`.
A second language, such as Wireshark's display filters, is a second subclass of `Selector` and a branch here:
an expression that only one of the languages takes is in that language; one that both take (`tcp`, `arp`) means what it
means in the language that was asked for, and the caller shows `selector.language`. When neither takes it, the error of
the language that got further (`WrongExpression.at`) is the one that helps.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from qmon.packets.batch import ETHERNET

if TYPE_CHECKING:
    from qmon.packets.filters.selector import Selector


def selector_of(words: str | Sequence[str], link_types: Iterable[int] = ()) -> Selector | None:
    """Return what the words select, None for no words at all.

    `link_types` are those that the source has or may have; none is Ethernet. WrongExpression if the words mean nothing
    on any of them.
    """
    expression = (words if isinstance(words, str) else " ".join(words)).strip()
    if not expression:
        return None
    # The compiler is loaded with the first filter only.
    from qmon.packets.filters.capture_filter import CaptureFilter

    return CaptureFilter(expression, tuple(link_types) or (ETHERNET,))
