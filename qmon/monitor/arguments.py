"""A QMP command's arguments as a person writes them: one JSON object, or words NAME=VALUE (pure).

Must never send anything.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from qmon.errors import UsageError


def qmp_arguments(words: Sequence[str]) -> dict[str, object]:
    """Return the arguments; a VALUE that is JSON is taken as such, else as a string. UsageError if it is neither."""
    if len(words) == 1 and words[0].lstrip().startswith("{"):
        return json_object(words[0])
    pairs = [word.partition("=") for word in words]
    for name, equals, _ in pairs:
        if not equals or not name:
            raise UsageError(f"'{name}' is neither a JSON object nor name=value")
    return {name: _value(value) for name, _, value in pairs}


def json_object(text: str) -> dict[str, object]:
    """Read one JSON object; UsageError says where it is wrong."""
    try:
        content = json.loads(text)
    except json.JSONDecodeError as problem:
        raise UsageError(f"this is not JSON: see character {problem.pos + 1}") from problem
    except (ValueError, RecursionError) as problem:
        raise UsageError(
            "this JSON cannot be read: it is nested too deeply or holds too long a number"
        ) from problem
    if not isinstance(content, dict):
        raise UsageError("arguments are one JSON object")
    return content


def _value(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
