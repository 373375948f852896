"""Checks a QMP command against a recorded schema, independently of qmon's own reading of it."""

import functools
import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FIXTURES = Path(__file__).parents[2] / "fixtures"
_JSON_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "int": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}


def recorded_versions() -> list[str]:
    """The QEMU versions that fixtures were recorded from, oldest first."""
    names = [path.parent.name for path in FIXTURES.glob("*/schema.json.gz")]
    return sorted(names, key=lambda name: tuple(map(int, name.split("."))))


@functools.cache
def recorded_schema(version: str) -> tuple[dict[str, Any], ...]:
    """What that QEMU answered to query-qmp-schema."""
    return tuple(json.loads(gzip.decompress((FIXTURES / version / "schema.json.gz").read_bytes())))


class Checker:
    """Says what is wrong with a command, by one version's schema."""

    def __init__(self, version: str) -> None:
        self._entries = {entry["name"]: entry for entry in recorded_schema(version)}

    def commands(self) -> list[str]:
        """The names of all commands."""
        return [name for name, entry in self._entries.items() if entry["meta-type"] == "command"]

    def problem(self, command: str, arguments: Mapping[str, Any]) -> str | None:
        """What is wrong with the command, None if nothing is."""
        entry = self._entries.get(command)
        if entry is None or entry["meta-type"] != "command":
            return f"there is no command '{command}'"
        if command == "device_add":
            return (
                None if "driver" in arguments else "'driver' is missing"
            )  # Takes a device's properties too.
        return self._object(entry["arg-type"], arguments, "")

    def _value(self, type_name: str, value: Any, where: str) -> str | None:
        entry = self._entries[type_name]
        kind = entry["meta-type"]
        if kind == "enum":
            return None if value in entry["values"] else f"{where}: '{value}' is not one of {entry['values']}"
        if kind == "array":
            return self._array(entry["element-type"], value, where)
        if kind == "object":
            return self._object(type_name, value, where)
        if kind == "alternate":
            problems = [self._value(member["type"], value, where) for member in entry["members"]]
            return None if None in problems else f"{where}: fits no alternative: {problems}"
        wanted = _JSON_TYPES.get(entry["json-type"])
        fits = wanted is None or (isinstance(value, wanted) and (isinstance(value, bool) == (bool in wanted)))
        return None if fits else f"{where}: {value!r} is no {entry['json-type']}"

    def _array(self, element: str, value: Any, where: str) -> str | None:
        if not isinstance(value, list | tuple):
            return f"{where}: {value!r} is no list"
        problems = (self._value(element, item, f"{where}[{n}]") for n, item in enumerate(value))
        return next(filter(None, problems), None)

    def _object(self, type_name: str, value: Any, where: str) -> str | None:
        if not isinstance(value, Mapping):
            return f"{where}: {value!r} is no object"
        members = self._members(type_name, value)
        for name in value:
            if name not in members:
                return f"{where}.{name}: there is no such member"
        for name, member in members.items():
            if name in value:
                if problem := self._value(member["type"], value[name], f"{where}.{name}"):
                    return problem
            elif "default" not in member:
                return f"{where}.{name}: is missing"
        return None

    def _members(self, type_name: str, value: Mapping[str, Any]) -> dict[str, Any]:
        entry = self._entries[type_name]
        members = {member["name"]: member for member in entry.get("members", ())}
        for variant in entry.get("variants", ()):
            if variant["case"] == value.get(entry["tag"]):
                members.update(self._members(variant["type"], value))
        return members
