"""TCP, UDP and SCTP (RFC 9293, 768, 9260), and which protocol their payload is."""

from __future__ import annotations

import struct
from collections.abc import Callable

from qmon.packets.summary import (
    calls,
    dhcp,
    industry,
    naming,
    services,
    streams,
    tables,
    texts,
    windows,
    wrapped,
)
from qmon.packets.summary.line import Line

Worded = Callable[[Line, int], None]

_TCP = struct.Struct(">HHIIBBH")
_UDP = struct.Struct(">HHH")
_FLAGS = ((1, "FIN"), (2, "SYN"), (4, "RST"), (8, "PSH"), (16, "ACK"), (32, "URG"), (64, "ECE"), (128, "CWR"))
FLAG_WORDS = tuple(", ".join(name for bit, name in _FLAGS if flags & bit) for flags in range(256))


def tcp(line: Line, at: int) -> None:
    """Word a TCP segment, and what it carries where that can be told from this segment alone."""
    line.protocol = "TCP"
    line.info = ""
    if len(line.data) >= at + 4:
        line.ports = line.u16(at), line.u16(at + 2)
        line.info = f"{line.ports[0]} → {line.ports[1]}"
    source, destination, sequence, acknowledged, header, flags, window = _TCP.unpack_from(line.data, at)
    if line.tcp is not None:
        (sequence, acknowledged, window), line.tcp = line.tcp, None
    header = (header >> 4) * 4
    if header < 20:
        line.info += f" Bogus TCP header length ({header}, must be at least 20)"
        return
    if (
        header > 20
        and b"\x1e" in line.data[at + 20 : at + header]
        and _has_option(line, at + 20, at + header, 30)
    ):
        line.protocol = "MPTCP"
    line.payload = carried = max(0, line.end - at - header)
    said = f" Ack={acknowledged}" if flags & 0x10 else ""
    line.info += f" [{FLAG_WORDS[flags]}] Seq={sequence}{said} Win={window} Len={carried}"
    if flags & 2:
        line.info += _options(line, at + 20, at + header)
    elif carried and not flags & 4:
        streams.payload(line, at + header, source, destination)


def _options(line: Line, at: int, end: int) -> str:
    words = []
    while at < end and line.data[at]:
        kind = line.data[at]
        if kind == 1:
            at += 1
            continue
        size = line.data[at + 1]
        if size < 2:
            break
        if kind == 2:
            words.append(f"MSS={line.u16(at + 2)}")
        elif kind == 3:
            words.append(f"WS={1 << min(line.data[at + 2], 14)}")
        elif kind == 4:
            words.append("SACK_PERM")
        elif kind == 8:
            words.append(f"TSval={line.u32(at + 2)} TSecr={line.u32(at + 6)}")
        at += size
    return "".join(" " + word for word in words)


def _has_option(line: Line, at: int, end: int, wanted: int) -> bool:
    while at + 1 < end and line.data[at]:
        kind, size = line.data[at], line.data[at + 1]
        if kind == wanted:
            return True
        if kind != 1 and size < 2:
            break
        at += 1 if kind == 1 else size
    return False


def udp(line: Line, at: int) -> None:
    """Word a UDP datagram and what its ports say it carries."""
    source, destination, length = _UDP.unpack_from(line.data, at)
    line.protocol, line.ports = "UDP", (source, destination)
    line.payload = max(0, (length or line.end - at) - 8)
    line.info = f"{source} → {destination} Len={max(0, length - 8)}"
    if 0 < length < 8:
        line.info += f" Bogus length {length}, must be at least 8"
        return
    if length:
        line.limit(at + length)
    payload = at + 8
    if payload >= len(line.data):
        return
    low, high = min(source, destination), max(source, destination)
    worded = PORTS.get(low) or PORTS.get(high)
    if worded is not None:
        worded(line, payload)
        return
    for port in (low, high):
        worded = _PROVED.get(port)
        if worded is not None:
            before = line.info
            streams.tried(worded, line, payload)
            if line.info != before:
                return
    wrapped.by_content(line, payload, source, destination)


def sctp(line: Line, at: int) -> None:
    """Word an SCTP packet by its chunks."""
    line.set("SCTP", "")
    line.ports = line.u16(at), line.u16(at + 2)
    names = {
        0: "DATA", 1: "INIT", 2: "INIT_ACK", 3: "SACK", 4: "HEARTBEAT", 5: "HEARTBEAT_ACK", 6: "ABORT", 7: "SHUTDOWN",
        8: "SHUTDOWN_ACK", 9: "ERROR", 10: "COOKIE_ECHO", 11: "COOKIE_ACK", 14: "SHUTDOWN_COMPLETE", 192: "FORWARD_TSN",
    }  # fmt: skip
    words: list[str] = []
    at += 12
    while at + 4 <= len(line.data) and len(words) < 6:
        words.append(tables.named(names, line.data[at], "chunk {}"))
        at += (max(line.u16(at + 2), 4) + 3) & ~3
    line.info = " ".join(words)


# Services whose port is reason enough to read their datagrams as theirs.
PORTS: dict[int, Worded] = {
    53: naming.dns,
    67: dhcp.version4,
    68: dhcp.version4,
    69: services.tftp,
    123: services.ntp,
    137: naming.netbios,
    138: windows.mailslot,
    161: services.snmp,
    162: services.snmp,
    514: services.syslog,
    546: dhcp.version6,
    547: dhcp.version6,
    1900: services.ssdp,
    4789: services.vxlan,
    5353: naming.mdns,
    5355: naming.llmnr,
    6081: services.geneve,
}
# Those whose header is to prove it.
_PROVED: dict[int, Worded] = {
    88: windows.kerberos,
    111: calls.remote_call,
    319: calls.clock,
    320: calls.clock,
    389: windows.connectionless_directory,
    500: wrapped.key_exchange,
    520: calls.routing,
    521: calls.routing6,
    623: calls.management,
    646: calls.labels,
    1194: wrapped.openvpn,
    1645: calls.radius,
    1646: calls.radius,
    1701: wrapped.layer2_tunnel,
    1812: calls.radius,
    1813: calls.radius,
    1985: calls.standby,
    2029: calls.standby,
    2049: calls.remote_call,
    2123: wrapped.tunnelled_user,
    2152: wrapped.tunnelled_user,
    3222: calls.load_balancing,
    3784: calls.detection,
    4342: calls.mapping,
    4500: wrapped.through_nat,
    4712: industry.phasor,
    4713: industry.phasor,
    4784: calls.detection,
    5060: texts.sip,
    5683: calls.coap,
    6343: calls.sflow,
    6696: calls.babel,
    17500: calls.dropbox,
    20000: industry.dnp3,
    44818: industry.ethernet_ip,
}
# Ports whose datagrams are looked into, whatever they begin with: QUIC's is among them.
UDP_PORTS = (*PORTS, *_PROVED, wrapped.QUIC_PORT)
