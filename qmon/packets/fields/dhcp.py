"""Fields of DHCP and DHCPv6 (RFC 2131, 2132, 8415)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from qmon.packets.fields.field import Field, Kind, Table, Value
from qmon.packets.fields.layer import Layer
from qmon.packets.summary.tables import DHCP_TYPES
from qmon.text import plain_bytes

_COOKIE = 0x6382_5363
_OPTIONS_AT = 240
_MOST_OPTIONS = 256
_ETHERNET = 1
# The type of what ends the options; Wireshark's dhcp.option.type is 0 there.
_END = 255
# IA_NA, IA_TA, IAADDR, IA_PD, IAPREFIX: the bytes before the options within.
_HOLDS_OPTIONS = {3: 12, 4: 4, 5: 24, 25: 12, 26: 25}

Read = Callable[[bytes], Iterable[Value]]


def _options(layer: Layer) -> list[tuple[int, bytes]]:
    """Return (type, value) of each option; the end counts as one, padding does not."""
    if layer.cache is None:
        layer.cache = list(_split(layer)) if layer.number(236, 4) == _COOKIE else []
    found: list[tuple[int, bytes]] = layer.cache
    return found


def _split(layer: Layer) -> Iterator[tuple[int, bytes]]:
    at = _OPTIONS_AT
    for _ in range(_MOST_OPTIONS):
        kind = layer.byte(at)
        if kind < 0:
            return
        if kind == _END:
            yield kind, b""
            return
        if kind == 0:
            at += 1
            continue
        size = layer.byte(at + 1)
        value = layer.bytes(at + 2, size) if size >= 0 else None
        if value is None:
            return
        yield kind, value
        at += 2 + size


def _option(kind: int, read: Read) -> Callable[[Layer], Iterable[Value]]:
    return lambda layer: [found for one, value in _options(layer) if one == kind for found in read(value)]


def _numbers(size: int) -> Read:
    return lambda value: [
        int.from_bytes(value[i : i + size], "big") for i in range(0, len(value) - size + 1, size)
    ]


def _one(size: int) -> Read:
    return lambda value: (int.from_bytes(value, "big"),) if len(value) == size else ()


def _text(value: bytes) -> Iterable[Value]:
    return (plain_bytes(value.partition(b"\0")[0]),)


def _padded(at: int, size: int) -> Callable[[Layer], Iterable[Value]]:
    def read(layer: Layer) -> Iterable[Value]:
        raw = (layer.bytes(at, size) or b"").partition(b"\0")[0]
        return (plain_bytes(raw),) if raw else ()

    return read


def _mac(layer: Layer) -> bool:
    return layer.byte(1) == _ETHERNET and layer.byte(2) == 6


def _dhcp() -> list[Field]:
    table = Table("dhcp", "Dynamic Host Configuration Protocol")
    table.fixed("dhcp.type", "Message type", 0, 1, names={1: "Boot Request", 2: "Boot Reply"})
    table.fixed("dhcp.hw.type", "Hardware type", 1, 1, Kind.HEX)
    table.fixed("dhcp.hw.len", "Hardware address length", 2, 1)
    table.fixed("dhcp.hops", "Hops", 3, 1)
    table.fixed("dhcp.id", "Transaction ID", 4, 4, Kind.HEX)
    table.fixed("dhcp.secs", "Seconds elapsed", 8, 2)
    table.fixed("dhcp.flags", "Bootp flags", 10, 2, Kind.HEX)
    table.fixed("dhcp.flags.bc", "Broadcast flag", 10, 2, Kind.TRUTH, mask=0x8000)
    table.fixed("dhcp.ip.client", "Client IP address", 12, 4, Kind.IPV4)
    table.fixed("dhcp.ip.your", "Your (client) IP address", 16, 4, Kind.IPV4)
    table.fixed("dhcp.ip.server", "Next server IP address", 20, 4, Kind.IPV4)
    table.fixed("dhcp.ip.relay", "Relay agent IP address", 24, 4, Kind.IPV4)
    table.fixed("dhcp.hw.mac_addr", "Client MAC address", 28, 6, Kind.ETHER, when=_mac)
    table.read("dhcp.server", "Server host name", Kind.STRING, _padded(44, 64))
    table.read("dhcp.file", "Boot file name", Kind.STRING, _padded(108, 128))
    cookie = _OPTIONS_AT - 4
    table.fixed(
        "dhcp.cookie", "Magic cookie", cookie, 4, Kind.IPV4, when=lambda at: at.number(cookie, 4) == _COOKIE
    )
    table.read(
        "dhcp.option.type", "Option", Kind.NUMBER, lambda layer: [one[0] % _END for one in _options(layer)]
    )
    table.read(
        "dhcp.option.end",
        "Option End",
        Kind.NUMBER,
        lambda at: [_END for one in _options(at) if one[0] == _END],
    )
    table.read(
        "dhcp.option.length",
        "Length",
        Kind.NUMBER,
        lambda at: [len(one[1]) for one in _options(at) if one[0] != _END],
    )
    kinds = {number: name for number, name in enumerate(DHCP_TYPES) if name}
    table.read("dhcp.option.dhcp", "DHCP", Kind.NUMBER, _option(53, _one(1)), names=kinds)
    for name, label, kind in (
        ("subnet_mask", "Subnet Mask", 1), ("router", "Router", 3), ("domain_name_server", "Domain Name Server", 6),
        ("broadcast_address", "Broadcast Address", 28), ("ntp_server", "Network Time Protocol Server", 42),
        ("requested_ip_address", "Requested IP Address", 50), ("dhcp_server_id", "DHCP Server Identifier", 54),
    ):  # fmt: skip
        table.read(f"dhcp.option.{name}", label, Kind.IPV4, _option(kind, _numbers(4)))
    for name, label, kind, size in (
        ("interface_mtu", "Interface MTU", 26, 2), ("ip_address_lease_time", "IP Address Lease Time", 51, 4),
        ("option_overload", "Option Overload", 52, 1), ("dhcp_max_message_size", "Maximum DHCP Message Size", 57, 2),
        ("renewal_time_value", "Renewal Time Value", 58, 4), ("rebinding_time_value", "Rebinding Time Value", 59, 4),
    ):  # fmt: skip
        table.read(f"dhcp.option.{name}", label, Kind.NUMBER, _option(kind, _one(size)))
    table.read(
        "dhcp.option.request_list_item", "Parameter Request List Item", Kind.NUMBER, _option(55, _numbers(1))
    )
    table.read(
        "dhcp.option.client_system_architecture",
        "Client System Architecture",
        Kind.NUMBER,
        _option(93, _numbers(2)),
    )
    for name, label, kind in (
        ("hostname", "Host Name", 12), ("domain_name", "Domain Name", 15), ("root_path", "Root Path", 17),
        ("message", "Message", 56), ("vendor_class_id", "Vendor class identifier", 60),
        ("tftp_server_name", "TFTP Server Name", 66), ("bootfile_name", "Bootfile name", 67),
    ):  # fmt: skip
        table.read(f"dhcp.option.{name}", label, Kind.STRING, _option(kind, _text))
    return table.fields


def _options6(layer: Layer) -> Iterator[tuple[int, int]]:
    """Yield (type, length) of each option, those within others after what they are in."""
    at = 34 if layer.byte(0) in (12, 13) else 4
    for _ in range(_MOST_OPTIONS):
        kind, size = layer.number(at, 2), layer.number(at + 2, 2)
        if kind is None or size is None:
            return
        yield kind, size
        # Behind these many bytes some options hold others, one after the other: it is enough to go in.
        inner = _HOLDS_OPTIONS.get(kind)
        at += 4 + (inner if inner is not None and size > inner else size)


def _dhcpv6() -> list[Field]:
    table = Table("dhcpv6", "DHCPv6")
    table.fixed("dhcpv6.msgtype", "Message type", 0, 1)
    table.fixed(
        "dhcpv6.xid", "Transaction ID", 1, 3, Kind.HEX, when=lambda layer: layer.byte(0) not in (12, 13)
    )
    table.read(
        "dhcpv6.option.type", "Option", Kind.NUMBER, lambda layer: (one[0] for one in _options6(layer))
    )
    table.read(
        "dhcpv6.option.length", "Length", Kind.NUMBER, lambda layer: (one[1] for one in _options6(layer))
    )
    return table.fields


FIELDS = [*_dhcp(), *_dhcpv6()]
