"""Text from guests, files and monitors, made harmless for a terminal.

Owns the one definition of "plain". Must never let through a character that moves the cursor, changes the
reading direction or cannot be encoded; must never interpret markup.
"""

from __future__ import annotations

import re
import time
import unicodedata

# C0, DEL, C1; the bidirectional controls of UAX #9; line and paragraph separators; zero-width characters
# that hide text; lone surrogates (not encodable); byte-order mark; tags and non-characters.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u115f\u1160\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff"
    "\ufff0-\ufffb\ufffe\uffff\U000e0000-\U000e0fff]"
)
_NAMED = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def _escape(match: re.Match[str]) -> str:
    character = match.group()
    code = ord(character)
    if character in _NAMED:
        return _NAMED[character]
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def plain(text: str) -> str:
    """Return `text` on one line with every control or invisible character shown as a backslash escape."""
    return text if text.isascii() and text.isprintable() else _UNSAFE.sub(_escape, text)


def plain_lines(text: str) -> str:
    """Like `plain`, but keeps line breaks (``\\r\\n`` becomes ``\\n``); for texts of several lines."""
    return "\n".join(plain(line) for line in text.replace("\r\n", "\n").split("\n"))


def plain_bytes(data: bytes | bytearray | memoryview) -> str:
    """Return bytes as text: UTF-8 where they are, ``\\xNN`` where they are not, and `plain`."""
    return plain(bytes(data).decode("utf-8", "backslashreplace"))


def described(problem: BaseException) -> str:
    """Return the kind and the words of an error, on one line; of a group of errors those of the first."""
    while isinstance(problem, BaseExceptionGroup):
        problem = problem.exceptions[0]
    words = plain(str(problem))
    return f"{type(problem).__name__}: {words}" if words else type(problem).__name__


def width(text: str) -> int:
    """Return how many terminal cells `text` (already plain) takes."""
    if text.isascii():
        return len(text)
    return sum(_cells(character) for character in text)


def _cells(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def cut(text: str, cells: int) -> str:
    """Return `text` shortened to `cells` terminal cells, with an ellipsis where something is missing."""
    if width(text) <= cells:
        return text
    if cells <= 0:
        return ""
    used, kept = 1, []
    for character in text:
        used += _cells(character)
        if used > cells:
            break
        kept.append(character)
    return "".join(kept) + "…"


def clock(time_ns: int) -> str:
    """Return the local time of day of a moment (ns since 1970, UTC) as tcpdump prints it: HH:MM:SS.ffffff."""
    try:
        local = time.localtime(time_ns // 10**9)
    except (OverflowError, OSError, ValueError):
        return f"{time_ns / 1e9:.6f}"
    return f"{local.tm_hour:02}:{local.tm_min:02}:{local.tm_sec:02}.{time_ns % 10**9 // 1000:06}"
