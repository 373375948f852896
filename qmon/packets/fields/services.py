"""Fields of services on UDP: TFTP and NTP (RFC 1350, 2347, 5905)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from qmon.packets.fields.field import Field, Kind, Table, Value
from qmon.packets.fields.layer import Layer
from qmon.text import plain_bytes

_READ, _WRITE, _DATA, _ACK, _ERROR, _OACK = range(1, 7)


def _words(layer: Layer) -> list[str]:
    """Return the texts of a request, an error or an option acknowledgement, each ended by a zero byte."""
    start = {_READ: 2, _WRITE: 2, _ERROR: 4, _OACK: 2}.get(layer.number(0, 2) or 0)
    if start is None:
        return []
    return [plain_bytes(word) for word in layer.data[layer.at + start : layer.stop].split(b"\0")[:-1]]


def _word(operations: tuple[int, ...], place: int) -> Callable[[Layer], Iterable[Value]]:
    return lambda layer: _words(layer)[place : place + 1] if layer.number(0, 2) in operations else ()


def _options(part: int) -> Callable[[Layer], Iterable[Value]]:
    def read(layer: Layer) -> Iterable[Value]:
        operation = layer.number(0, 2)
        words = _words(layer)[2 if operation in (_READ, _WRITE) else 0 :] if operation != _ERROR else []
        return words[: len(words) // 2 * 2][part::2]

    return read


def _is(*operations: int) -> Callable[[Layer], bool]:
    return lambda layer: layer.number(0, 2) in operations


def _tftp() -> list[Field]:
    table = Table("tftp", "Trivial File Transfer Protocol")
    table.fixed("tftp.opcode", "Opcode", 0, 2)
    table.read("tftp.source_file", "Source File", Kind.STRING, _word((_READ,), 0))
    table.read("tftp.destination_file", "DESTINATION File", Kind.STRING, _word((_WRITE,), 0))
    table.read("tftp.type", "Type", Kind.STRING, _word((_READ, _WRITE), 1))
    table.fixed("tftp.block", "Block", 2, 2, when=_is(_DATA, _ACK))
    table.fixed("tftp.error.code", "Error code", 2, 2, when=_is(_ERROR))
    table.read("tftp.error.message", "Error message", Kind.STRING, _word((_ERROR,), 0))
    table.read("tftp.option.name", "Option name", Kind.STRING, _options(0))
    table.read("tftp.option.value", "Option value", Kind.STRING, _options(1))
    return table.fields


def _is_time(layer: Layer) -> bool:
    return layer.byte(0) >= 0 and layer.byte(0) & 7 < 6


def _ntp() -> list[Field]:
    table = Table("ntp", "Network Time Protocol")
    table.fixed("ntp.flags", "Flags", 0, 1, Kind.HEX)
    table.fixed("ntp.flags.li", "Leap Indicator", 0, 1, mask=0xC0)
    table.fixed("ntp.flags.vn", "Version number", 0, 1, mask=0x38)
    table.fixed("ntp.flags.mode", "Mode", 0, 1, mask=0x07)
    table.fixed("ntp.stratum", "Peer Clock Stratum", 1, 1, when=_is_time)
    table.fixed("ntp.ppoll", "Peer Polling Interval", 2, 1, when=_is_time)
    table.fixed("ntp.precision", "Peer Clock Precision", 3, 1, when=_is_time)
    table.fixed("ntp.refid", "Reference ID", 12, 4, Kind.BYTES, when=_is_time)
    return table.fields


def _others() -> list[Field]:
    named = {
        "nbns": "NetBIOS Name Service", "nbdgm": "NetBIOS Datagram Service",
        "snmp": "Simple Network Management Protocol",
        "isakmp": "Internet Security Association and Key Management Protocol", "syslog": "Syslog message",
        "ssdp": "Simple Service Discovery Protocol",
    }  # fmt: skip
    return [field for name, label in named.items() for field in Table(name, label).fields]


FIELDS = [*_tftp(), *_ntp(), *_others()]
