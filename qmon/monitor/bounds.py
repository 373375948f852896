"""What a QMP message may hold, on its way to QEMU and back: how deeply it nests, which texts and numbers. Pure.

Owns the bounds. Must never change a value: what is out of bounds is refused whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qmon.errors import UsageError
from qmon.text import cut, plain

# QEMU refuses deeper ones as a parse error without an id (qobject/json-parser.c has 1024); its own are flat.
NESTING_LIMIT = 128


def check_arguments(value: object, *, depth: int = 0) -> None:
    """Refuse what QEMU's parser would not read: for such a line it answers without saying which it was."""
    if depth > NESTING_LIMIT:
        raise UsageError(f"the arguments are nested deeper than {NESTING_LIMIT} levels")
    if isinstance(value, Mapping):
        for key, member in value.items():
            check_arguments(key, depth=depth + 1)
            check_arguments(member, depth=depth + 1)
    elif isinstance(value, list | tuple):
        for member in value:
            check_arguments(member, depth=depth + 1)
    elif isinstance(value, str):
        if "\0" in value or not _encodable(value):
            raise UsageError(f"QMP cannot carry the text '{cut(plain(value), 80)}'")
    elif isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        raise UsageError(f"QMP cannot carry the number {value}")


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def nests_too_deeply(message: object, text: bytes) -> bool:
    """Tell whether a message, as parsed from `text`, is nested deeper than the limit.

    What is parsed near the bottom of the stack may be too deep to be written again further up.
    """
    if text.count(b"{") + text.count(b"[") <= NESTING_LIMIT:
        return False
    level: list[Any] = [message]
    for _ in range(NESTING_LIMIT):
        members = (one.values() if isinstance(one, dict) else one for one in level)
        level = [one for some in members for one in some if isinstance(one, dict | list)]
        if not level:
            return False
    return True
