"""All fields by name; the one table behind display filters, completion and `read -T fields`."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Iterator, Mapping

from qmon.packets.fields import dhcp, internet, link, naming, services, transport, web
from qmon.packets.fields.field import Field, Value
from qmon.packets.fields.layer import Facts, Layer
from qmon.packets.fields.walk import layers_of

_TABLES = (link, internet, transport, naming, dhcp, web, services)


@functools.cache
def fields() -> Mapping[str, Field]:
    """Return all fields, by name."""
    return {field.name: field for table in _TABLES for field in table.FIELDS}


def nearest(name: str) -> str | None:
    """Return the name of a field that somebody who wrote `name` may have meant."""
    close = difflib.get_close_matches(name.lower(), fields(), 1, 0.6)
    return close[0] if close else None


def completions(start: str) -> list[str]:
    """Return the names that begin so."""
    return sorted(name for name in fields() if name.startswith(start))


class Packet:
    """One frame, looked into as far as its fields are asked for."""

    __slots__ = ("_by_protocol", "layers")

    def __init__(self, frame: bytes | memoryview, facts: Facts) -> None:
        self.layers = layers_of(frame, facts)
        self._by_protocol: dict[str, list[Layer]] = {}
        for layer in self.layers:
            self._by_protocol.setdefault(layer.protocol, []).append(layer)

    def layers_with(self, field: Field) -> Iterator[Layer]:
        """Yield the layers that may have a field, from the outermost to the innermost."""
        for protocol in field.layers:
            yield from self._by_protocol.get(protocol, ())

    def values(self, field: Field) -> list[Value]:
        """Return all values of a field, from the outermost layer to the innermost."""
        return [value for layer in self.layers_with(field) for value in field.values(layer)]
