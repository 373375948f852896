"""What stands on the other side of a field, read as the field's type has it.

A literal is a value and, for networks, a mask; text that the type does not take is None: the caller says so.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from qmon.packets.fields.field import ADDRESS_BYTES, Field, Kind, Value

_NUMBER = re.compile(r"-?(?:0[xX][0-9a-fA-F]+|0[bB][01]+|\d+)\Z")
_BYTES = re.compile(r"[0-9a-fA-F]{1,2}(?:[:.-][0-9a-fA-F]{1,2})*\Z")
_TRUTHS = {"true": 1, "false": 0}


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant; only the bits of `mask` count, where there is one."""

    value: Value
    mask: int | None = None


def number(text: str) -> int | None:
    """Read a whole number: decimal, 0x, 0b, or octal with a zero in front."""
    if not _NUMBER.match(text):
        return None
    sign, digits = (-1, text[1:]) if text.startswith("-") else (1, text)
    base = {"x": 16, "b": 2}.get(digits[1:2].lower()) if digits[:1] == "0" else None
    if base is not None:
        return sign * int(digits[2:], base)
    if len(digits) > 1 and digits[0] == "0":
        return sign * int(digits, 8) if re.fullmatch("[0-7]+", digits) else None
    return sign * int(digits) if len(digits) < 40 else None


def read(text: str, kind: Kind, field: Field | None, *, quoted: bool) -> Literal | None:
    """Read a literal for a field of a type; `quoted` says whether it was written as a string."""
    if kind is Kind.STRING:
        return Literal(text)
    if kind is Kind.BYTES or kind is Kind.PROTOCOL:
        return _bytes(text, quoted=quoted)
    if kind in ADDRESS_BYTES:
        return _address(text, kind)
    if kind is Kind.SECONDS:
        return _seconds(text)
    found = number(text)
    if found is None and kind is Kind.TRUTH:
        found = _TRUTHS.get(text.lower())
    if found is None and field is not None and field.names is not None:
        found = next((one for one, name in field.names.items() if name.lower() == text.lower()), None)
    return None if found is None else Literal(found)


def _bytes(text: str, *, quoted: bool) -> Literal | None:
    if quoted:
        return Literal(text.encode("utf-8", "surrogateescape"))
    if _BYTES.match(text):
        return Literal(bytes(int(one, 16) for one in re.split("[:.-]", text)))
    if re.fullmatch(r"(?:0[xX])?((?:[0-9a-fA-F]{2})+)", text):
        return Literal(bytes.fromhex(text.lower().removeprefix("0x")))
    return None


def _address(text: str, kind: Kind) -> Literal | None:
    size = ADDRESS_BYTES[kind]
    if kind is Kind.ETHER:
        digits = re.sub("[:.-]", "", text)
        if re.fullmatch("[0-9a-fA-F]{12}", digits):
            return Literal(int(digits, 16))
        found = _bytes(text, quoted=False)
        whole = found is not None and isinstance(found.value, bytes) and len(found.value) == size
        return Literal(int.from_bytes(found.value, "big")) if whole and found is not None else None  # type: ignore[arg-type]
    name, slash, bits = text.partition("/")
    try:
        address = ipaddress.IPv4Address(name) if kind is Kind.IPV4 else ipaddress.IPv6Address(name)
    except ValueError:
        return None
    if not slash:
        return Literal(int(address))
    if not bits.isdigit() or int(bits) > size * 8:
        return None
    kept = int(bits)
    return Literal(int(address), (1 << size * 8) - (1 << size * 8 - kept))


def _seconds(text: str) -> Literal | None:
    match = re.fullmatch(r"(-?)(\d{1,10})(?:\.(\d{1,9})\d*)?", text)
    if match is None:
        return None
    ns = int(match[2]) * 10**9 + int((match[3] or "0").ljust(9, "0"))
    return Literal(-ns if match[1] else ns)
