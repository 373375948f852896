"""QEMU's option syntax (`user,id=u1,hostfwd=…`, or JSON) as typed QMP arguments. Pure.

Owns the reading of `-netdev` and `-device` words (util/keyval.c, util/qemu-option.c) and their typing by what one
QEMU says of itself. Must never know a backend's or a model's options by heart; must never send anything.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

from qmon.errors import UsageError
from qmon.network.spellings import INSTEAD, modern
from qmon.text import plain

if TYPE_CHECKING:
    from qmon.monitor.schema import Member, Schema, Type

_ON, _OFF = frozenset({"on", "yes", "true", "y"}), frozenset({"off", "no", "false", "n"})
_ID = re.compile(r"[A-Za-z][A-Za-z0-9._-]*")
_NUMBER = re.compile(r"(-?(?:0[xX][0-9A-Fa-f]+|\d+))([bBkKmMgGtTpPeE]?)")
_SUFFIX_BITS = {"": 0, "b": 0, "k": 10, "m": 20, "g": 30, "t": 40, "p": 50, "e": 60}
_INTEGER_PROPERTY = re.compile(r"u?int(8|16|32|64)?|size|size32")
# What device_add takes beside the device's own properties (qapi/qdev.json).
_DEVICE_WORDS = ("driver", "id", "bus")
_PREFIX_LENGTH = 64

Pairs = list[tuple[str, str | None]]


@dataclass(frozen=True, slots=True)
class Option:
    """An option of a backend or device: `type` is for people, such as ``on|off`` or ``a number``."""

    name: str
    type: str
    required: bool = False


# Words


def split(spec: str) -> tuple[str | None, Pairs]:
    """Return the leading word of `first,key=value,…` and the pairs; ``,,`` stands for a comma in a value.

    A word without ``=`` has None as its value; the leading word is None if the first part is a pair.
    """
    parts = [part.replace("\0", ",") for part in spec.replace(",,", "\0").split(",")]
    pairs: Pairs = []
    first: str | None = None
    for index, part in enumerate(parts):
        key, equals, value = part.partition("=")
        if equals:
            pairs.append((key, value))
        elif index == 0:
            first = part
        elif part:
            pairs.append((part, None))
    return first, pairs


def join(first: str, pairs: Iterable[tuple[str, str]]) -> str:
    """Spell options as QEMU reads them; the inverse of `split`."""
    return ",".join([first, *(f"{key}={value.replace(',', ',,')}" for key, value in pairs)])


def _words(spec: str, first_key: str, example: str) -> Pairs | dict[str, object]:
    """Return pairs with the leading word as `first_key`'s value, or the content of a JSON object."""
    if "\0" in spec or not spec.strip():
        raise UsageError("the options are empty", hint=f"for example: {example}")
    if spec.lstrip().startswith("{"):
        return _json(spec)
    first, pairs = split(spec)
    return [(first_key, first), *pairs] if first is not None else pairs


def _json(spec: str) -> dict[str, object]:
    try:
        content = json.loads(spec)
    except ValueError as problem:
        raise UsageError(f"the options look like JSON, but are not: {problem}") from None
    except RecursionError:
        raise UsageError("the options are nested too deeply") from None
    assert isinstance(content, dict)
    return content


def _last(pairs: Pairs, key: str) -> str | None:
    return next((value for name, value in reversed(pairs) if name == key), None)


def check_id(name: object, what: str, example: str) -> str:
    """Return an id if QEMU would take it on its command line; UsageError otherwise."""
    if name is None:
        raise UsageError(f"the {what} needs an id", hint=f"for example: {example}")
    if not isinstance(name, str) or not _ID.fullmatch(name):
        raise UsageError(
            f"'{plain(str(name))}' cannot be an id",
            hint="an id is letters, digits, '-', '.' and '_', and starts with a letter",
        )
    return name


# Netdevs, typed by the schema

_NETDEV_EXAMPLE = "user,id=u2,hostfwd=tcp:127.0.0.1:2222-:22"


def parse_netdev(spec: str, schema: Schema) -> dict[str, object]:
    """Return the arguments of `netdev_add` for `-netdev`'s words; UsageError lists what would be valid."""
    words = _words(spec, "type", _NETDEV_EXAMPLE)
    kind = words.get("type") if isinstance(words, dict) else _last(words, "type")
    if not isinstance(kind, str) or kind not in schema.netdev_types():
        raise _unknown_netdev(kind, schema.netdev_types())
    members = [member.name for member in schema.netdev_members(kind) or ()]
    for name in words if isinstance(words, dict) else (key for key, _ in words):
        if name not in members and (said := modern(kind, name)):
            raise UsageError(f"{kind} has no option '{plain(name)}'", hint=said)
    if isinstance(words, dict):
        check_id(words.get("id"), "netdev", _NETDEV_EXAMPLE)
        _known_names(words, members, kind)
        return words
    check_id(_last(words, "id"), "netdev", f"{kind},id=net2")
    command = schema.command("netdev_add")
    assert command is not None
    return _Typer(schema, kind).fields(command, _command_line_only(words))


def netdev_options(netdev_type: str, schema: Schema) -> tuple[Option, ...]:
    """Return the options of a backend, nested ones with dots; UsageError for one that this QEMU has not."""
    members = schema.netdev_members(netdev_type)
    if members is None:
        raise _unknown_netdev(netdev_type, schema.netdev_types())
    listed = [option for member in members if member.name != "type" for option in _options(member, schema)]
    if netdev_type == "user":
        listed.append(Option("ipv6-net", "ADDRESS/LENGTH, for ipv6-prefix and ipv6-prefixlen"))
    return tuple(listed)


def _options(member: Member, schema: Schema, prefix: str = "") -> list[Option]:
    kind = schema.type(member.type)
    name, required = prefix + member.name, not member.optional
    if kind.kind != "object":
        return [Option(name, _described(kind, schema), required)]
    listed: dict[str, Option] = {}
    for case in (None, *(kind.variants or ())):
        for inner in schema.members(member.type, case):
            for option in _options(inner, schema, f"{name}."):
                needed = option.required and case is None and required
                listed.setdefault(option.name, Option(option.name, option.type, needed))
    return list(listed.values())


def _described(kind: Type, schema: Schema) -> str:
    if kind.kind == "array":
        element = schema.type(kind.element)
        inner = "text" if _is_wrapped_text(element, schema) else _described(element, schema)
        return f"{inner}; may be given several times"
    if kind.kind == "enum":
        return "|".join(kind.values)
    return {"boolean": "on|off", "int": "a number", "number": "a number"}.get(kind.kind, "text")


def _is_wrapped_text(kind: Type, schema: Schema) -> bool:
    names = [member.name for member in kind.members]
    return kind.kind == "object" and names == ["str"] and schema.type(kind.members[0].type).kind == "string"


def _command_line_only(pairs: Pairs) -> Pairs:
    # net/net.c spells this one apart before it types the rest.
    spelt: Pairs = []
    for key, value in pairs:
        if key != "ipv6-net" or value is None:
            spelt.append((key, value))
            continue
        prefix, slash, length = value.partition("/")
        if not prefix or (slash and not length.isdecimal()):
            raise UsageError(
                f"ipv6-net={plain(value)} is not a network", hint="for example: ipv6-net=fd00::/64"
            )
        spelt += [("ipv6-prefix", prefix), ("ipv6-prefixlen", length or str(_PREFIX_LENGTH))]
    return spelt


class _Typer:
    """Turns words into the values of one backend's types."""

    def __init__(self, schema: Schema, what: str) -> None:
        self._schema = schema
        self._what = what

    def fields(self, kind: Type, pairs: Pairs, prefix: str = "") -> dict[str, object]:
        case = _last(pairs, kind.tag) if kind.tag else None
        if kind.tag and case is None:
            raise UsageError(f"{self._what} needs {prefix}{kind.tag}=", hint=self._choice(kind, kind.tag))
        if kind.tag and (tag := kind.member(kind.tag)) is not None:
            self._value(self._schema.type(tag.type), prefix + kind.tag, case or "")
        members = self._schema.members(kind.name, case)
        grouped: dict[str, Pairs] = {}
        for key, value in pairs:
            name, rest, given = self._member(members, key, value, prefix)
            grouped.setdefault(name, []).append((rest, given))
        for member in members:
            if member.name not in grouped and not member.optional:
                raise UsageError(
                    f"{self._what} needs {prefix}{member.name}=",
                    hint=f"`qmon netdev options {self._what}` lists all of them",
                )
        found = {member.name: member for member in members}
        return {name: self._member_value(found[name], prefix, some) for name, some in grouped.items()}

    def _member(
        self, members: Sequence[Member], key: str, value: str | None, prefix: str
    ) -> tuple[str, str, str | None]:
        """Return the member that a key is about, what of the key is left for the inside, and the value."""
        names = {member.name for member in members}
        head, dot, rest = key.partition(".")
        if key in names:
            return key, "", "on" if value is None else value
        if dot and head in names:
            return head, rest, value
        if value is None and key.startswith("no") and key[2:] in names:
            return key[2:], "", "off"
        raise _unexpected(prefix + key, sorted(prefix + name for name in names), self._what)

    def _member_value(self, member: Member, prefix: str, pairs: Pairs) -> object:
        kind, name = self._schema.type(member.type), prefix + member.name
        if kind.kind == "object":
            if any(not rest for rest, _ in pairs):
                inside = sorted(f"{name}.{one.name}" for one in kind.members)
                raise UsageError(f"{name} has parts of its own", hint=f"say {', '.join(inside)}")
            return self.fields(kind, pairs, f"{name}.")
        if any(rest for rest, _ in pairs):
            raise _unexpected(f"{name}.{pairs[0][0]}", [name], self._what)
        values = [value or "" for _, value in pairs]
        if kind.kind != "array":
            return self._value(kind, name, values[-1])
        element = self._schema.type(kind.element)
        if _is_wrapped_text(element, self._schema):
            return [{"str": value} for value in values]
        return [self._value(element, name, value) for value in values]

    def _value(self, kind: Type, name: str, value: str) -> object:
        if kind.kind == "boolean":
            return _switch(name, value)
        if kind.kind in ("int", "number"):
            return number(name, value)
        if kind.kind == "enum" and value not in kind.values:
            raise UsageError(
                f"{name}={plain(value)}: {self._what} has no such choice",
                hint=f"one of: {', '.join(kind.values)}",
            )
        if kind.kind == "alternate":
            return self._alternate(kind, name, value)
        return value

    def _alternate(self, kind: Type, name: str, value: str) -> object:
        for inner in (self._schema.type(one) for one in kind.alternatives):
            if (inner.kind == "boolean" and value in _ON | _OFF) or (
                inner.kind == "int" and _NUMBER.fullmatch(value)
            ):
                return self._value(inner, name, value)
        return value

    def _choice(self, kind: Type, tag: str) -> str | None:
        member = kind.member(tag)
        return f"one of: {', '.join(self._schema.values(member.type))}" if member else None


# Devices, typed by device-list-properties


def driver_of(spec: str) -> str:
    """Return the model that `-device`'s words name; UsageError if they name none."""
    words = _words(spec, "driver", "virtio-net-pci,id=nic2,netdev=u2")
    driver = words.get("driver") if isinstance(words, dict) else _last(words, "driver")
    if not isinstance(driver, str) or not driver:
        raise UsageError("the NIC's model is missing", hint="for example: virtio-net-pci,id=nic2,netdev=u2")
    return driver


def parse_device(spec: str, properties: Mapping[str, str] | None) -> dict[str, object]:
    """Return the arguments of `device_add` for `-device`'s words.

    `properties` are names → QEMU's types, as `device-list-properties` says them; with None nothing is known, and
    every value is sent as the text it is.
    """
    driver = driver_of(spec)
    words = _words(spec, "driver", "virtio-net-pci,id=nic2,netdev=u2")
    name = words.get("id") if isinstance(words, dict) else _last(words, "id")
    if name is not None:
        check_id(name, "NIC", "virtio-net-pci,id=nic2,netdev=u2")
    if isinstance(words, dict):
        _known_names(words, [*_DEVICE_WORDS, *properties] if properties is not None else [*words], driver)
        return words
    return dict(_property(key, value, properties, driver) for key, value in words)


def _property(
    key: str, value: str | None, properties: Mapping[str, str] | None, driver: str
) -> tuple[str, object]:
    if key in _DEVICE_WORDS or properties is None:
        return key, "on" if value is None else value
    if value is None:
        if key not in properties and key.startswith("no") and key[2:] in properties:
            key, value = key[2:], "off"
        else:
            value = "on"
    if key not in properties:
        raise _unexpected(key, [*_DEVICE_WORDS, *sorted(properties)], driver)
    kind = properties[key]
    if kind == "bool":
        return key, _switch(key, value)
    # A PCI address is "slot.function" in hexadecimal whatever QEMU calls its type.
    if _INTEGER_PROPERTY.fullmatch(kind) and key != "addr":
        return key, number(key, value)
    return key, value


# Values and complaints


def _switch(name: str, value: str) -> bool:
    if value in _ON | _OFF:
        return value in _ON
    raise UsageError(f"{name}={plain(value)} is neither on nor off")


def number(name: str, value: str) -> int:
    """Return what QEMU reads from a number: decimal or 0x…, with a size's suffix (k M G T P E)."""
    match = _NUMBER.fullmatch(value)
    if match is None or len(value) > 32:
        raise UsageError(f"{name}={plain(value)[:80]} is not a number")
    digits = match[1]
    base = 16 if "x" in digits.lower() else 10
    return int(digits, base) << _SUFFIX_BITS[match[2].lower()]


def _known_names(words: Mapping[str, object], names: Sequence[str], what: str) -> None:
    for key in words:
        if key not in names:
            raise _unexpected(key, sorted(names), what)


def _unexpected(key: str, names: Sequence[str], what: str) -> UsageError:
    return UsageError(
        f"{plain(what)} has no option '{plain(key)}'{_did_you_mean(key, names)}",
        hint=f"its options: {', '.join(names)}",
    )


def _unknown_netdev(given: object, known: Sequence[str]) -> UsageError:
    text = plain(str(given)) if given else "that is empty"
    instead = INSTEAD.get(text)
    guess = "" if instead else _did_you_mean(text, known)
    return UsageError(
        f"this QEMU has no netdev type '{text}'{guess}", hint=instead or f"it has: {', '.join(known)}"
    )


def _did_you_mean(given: str, known: Sequence[str]) -> str:
    close = get_close_matches(given, known, n=1)
    return f"; did you mean '{close[0]}'?" if close else ""
