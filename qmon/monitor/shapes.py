"""The shapes of the replies that qmon reads, so that what only talks like QEMU is told from it. Pure.

Owns the table (qapi/*.json). Must never judge the replies to other commands: they are the user's to look at.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

# A type, a list of one shape, or members by name, of which those with a question mark may be missing.
Shape: TypeAlias = type | list["Shape"] | dict[str, "Shape"]

_PROPERTIES: Shape = [{"name": str, "type": str}]
_TEXT: Shape = {"human-readable-text": str}
_SHAPES: Mapping[str, Shape] = {
    "add-fd": {"fdset-id": int, "fd": int},
    "device-list-properties": _PROPERTIES,
    "human-monitor-command": str,
    "qom-list": _PROPERTIES,
    "qom-list-properties": _PROPERTIES,
    "query-chardev": [{"label": str, "filename": str}],
    "query-commands": [{"name": str}],
    "query-fdsets": [{"fdset-id": int, "fds": [{"fd": int, "opaque?": str}]}],
    "query-name": {"name?": str},
    "query-qmp-schema": [
        {
            "name": str,
            "meta-type": str,
            "members?": [{"name?": str, "type?": str}],
            "variants?": [{"case": str, "type": str}],
            "values?": [str],
            "arg-type?": str,
            "json-type?": str,
            "element-type?": str,
            "tag?": str,
        }
    ],
    "query-status": {"status": str},
    "x-query-network": _TEXT,
    "x-query-usernet": _TEXT,
}


def is_as_expected(command: str, reply: object) -> bool:
    """Tell whether a reply has the shape that qmon relies on; always true for commands it does not read."""
    shape = _SHAPES.get(command)
    return shape is None or _fits(reply, shape)


def _fits(value: object, shape: Shape) -> bool:
    if isinstance(shape, type):
        return isinstance(value, shape) and not (shape is int and isinstance(value, bool))
    if isinstance(shape, list):
        return isinstance(value, list) and all(_fits(one, shape[0]) for one in value)
    return isinstance(value, dict) and all(
        _fits(value[name.rstrip("?")], member) if name.rstrip("?") in value else name.endswith("?")
        for name, member in shape.items()
    )
