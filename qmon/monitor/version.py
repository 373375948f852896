"""The version of a QEMU, as it says it in its greeting. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """A QEMU's version; `package` is the distribution's, as QEMU says it."""

    major: int
    minor: int
    micro: int
    package: str = ""

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.micro}"

    @classmethod
    def from_greeting(cls, greeting: Mapping[str, Any]) -> Self:
        """Read it from a QMP greeting; all zeros where the greeting does not say."""
        try:
            version = greeting["QMP"]["version"]
            numbers = version["qemu"]
            return cls(
                int(numbers["major"]), int(numbers["minor"]), int(numbers["micro"]), str(version["package"])
            )
        except (KeyError, TypeError, ValueError):
            return cls(0, 0, 0)
