"""What `query-qmp-schema` says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class Schema:
    """What this QEMU says about its own commands."""

    def __init__(self, entries: Sequence[dict[str, Any]]) -> None:
        self._entries = {str(entry["name"]): entry for entry in entries}
