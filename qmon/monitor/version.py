"""The version of a QEMU, as it says it in its greeting. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

# QEMU's highest micro number so far is 99.
_HIGHEST = 9999


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
        """Read it from a QMP greeting (qapi/control.json, VersionInfo); ValueError says what is wrong with it."""
        try:
            version = greeting["QMP"]["version"]
            numbers = [version["qemu"][name] for name in ("major", "minor", "micro")]
            package = version.get("package", "")
        except (KeyError, TypeError, AttributeError):
            raise ValueError("its greeting gives no version") from None
        if not all(type(number) is int and 0 <= number <= _HIGHEST for number in numbers):
            raise ValueError("the version in its greeting is not three whole numbers")
        if not isinstance(package, str):
            raise ValueError("the package in its greeting is not a text")
        major, minor, micro = numbers
        return cls(major, minor, micro, package)
