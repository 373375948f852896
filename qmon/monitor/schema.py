"""What one QEMU says about its own commands (`query-qmp-schema`): names, members and types to look up.

Owns the reading of QEMU's introspection (qapi/introspect.json). Must never know a command by heart: what is not
in the schema does not exist.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

# Backends that are only internal names of QEMU's, never something to add.
_NO_NETDEVS = frozenset({"none", "nic"})
_NOTHING = "q_empty"


@dataclass(frozen=True, slots=True)
class Member:
    """A member of an object: `type` is to be looked up with `Schema.type`."""

    name: str
    type: str
    optional: bool


@dataclass(frozen=True, slots=True)
class Type:
    """A type; which of the fields count depends on `kind`.

    `kind` is QEMU's meta-type (`enum`, `array`, `object`, `alternate`) or, for a plain value, its JSON type
    (`string`, `int`, `number`, `boolean`, `null`, `value` for anything). `values` are an enum's, `element` an
    array's, `members` an object's; `alternatives` an alternate's types. An object with a `tag` has further
    members that depend on the value of the member of that name: `variants` maps it to a type.
    """

    name: str
    kind: str
    values: tuple[str, ...] = ()
    element: str = ""
    members: tuple[Member, ...] = ()
    tag: str | None = None
    variants: Mapping[str, str] | None = None
    alternatives: tuple[str, ...] = ()

    def member(self, name: str) -> Member | None:
        """Return the member of that name, without those of a variant."""
        return next((member for member in self.members if member.name == name), None)


class Schema:
    """Lookups in one QEMU's schema, made from the reply to `query-qmp-schema`."""

    def __init__(self, entries: Iterable[Mapping[str, Any]]) -> None:
        self._entries = {str(entry["name"]): entry for entry in entries}
        self._types: dict[str, Type] = {}

    def __repr__(self) -> str:
        return f"<Schema of {len(self._entries)} entries>"

    def commands(self) -> frozenset[str]:
        """Return the names of all commands."""
        return self._of_kind("command")

    def events(self) -> frozenset[str]:
        """Return the names of all events."""
        return self._of_kind("event")

    def command(self, name: str) -> Type | None:
        """Return the object that a command takes as arguments, None if there is no such command."""
        return self._argument(name, "command")

    def event(self, name: str) -> Type | None:
        """Return the object that an event carries as data, None if there is no such event."""
        return self._argument(name, "event")

    def type(self, name: str) -> Type:
        """Return the type of that (internal) name; KeyError if the schema has none."""
        if name not in self._types:
            self._types[name] = _read(self._entries[name])
        return self._types[name]

    def members(self, type_name: str, case: str | None = None) -> tuple[Member, ...]:
        """Return an object's members, with those of the variant `case` where it has one."""
        found = self.type(type_name)
        variant = (found.variants or {}).get(case) if case is not None else None
        return found.members if variant is None else (*found.members, *self.members(variant))

    def values(self, type_name: str) -> tuple[str, ...]:
        """Return an enum's values, nothing for another kind of type."""
        return self.type(type_name).values

    def netdev_types(self) -> tuple[str, ...]:
        """Return the backends that `netdev_add` of this QEMU knows, in QEMU's order."""
        netdev = self.command("netdev_add")
        tag = netdev.member(netdev.tag) if netdev and netdev.tag else None
        return tuple(value for value in self.values(tag.type) if value not in _NO_NETDEVS) if tag else ()

    def netdev_members(self, netdev_type: str) -> tuple[Member, ...] | None:
        """Return what `netdev_add` takes for one backend, `type` and `id` first; None if unknown here."""
        netdev = self.command("netdev_add")
        if netdev is None or netdev_type not in self.netdev_types():
            return None
        return self.members(netdev.name, netdev_type)

    def object_members(self, qom_type: str) -> tuple[Member, ...] | None:
        """Return what `object-add` takes for one QOM type; None if it is unknown here."""
        added = self.command("object-add")
        if added is None or added.tag is None or (tag := added.member(added.tag)) is None:
            return None
        return self.members(added.name, qom_type) if qom_type in self.values(tag.type) else None

    def _of_kind(self, kind: str) -> frozenset[str]:
        return frozenset(name for name, entry in self._entries.items() if entry.get("meta-type") == kind)

    def _argument(self, name: str, kind: str) -> Type | None:
        entry = self._entries.get(name)
        if entry is None or entry.get("meta-type") != kind:
            return None
        return self.type(str(entry["arg-type"])) if "arg-type" in entry else Type(_NOTHING, "object")


def _read(entry: Mapping[str, Any]) -> Type:
    name, kind = str(entry["name"]), str(entry["meta-type"])
    if kind == "builtin":
        return Type(name, str(entry["json-type"]))
    if kind == "enum":
        return Type(name, kind, values=tuple(entry["values"]))
    if kind == "array":
        return Type(name, kind, element=str(entry["element-type"]))
    if kind == "alternate":
        return Type(name, kind, alternatives=tuple(str(member["type"]) for member in entry["members"]))
    members = tuple(
        Member(str(member["name"]), str(member["type"]), "default" in member)
        for member in entry.get("members", ())
    )
    variants = {str(variant["case"]): str(variant["type"]) for variant in entry.get("variants", ())}
    return Type(name, kind, members=members, tag=entry.get("tag"), variants=variants or None)
