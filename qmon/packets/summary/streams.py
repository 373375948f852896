"""What a TCP segment carries, told from the segment alone.

What names itself is named on any port; the rest needs its port, and a header that fits. A segment from the middle of
a message stays TCP.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable

from qmon.packets.summary import calls, industry, naming, ssh, stores, tables, texts, tls, windows, wrapped
from qmon.packets.summary.line import Line

Worded = Callable[[Line, int], None]

_BGP = (
    "",
    "OPEN Message",
    "UPDATE Message",
    "NOTIFICATION Message",
    "KEEPALIVE Message",
    "ROUTE-REFRESH Message",
)


def _border_gateway(line: Line, at: int) -> None:
    if line.data[at : at + 16] == b"\xff" * 16:
        line.set("BGP", tables.named(_BGP, line.data[at + 18], "message type {}"))


def _openvpn(line: Line, at: int) -> None:
    if line.u16(at) == line.end - at - 2:
        wrapped.openvpn(line, at + 2)


def _remote_shell(line: Line, at: int) -> None:
    """Word the port for errors with which a client begins; nothing behind it says what it is."""
    if line.end - at <= 6 and re.fullmatch(rb"\d{1,5}\0", line.data[at:]):
        line.set("RSH", "Session Establishment")
        if line.talk is not None:
            line.talk.speaks = "RSH"


def _remote_login(line: Line, at: int) -> None:
    """Word the names and the terminal with which a client begins (RFC 1282)."""
    if re.fullmatch(rb"\0?[^\0]{1,32}\0[^\0]{1,32}\0[^\0/]{1,32}/\d{1,7}\0", line.data[at : at + 120]):
        line.set("Rlogin", "User information")
        if line.talk is not None:
            line.talk.speaks = "Rlogin"


_PORTS: dict[int, Worded] = {
    53: naming.dns_in_stream,
    88: windows.kerberos_in_stream,
    102: industry.transport_packet,
    111: calls.remote_call_in_stream,
    139: windows.session,
    179: _border_gateway,
    389: windows.directory,
    445: windows.session,
    502: industry.modbus,
    513: _remote_login,
    514: _remote_shell,
    524: calls.netware,
    646: calls.labels,
    1194: _openvpn,
    1433: stores.tabular,
    1883: stores.mqtt,
    2049: calls.remote_call_in_stream,
    2404: industry.telecontrol,
    3268: windows.directory,
    3306: stores.mysql,
    3389: industry.remote_desktop,
    4712: industry.phasor,
    4713: industry.phasor,
    5432: stores.postgresql,
    5672: stores.amqp,
    6379: stores.redis,
    6633: calls.switching,
    6653: calls.switching,
    8333: calls.bitcoin,
    20000: industry.dnp3,
    44818: industry.ethernet_ip,
    48898: industry.ams,
    **dict.fromkeys(texts.LINES, texts.by_port),
}
# Ports whose segments are looked into, whatever they begin with; and the two bytes with which others begin that are
# looked into on any port (besides TLS's, and three capital letters).
PORTS = (*_PORTS, ssh.PORT)
BEGINNINGS = (b"\5\0", b"\5\1", b"\x13B", b"8=")


def payload(line: Line, at: int, source: int, destination: int) -> None:
    """Word the payload that begins at a place, if it says what it is; else leave the line as it is."""
    start = line.data[at : at + 4]
    if not start:
        return
    if start[1:2] == b"\3" and tls.records(line, at):
        return
    if start == b"SSH-":
        ssh.banner(line, at, source, destination)
    elif ssh.PORT in (source, destination):
        ssh.packets(line, at, source, destination)
    else:
        before = line.protocol, line.info
        for port in (source, destination):
            worded = _PORTS.get(port)
            if worded is not None:
                tried(worded, line, at)
                if (line.protocol, line.info) != before:
                    return
        if start[:2] in BEGINNINGS[:2]:
            tried(windows.remote_call, line, at)
        elif line.data.startswith(b"\x13BitTorrent protocol", at):
            line.set("BitTorrent", "Handshake")
            if line.talk is not None:
                line.talk.speaks = "BitTorrent"
        elif start[:3].isupper() or start[:1].isdigit() or start[:2].isupper():
            texts.by_content(line, at)


def tried(worded: Worded, line: Line, at: int) -> None:
    """Let a reader word the line if all that it looks at is there; else leave the line as it is."""
    before = line.protocol, line.info
    try:
        worded(line, at)
    except (IndexError, struct.error):
        line.protocol, line.info = before
