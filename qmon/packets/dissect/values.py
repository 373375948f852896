"""What a field or a layer says, in words: scapy's enumerations and addresses, without Python's own notation."""

from __future__ import annotations

from typing import Any

from qmon.text import plain, plain_bytes

# A value longer than this is cut: its bytes are in the hex view.
MAX_VALUE = 300
_MAX_BYTES = 64
_IN_HEX = frozenset(
    {
        ("Ether", "type"),
        ("Dot1Q", "type"),
        ("Dot1AD", "type"),
        ("IP", "id"),
        ("DNS", "id"),
        ("ICMP", "id"),
        ("ARP", "ptype"),
    }
)
_TCP_FLAGS = ("FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR", "AE")


def field(packet: Any, described: Any, value: Any) -> str:
    """Return a field's value; never fails, whatever scapy makes of hostile bytes."""
    if isinstance(value, bool) or value is None:
        return "" if value is None else str(int(value))
    try:
        worded = _worded(packet, described, value)
    except Exception:  # noqa: BLE001  scapy's own formatting fails on values it did not expect.
        worded = "(cannot be shown)"
    return worded if len(worded) <= MAX_VALUE else worded[:MAX_VALUE] + "…"


def _worded(packet: Any, described: Any, value: Any) -> str:
    if isinstance(value, bytes):
        return value[:6].hex(":") if described.name == "chaddr" else data(value)
    if described.name in ("ihl", "dataofs") and isinstance(value, int):
        return f"{value * 4} bytes ({value})"
    if isinstance(value, (list, tuple)):
        return ", ".join(_item(item) for item in value[:20]) + (", …" if len(value) > 20 else "")
    shown = described.i2repr(packet, value)
    shown = plain_bytes(shown) if isinstance(shown, bytes) else str(shown)
    if isinstance(value, str):
        return value
    if type(value).__name__ == "FlagValue":
        return _flags(packet, value)
    if isinstance(value, int) and not shown.startswith("0x"):
        return _number(packet, described, value, shown.strip("'"))
    return shown


def _number(packet: Any, described: Any, value: int, shown: str) -> str:
    """A number, with the name it has; in hex where people expect it so."""
    in_hex = value.bit_length() > 64 or (type(packet).__name__, described.name) in _IN_HEX
    number = f"0x{value:04x}" if in_hex else str(value)
    return number if shown in (str(value), number) else f"{shown} ({number})"


def _flags(packet: Any, value: Any) -> str:
    number, names = int(value), str(value)
    if type(packet).__name__ in ("TCP", "TCPerror"):
        names = ", ".join(name for bit, name in enumerate(_TCP_FLAGS) if number >> bit & 1)
    return f"{names or 'none'} (0x{number:x})"


def _item(item: Any) -> str:
    if isinstance(item, tuple) and len(item) == 2:
        return f"{_item(item[0])} {_item(item[1])}".rstrip()
    if isinstance(item, bytes):
        return data(item)
    return "" if item is None else str(item)


def data(value: bytes) -> str:
    """Return bytes as text where they are text, else in hex."""
    stripped = value.rstrip(b"\0")
    if stripped and all(32 <= byte < 127 for byte in stripped):
        return stripped.decode("ascii")
    if not stripped:
        return "" if not value else f"{len(value)} zero bytes" if len(value) > 4 else value.hex(" ")
    try:
        text = stripped.decode()
    except UnicodeDecodeError:
        text = "\0"
    if text.isprintable():
        return plain(text)
    return value[:_MAX_BYTES].hex(" ") + (" …" if len(value) > _MAX_BYTES else "")


def layer(packet: Any) -> str:
    """Return the few words beside a layer's name."""
    fields = getattr(packet, "fields", {})
    source, destination = fields.get("src", fields.get("sport")), fields.get("dst", fields.get("dport"))
    if source is not None and destination is not None:
        return f"{source} → {destination}"
    for name in ("qname", "rrname", "oname", "qtype"):
        if isinstance(fields.get(name), bytes):
            return data(fields[name])
    return ""
