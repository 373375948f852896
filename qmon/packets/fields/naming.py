"""Fields of DNS, and of mDNS and LLMNR, which have the same (RFC 1035, 2782, 3596, 6762, 4795).

Names may point back into the message without end: at most 64 jumps and 255 characters are followed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from qmon.packets.fields.field import Field, Kind, Table, Value
from qmon.packets.fields.layer import Layer
from qmon.packets.summary.tables import DNS_TYPES
from qmon.text import plain_bytes

_MOST_RECORDS = 512
_JUMPS, _LONGEST = 64, 255
_A, _NS, _CNAME, _SOA, _PTR, _MX, _TXT, _AAAA, _SRV, _OPT = 1, 2, 5, 6, 12, 15, 16, 28, 33, 41


@dataclass(slots=True)
class _Message:
    """What a message says, each field's values in order."""

    found: dict[str, list[Value]] = field(default_factory=dict)

    def add(self, name: str, value: Value) -> None:
        self.found.setdefault(name, []).append(value)


def _name(layer: Layer, at: int) -> tuple[str, int]:
    """Return the name at a place and where what follows it begins; IndexError if it is not there or has no end."""
    labels: list[str] = []
    behind, size = -1, 0
    for _ in range(_JUMPS + _LONGEST):
        length = layer.byte(at)
        if length < 0:
            raise IndexError(at)
        if length >= 0xC0:
            target = layer.number(at, 2)
            if target is None:
                raise IndexError(at)
            behind = at + 2 if behind < 0 else behind
            at = target & 0x3FFF
        elif length == 0 or size > _LONGEST:
            return ".".join(labels) or "<Root>", at + 1 if behind < 0 else behind
        else:
            label = layer.bytes(at + 1, length)
            if label is None:
                raise IndexError(at)
            labels.append(plain_bytes(label))
            size += length + 1
            at += length + 1
    raise IndexError(at)


def _message(layer: Layer) -> dict[str, list[Value]]:
    if layer.cache is None:
        message = _Message()
        with suppress(IndexError):  # Cut short: what was there stands.
            _read(layer, message)
        layer.cache = message.found
    found: dict[str, list[Value]] = layer.cache
    return found


def _number(layer: Layer, at: int, size: int) -> int:
    number = layer.number(at, size)
    if number is None:
        raise IndexError(at)
    return number


def _read(layer: Layer, message: _Message) -> None:
    counts = [_number(layer, 4 + 2 * i, 2) for i in range(4)]
    at = 12
    for _ in range(min(counts[0], _MOST_RECORDS)):
        name, at = _name(layer, at)
        kind, group = _number(layer, at, 2), _number(layer, at + 2, 2)
        message.add("dns.qry.name", name)
        message.add("dns.qry.name.len", len(name) if name != "<Root>" else 0)
        message.add("dns.count.labels", name.count(".") + 1 if name != "<Root>" else 0)
        message.add("dns.qry.type", kind)
        if layer.protocol == "mdns":
            message.add("dns.qry.qu", group >> 15)
            group &= 0x7FFF
        message.add("dns.qry.class", group)
        at += 4
    for _ in range(min(sum(counts[1:]), _MOST_RECORDS)):
        at = _record(layer, at, message)


def _record(layer: Layer, at: int, message: _Message) -> int:
    name, at = _name(layer, at)
    kind, group, size = _number(layer, at, 2), _number(layer, at + 2, 2), _number(layer, at + 8, 2)
    if kind == _SRV:
        # The service and its protocol are the first two labels.
        message.add("dns.srv.name", name.split(".", 2)[-1])
    else:
        message.add("dns.resp.name", name)
    message.add("dns.resp.type", kind)
    if kind != _OPT:
        if layer.protocol == "mdns":
            message.add("dns.resp.cache_flush", group >> 15)
            group &= 0x7FFF
        message.add("dns.resp.class", group)
        message.add("dns.resp.ttl", _number(layer, at + 4, 4))
        message.add("dns.resp.len", size)
    at += 10
    _data(layer, at, kind, size, message)
    return at + size


def _data(layer: Layer, at: int, kind: int, size: int, message: _Message) -> None:
    if kind == _A and size == 4:
        message.add("dns.a", _number(layer, at, 4))
    elif kind == _AAAA and size == 16:
        message.add("dns.aaaa", _number(layer, at, 16))
    elif kind in _NAMES:
        message.add(_NAMES[kind], _name(layer, at)[0])
    elif kind == _MX:
        message.add("dns.mx.preference", _number(layer, at, 2))
        message.add("dns.mx.mail_exchange", _name(layer, at + 2)[0])
    elif kind == _SRV:
        for place, part in enumerate(("priority", "weight", "port")):
            message.add(f"dns.srv.{part}", _number(layer, at + 2 * place, 2))
        message.add("dns.srv.target", _name(layer, at + 6)[0])
    elif kind == _TXT:
        end = at + size
        while at < end:
            length = layer.byte(at)
            text = layer.bytes(at + 1, length) if length >= 0 else None
            if text is None:
                return
            message.add("dns.txt.length", length)
            message.add("dns.txt", plain_bytes(text))
            at += 1 + length
    elif kind == _SOA:
        server, at = _name(layer, at)
        mailbox, at = _name(layer, at)
        message.add("dns.soa.mname", server)
        message.add("dns.soa.rname", mailbox)
        for place, part in enumerate(("serial_number", "refresh_interval", "retry_interval", "expire_limit")):
            message.add(f"dns.soa.{part}", _number(layer, at + 4 * place, 4))
        message.add("dns.soa.minimum_ttl", _number(layer, at + 16, 4))


_NAMES = {_NS: "dns.ns", _CNAME: "dns.cname", _PTR: "dns.ptr.domain_name"}


def _told(name: str) -> Callable[[Layer], Iterable[Value]]:
    return lambda layer: _message(layer).get(name, ())


def _is_answer(layer: Layer) -> bool:
    return layer.byte(2) >= 0x80


def _is_not_llmnr(layer: Layer) -> bool:
    return layer.protocol != "llmnr"


def _dns() -> list[Field]:
    table = Table("dns", "Domain Name System", like=("mdns", "llmnr"))
    table.fixed("dns.id", "Transaction ID", 0, 2, Kind.HEX)
    table.fixed("dns.flags", "Flags", 2, 2, Kind.HEX)
    table.flag("dns.flags.response", "Response", 2, 0x80)
    table.fixed("dns.flags.opcode", "Opcode", 2, 2, mask=0x7800)
    table.flag("dns.flags.authoritative", "Authoritative", 2, 0x04, when=_is_answer)
    table.flag("dns.flags.truncated", "Truncated", 2, 0x02)
    table.flag("dns.flags.recdesired", "Recursion desired", 2, 0x01, when=_is_not_llmnr)
    table.flag("dns.flags.recavail", "Recursion available", 3, 0x80, when=_is_answer)
    table.flag("dns.flags.z", "Z", 3, 0x40, when=_is_not_llmnr)
    table.flag("dns.flags.authenticated", "Answer authenticated", 3, 0x20, when=_is_answer)
    table.flag("dns.flags.checkdisable", "Non-authenticated data", 3, 0x10, when=_is_not_llmnr)
    table.fixed("dns.flags.rcode", "Reply code", 2, 2, mask=0x000F, when=_is_answer)
    table.fixed("dns.count.queries", "Questions", 4, 2)
    table.fixed("dns.count.answers", "Answer RRs", 6, 2)
    table.fixed("dns.count.auth_rr", "Authority RRs", 8, 2)
    table.fixed("dns.count.add_rr", "Additional RRs", 10, 2)
    for name, label, kind in (
        ("qry.name", "Name", Kind.STRING), ("qry.name.len", "Name Length", Kind.NUMBER),
        ("count.labels", "Label Count", Kind.NUMBER), ("qry.class", "Class", Kind.HEX),
        ("qry.qu", '"QU" question', Kind.TRUTH), ("resp.name", "Name", Kind.STRING), ("resp.class", "Class", Kind.HEX),
        ("resp.cache_flush", "Cache flush", Kind.TRUTH), ("resp.ttl", "Time to live", Kind.NUMBER),
        ("resp.len", "Data length", Kind.NUMBER), ("a", "Address", Kind.IPV4), ("aaaa", "AAAA Address", Kind.IPV6),
        ("ns", "Name Server", Kind.STRING), ("cname", "CNAME", Kind.STRING),
        ("ptr.domain_name", "Domain Name", Kind.STRING), ("mx.preference", "Preference", Kind.NUMBER),
        ("mx.mail_exchange", "Mail Exchange", Kind.STRING), ("srv.name", "Name", Kind.STRING),
        ("srv.priority", "Priority", Kind.NUMBER),
        ("srv.weight", "Weight", Kind.NUMBER), ("srv.port", "Port", Kind.NUMBER),
        ("srv.target", "Target", Kind.STRING), ("txt", "TXT", Kind.STRING), ("txt.length", "TXT Length", Kind.NUMBER),
        ("soa.mname", "Primary name server", Kind.STRING),
        ("soa.rname", "Responsible authority's mailbox", Kind.STRING),
        ("soa.serial_number", "Serial Number", Kind.NUMBER), ("soa.refresh_interval", "Refresh Interval", Kind.NUMBER),
        ("soa.retry_interval", "Retry Interval", Kind.NUMBER), ("soa.expire_limit", "Expire limit", Kind.NUMBER),
        ("soa.minimum_ttl", "Minimum TTL", Kind.NUMBER),
    ):  # fmt: skip
        table.read(f"dns.{name}", label, kind, _told(f"dns.{name}"), size=2 if kind is Kind.HEX else 0)
    for name in ("dns.qry.type", "dns.resp.type"):
        table.read(name, "Type", Kind.NUMBER, _told(name), names=DNS_TYPES)
    others = [
        Table("mdns", "Multicast Domain Name System"),
        Table("llmnr", "Link-local Multicast Name Resolution"),
    ]
    return table.fields + [one for other in others for one in other.fields]


FIELDS = _dns()
