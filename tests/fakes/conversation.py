"""Recorded monitor conversations: one JSON object a line, `{"from": "qemu" | "qmon", "message": …}`.

`"descriptors": N` says that N descriptors came with the message.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Line:
    """A line of a conversation, and where it stands."""

    place: str
    sender: str
    message: dict[str, Any]
    descriptors: int = 0


def load(path: Path) -> list[Line]:
    """The lines of a recorded conversation."""
    lines = []
    for number, text in enumerate(path.read_text().splitlines(), 1):
        content = json.loads(text)
        place = f"{path}:{number}"
        lines.append(Line(place, content["from"], content["message"], content.get("descriptors", 0)))
    return lines


def dump(lines: Iterable[Line], path: Path) -> None:
    """Write a conversation."""
    with path.open("w") as file:
        for line in lines:
            content: dict[str, Any] = {"from": line.sender, "message": line.message}
            if line.descriptors:
                content["descriptors"] = line.descriptors
            file.write(json.dumps(content, separators=(",", ":")) + "\n")


class Replay:
    """Steps through a conversation from QEMU's side."""

    def __init__(self, lines: list[Line]) -> None:
        self._lines = lines
        self._at = 0

    def greeting(self) -> dict[str, Any]:
        """The first message."""
        assert self._lines[0].sender == "qemu"
        self._at = 1
        return self._lines[0].message

    def next(self, command: dict[str, Any], descriptors: int) -> tuple[list[dict[str, Any]], str | None]:
        """What QEMU sent after this command, or what is surprising about the command."""
        if self._at >= len(self._lines):
            return [], f"{self._lines[-1].place}: the conversation is over, but {_plain(command)} came"
        line = self._lines[self._at]
        if _plain(line.message) != _plain(command):
            return [], f"{line.place}: expected {_plain(line.message)}, but {_plain(command)} came"
        if line.descriptors != descriptors:
            return [], f"{line.place}: expected {line.descriptors} descriptors, but {descriptors} came"
        self._at += 1
        replies: list[dict[str, Any]] = []
        while self._at < len(self._lines) and self._lines[self._at].sender == "qemu":
            message = self._lines[self._at].message
            replies.append(
                {**message, "id": command["id"]} if "id" in message and "id" in command else message
            )
            self._at += 1
        return replies, None

    @property
    def ended(self) -> bool:
        """Whether QEMU ended with the last line."""
        asked = [line.message for line in self._lines if line.sender == "qmon"]
        return self._at >= len(self._lines) and asked[-1].get("execute") == "quit"

    def left(self) -> str | None:
        """What was not asked for, None if the conversation was had to its end."""
        if self._at >= len(self._lines):
            return None
        line = self._lines[self._at]
        return f"{line.place}: expected {_plain(line.message)}, but the test ended"


def _plain(message: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in message.items() if key != "id" and (key, value) != ("arguments", {})}
