"""ONC RPC (RFC 5531), and the small services of routers and hosts that their header tells from other datagrams."""

from __future__ import annotations

from collections.abc import Callable

from qmon.packets.summary import tables
from qmon.packets.summary.line import Line

_PROGRAMS = {
    100000: "Portmap",
    100003: "NFS",
    100005: "MOUNT",
    100021: "NLM",
    100024: "STAT",
    100227: "NFSACL",
}
_SERVERS = {111: "Portmap", 2049: "NFS"}
_RADIUS = {
    1: "Access-Request", 2: "Access-Accept", 3: "Access-Reject", 4: "Accounting-Request", 5: "Accounting-Response",
    11: "Access-Challenge", 12: "Status-Server", 40: "Disconnect-Request", 41: "Disconnect-ACK",
    42: "Disconnect-NAK", 43: "CoA-Request", 44: "CoA-ACK", 45: "CoA-NAK",
}  # fmt: skip
_HSRP = ("Hello", "Coup", "Resign")


def remote_call(line: Line, at: int) -> None:
    """Word an ONC RPC message in a datagram: a call names its program, a reply's is that of the server's port."""
    if line.u32(at + 4) == 0 and line.u32(at + 8) == 2:
        program, version, procedure = (line.u32(at + i) for i in (12, 16, 20))
        if program >= 100000:
            line.set(_PROGRAMS.get(program, "RPC"), f"V{version} procedure {procedure} Call")
    elif line.u32(at + 4) == 1 and line.u32(at + 8) <= 1 and line.end - at >= 20:
        server = line.ports[0] if line.ports else 0
        line.set(_SERVERS.get(server, "RPC"), f"Reply XID 0x{line.u32(at):x}")


def remote_call_in_stream(line: Line, at: int) -> None:
    """Word an ONC RPC message behind its record mark."""
    if line.u32(at) & 0x7FFFFFFF <= line.end - at - 4:
        remote_call(line, at + 4)


def radius(line: Line, at: int) -> None:
    """Word a RADIUS message, which is as long as it says."""
    if line.data[at] in _RADIUS and 20 <= line.u16(at + 2) <= line.end - at:
        line.set("RADIUS", f"{_RADIUS[line.data[at]]} id={line.data[at + 1]}")


def routing(line: Line, at: int) -> None:
    """Word a RIP message of either version."""
    kind, version = line.data[at], line.data[at + 1]
    if kind in (1, 2) and version in (1, 2) and (line.end - at - 4) % 20 == 0:
        line.set(f"RIPv{version}", "Request" if kind == 1 else "Response")


def routing6(line: Line, at: int) -> None:
    """Word a RIPng message."""
    kind = line.data[at]
    if kind in (1, 2) and line.data[at + 1] == 1:
        line.set("RIPng", f"Command {'Request' if kind == 1 else 'Response'}, Version 1")


def standby(line: Line, at: int) -> None:
    """Word an HSRP message."""
    if line.data[at] == 0 and line.data[at + 1] < len(_HSRP):
        line.set("HSRP", f"{_HSRP[line.data[at + 1]]} (state {line.data[at + 2]})")
    elif line.data[at] in (1, 4):
        line.set("HSRPv2", "Hello")


def labels(line: Line, at: int) -> None:
    """Word an LDP message, in a datagram or whole in a segment."""
    if line.u16(at) == 1 and 6 <= line.u16(at + 2) <= line.end - at - 4:
        names = {
            0x100: "Hello",
            0x200: "Initialization",
            0x201: "Keep Alive",
            0x300: "Address",
            0x400: "Label Mapping",
        }
        name = tables.named(names, line.u16(at + 10) & 0x7FFF, "message 0x{:04x}")
        line.set("LDP", f"{name} Message")


def clock(line: Line, at: int) -> None:
    """Word a PTP message of version 2."""
    names = {
        0: "Sync", 1: "Delay_Req", 2: "Path_Delay_Req", 3: "Path_Delay_Resp", 8: "Follow_Up", 9: "Delay_Resp",
        10: "Path_Delay_Resp_Follow_Up", 11: "Announce", 12: "Signaling", 13: "Management",
    }  # fmt: skip
    if line.data[at + 1] & 0xF == 2 and line.data[at] & 0xF in names:
        line.set("PTPv2", f"{names[line.data[at] & 0xF]} Message")


def detection(line: Line, at: int) -> None:
    """Word a BFD control packet of version 1."""
    if line.data[at] >> 5 == 1 and 24 <= line.data[at + 3] <= line.end - at:
        states = ("AdminDown", "Down", "Init", "Up")
        line.set("BFD Control", f"State: {states[line.data[at + 1] >> 6]}")


def switching(line: Line, at: int) -> None:
    """Word an OpenFlow message that is whole."""
    if 1 <= line.data[at] <= 6 and line.data[at + 1] < 36 and 8 <= line.u16(at + 2) <= line.end - at:
        line.set("OpenFlow", f"Type: {line.data[at + 1]}, version {line.data[at]}")


def told_by(protocol: str, proof: Callable[[Line, int], bool], info: str = "") -> Callable[[Line, int], None]:
    """Return what names a datagram or segment if a proof holds."""

    def worded(line: Line, at: int) -> None:
        if proof(line, at):
            line.set(protocol, info or f"{line.end - at} bytes")

    return worded


coap = told_by("CoAP", lambda line, at: line.data[at] >> 6 == 1 and line.data[at] & 0xF <= 8)
sflow = told_by("sFlow", lambda line, at: line.u32(at) == 5, "V5")
babel = told_by("Babel", lambda line, at: line.u16(at) == 0x2A02)
management = told_by("RMCP", lambda line, at: line.data[at] == 6)
load_balancing = told_by("GLBP", lambda line, at: line.data[at] == 1 and line.data[at + 1] == 0)
dropbox = told_by("DB-LSP-DISC", lambda line, at: line.data.startswith(b'{"host_int"', at))
netware = told_by("NCP", lambda line, at: line.data[at : at + 4] in (b"DmdT", b"tNcP"))
bitcoin = told_by("Bitcoin", lambda line, at: line.u32(at) == 0xF9BEB4D9)
mapping = told_by("LISP", lambda line, at: 1 <= line.data[at] >> 4 <= 8)
