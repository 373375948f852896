"""Fields of the frame itself, of Ethernet, VLAN tags, ARP and Linux's "cooked" header (IEEE 802.3, 802.1Q, RFC 826)."""

from __future__ import annotations

from collections.abc import Iterable

from qmon.packets.batch import Direction
from qmon.packets.fields.field import Field, Kind, Table, Value
from qmon.packets.fields.layer import Layer

_DIRECTIONS = {Direction.IN: "in", Direction.OUT: "out"}
# As `frame.protocols` names what is below and within a layer.
_PATHS = {one: f"{one}:ethertype" for one in ("eth", "vlan", "ieee8021ad", "sll")}


def _frame() -> list[Field]:
    table = Table("frame", "Frame")
    table.read("frame.number", "Frame Number", Kind.NUMBER, lambda layer: (layer.facts.number,))
    table.read("frame.len", "Frame length on the wire", Kind.NUMBER, lambda layer: (layer.facts.length,))
    table.read(
        "frame.cap_len",
        "Frame length stored into the capture file",
        Kind.NUMBER,
        lambda layer: (layer.facts.captured,),
    )
    table.read("frame.time_epoch", "Epoch Time", Kind.SECONDS, lambda layer: (layer.facts.time_ns,))
    table.read(
        "frame.time_relative",
        "Time since reference or first frame",
        Kind.SECONDS,
        lambda layer: (layer.facts.time_ns - layer.facts.first_ns,),
    )
    table.read(
        "frame.time_delta",
        "Time delta from previous captured frame",
        Kind.SECONDS,
        lambda layer: (layer.facts.time_ns - layer.facts.previous_ns,),
    )
    table.read("frame.protocols", "Protocols in frame", Kind.STRING, _protocols)
    table.read("frame.interface_id", "Interface id", Kind.NUMBER, lambda layer: (layer.facts.interface,))
    table.read("frame.interface_name", "Interface name", Kind.STRING, _netdev)
    table.read("frame.comment", "Comment", Kind.STRING, _comment)
    table.read("qmon.netdev", "Netdev", Kind.STRING, _netdev)
    table.read("qmon.dir", "Direction, seen from the guest", Kind.STRING, _direction)
    return table.fields


def _protocols(layer: Layer) -> Iterable[Value]:
    names = [_PATHS.get(one.protocol, one.protocol) for one in layer.layers[1:] if "." not in one.protocol]
    return (":".join(names),)


def _netdev(layer: Layer) -> Iterable[Value]:
    return (layer.facts.netdev,) if layer.facts.netdev else ()


def _comment(layer: Layer) -> Iterable[Value]:
    return (layer.facts.comment,) if layer.facts.comment is not None else ()


def _direction(layer: Layer) -> Iterable[Value]:
    name = _DIRECTIONS.get(Direction(layer.facts.direction))
    return (name,) if name else ()


def _is_type(layer: Layer) -> bool:
    return (layer.number(12, 2) or 0) > 1500


def _is_length(layer: Layer) -> bool:
    return (layer.number(12, 2) or 0xFFFF) <= 1500


def _ethernet() -> list[Field]:
    table = Table("eth", "Ethernet")
    table.fixed("eth.dst", "Destination", 0, 6, Kind.ETHER)
    table.fixed("eth.src", "Source", 6, 6, Kind.ETHER)
    table.fixed("eth.addr", "Address", (0, 6), 6, Kind.ETHER)
    table.fixed("eth.type", "Type", 12, 2, Kind.HEX, when=_is_type)
    table.fixed("eth.len", "Length", 12, 2, when=_is_length)
    for name, label, at in (("dst.", "Destination ", (0,)), ("src.", "Source ", (6,)), ("", "", (0, 6))):
        table.fixed(f"eth.{name}lg", f"{label}LG bit", at, 1, Kind.TRUTH, mask=2)
        table.fixed(f"eth.{name}ig", f"{label}IG bit", at, 1, Kind.TRUTH, mask=1)
    return table.fields


def _vlan() -> list[Field]:
    table = Table("vlan", "802.1Q Virtual LAN")
    table.fixed("vlan.priority", "Priority", 0, 2, mask=0xE000)
    table.fixed("vlan.dei", "DEI", 0, 2, Kind.TRUTH, mask=0x1000)
    table.fixed("vlan.id", "ID", 0, 2, mask=0x0FFF)
    table.fixed("vlan.etype", "Type", 2, 2, Kind.HEX, when=lambda layer: (layer.number(2, 2) or 0) > 1500)
    table.fixed("vlan.len", "Length", 2, 2, when=lambda layer: (layer.number(2, 2) or 0xFFFF) <= 1500)
    double = Table("ieee8021ad", "IEEE 802.1ad")
    double.fixed("ieee8021ad.priority", "Priority", 0, 2, mask=0xE000)
    double.fixed("ieee8021ad.dei", "DEI", 0, 2, Kind.TRUTH, mask=0x1000)
    double.fixed("ieee8021ad.id", "ID", 0, 2, mask=0x0FFF)
    return table.fields + double.fields


_OPERATIONS = {1: "request", 2: "reply", 3: "reverse request", 4: "reverse reply"}


def _is_usual(layer: Layer) -> bool:
    return layer.number(2, 4) == 0x0800_0604


def _arp() -> list[Field]:
    table = Table("arp", "Address Resolution Protocol")
    table.fixed("arp.hw.type", "Hardware type", 0, 2)
    table.fixed("arp.proto.type", "Protocol type", 2, 2, Kind.HEX)
    table.fixed("arp.hw.size", "Hardware size", 4, 1)
    table.fixed("arp.proto.size", "Protocol size", 5, 1)
    table.fixed("arp.opcode", "Opcode", 6, 2, names=_OPERATIONS)
    table.fixed("arp.src.hw_mac", "Sender MAC address", 8, 6, Kind.ETHER, when=_is_usual)
    table.fixed("arp.src.proto_ipv4", "Sender IP address", 14, 4, Kind.IPV4, when=_is_usual)
    table.fixed("arp.dst.hw_mac", "Target MAC address", 18, 6, Kind.ETHER, when=_is_usual)
    table.fixed("arp.dst.proto_ipv4", "Target IP address", 24, 4, Kind.IPV4, when=_is_usual)
    table.read("arp.isgratuitous", "Is gratuitous", Kind.TRUTH, _gratuitous)
    table.read("arp.isprobe", "Is probe", Kind.TRUTH, _probe)
    return table.fields


def _gratuitous(layer: Layer) -> Iterable[Value]:
    return (1,) if _is_usual(layer) and layer.bytes(14, 4) == layer.bytes(24, 4) is not None else ()


def _probe(layer: Layer) -> Iterable[Value]:
    probe = layer.number(6, 2) == 1 and layer.bytes(14, 4) == bytes(4) != layer.bytes(24, 4)
    return (1,) if _is_usual(layer) and probe else ()


def _cooked() -> list[Field]:
    table = Table("sll", "Linux cooked-mode capture")
    return table.fields


FIELDS = [*_frame(), *_ethernet(), *_vlan(), *_arp(), *_cooked()]
