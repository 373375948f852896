"""DHCP and DHCPv6 (RFC 2131, 2132, 8415): kind, transaction, and what one looks for when a guest has no address."""

from __future__ import annotations

from qmon.packets.summary import tables
from qmon.packets.summary.line import Line, ipv4, ipv6, mac
from qmon.text import plain_bytes

_COOKIE = b"\x63\x82\x53\x63"
_SERVER, _ASKED, _HOST, _MESSAGE, _KIND, _FILE = 54, 50, 12, 56, 53, 67


def version4(line: Line, at: int) -> None:
    """Word a DHCP message, or one of BOOTP."""
    line.set("BOOTP", "")
    operation, number = line.data[at], line.u32(at + 4)
    client = mac(line.bytes(at + 28, 6))
    if line.data[at + 236 : at + 240] != _COOKIE:
        line.set("BOOTP", f"Boot {'Request' if operation == 1 else 'Reply'} from {client}")
        return
    line.set("DHCP", f"DHCP - Transaction ID 0x{number:x}")
    options = _options(line, at + 240)
    kind = options.get(_KIND, b"\0")[:1] or b"\0"
    name = tables.named(tables.DHCP_TYPES, kind[0], "message type {}")
    given, own = line.bytes(at + 16, 4), line.bytes(at + 12, 4)
    words = [f"DHCP {name:8} - Transaction ID 0x{number:x}"]
    if kind[0] in (2, 5) and any(given):
        words.append(f"gives {ipv4(given)} to {client}")
    elif operation == 1:
        words.append(f"from {client}")
    if any(own):
        words.append(f"client {ipv4(own)}")
    line.info = ", ".join(words + _said(options))


def _said(options: dict[int, bytes]) -> list[str]:
    words = []
    if len(options.get(_ASKED, b"")) == 4:
        words.append(f"asks for {ipv4(options[_ASKED])}")
    if len(options.get(_SERVER, b"")) == 4:
        words.append(f"server {ipv4(options[_SERVER])}")
    if options.get(_HOST):
        words.append(f"host name {plain_bytes(options[_HOST])}")
    if options.get(_FILE):
        words.append(f"boot file {plain_bytes(options[_FILE])}")
    if options.get(_MESSAGE):
        words.append(f"message: {plain_bytes(options[_MESSAGE])}")
    return words


def _options(line: Line, at: int) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    while at < len(line.data) and line.data[at] != 0xFF:
        if line.data[at] == 0:
            at += 1
            continue
        size = line.data[at + 1]
        found[line.data[at]] = line.bytes(at + 2, size)
        at += 2 + size
    return found


def version6(line: Line, at: int) -> None:
    """Word a DHCPv6 message."""
    line.set("DHCPv6", "")
    kind = line.data[at]
    name = tables.named(tables.DHCP6_TYPES, kind, "Message type {}")
    if kind in (12, 13):
        line.info = f"{name} L: {ipv6(line.bytes(at + 2, 16))}"
        return
    line.info = f"{name} XID: 0x{line.u32(at) & 0xFFFFFF:06x}"
    at += 4
    for _ in range(16):
        if at + 4 > len(line.data):
            break
        option, size = line.u16(at), line.u16(at + 2)
        if option == 1:
            line.info += f" CID: {line.bytes(at + 4, size).hex()}"
        elif option == 3 and size >= 40 and line.u16(at + 16) == 5:
            line.info += f" IAA: {ipv6(line.bytes(at + 20, 16))}"
        at += 4 + size
