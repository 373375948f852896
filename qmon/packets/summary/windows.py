"""What Windows hosts say to each other: SMB, DCE/RPC, LDAP, Kerberos, mailslots.

Sources: RFC 1001/1002, MS-SMB2, MS-CIFS, C706 (DCE 1.1 RPC), RFC 4511, RFC 4120.
"""

from __future__ import annotations

from typing import Literal

from qmon.packets.summary import interfaces, tables
from qmon.packets.summary.line import Line

_SESSION = {
    0x81: "Session request", 0x82: "Positive session response", 0x83: "Negative session response",
    0x84: "Retarget session response", 0x85: "Session keep-alive",
}  # fmt: skip
_SMB2 = (
    "Negotiate Protocol", "Session Setup", "Session Logoff", "Tree Connect", "Tree Disconnect", "Create", "Close",
    "Flush", "Read", "Write", "Lock", "Ioctl", "Cancel", "KeepAlive", "Find", "Notify", "GetInfo", "SetInfo", "Break",
)  # fmt: skip
_SMB = {
    0x04: "Close", 0x2E: "Read AndX", 0x2F: "Write AndX", 0x25: "Trans", 0x32: "Trans2", 0x71: "Tree Disconnect",
    0x72: "Negotiate Protocol", 0x73: "Session Setup AndX", 0x74: "Logoff AndX", 0x75: "Tree Connect AndX",
    0xA2: "NT Create AndX", 0xA0: "NT Trans",
}  # fmt: skip
_RPC = {
    0: "Request", 2: "Response", 3: "Fault", 11: "Bind", 12: "Bind_ack", 13: "Bind_nak", 14: "Alter_context",
    15: "Alter_context_resp", 16: "AUTH3", 17: "Shutdown", 18: "Co_cancel", 19: "Orphaned",
}  # fmt: skip
_REQUEST, _RESPONSE, _BIND, _ALTER = 0, 2, 11, 14
# First and last fragment.
_WHOLE = 3
_LDAP = {
    0x60: "bindRequest", 0x61: "bindResponse", 0x42: "unbindRequest", 0x63: "searchRequest", 0x64: "searchResEntry",
    0x65: "searchResDone", 0x66: "modifyRequest", 0x67: "modifyResponse", 0x68: "addRequest", 0x69: "addResponse",
    0x4A: "delRequest", 0x6B: "delResponse", 0x73: "searchResRef", 0x77: "extendedReq", 0x78: "extendedResp",
    0x50: "abandonRequest",
}  # fmt: skip
_KERBEROS = {
    0x6A: "AS-REQ", 0x6B: "AS-REP", 0x6C: "TGS-REQ", 0x6D: "TGS-REP", 0x6E: "AP-REQ", 0x6F: "AP-REP", 0x7E: "KRB Error",
}  # fmt: skip
_MAILSLOTS = {
    b"\\MAILSLOT\\BROWSE\0": "BROWSER", b"\\MAILSLOT\\LANMAN\0": "BROWSER",
    b"\\MAILSLOT\\NET\\NETLOGON\0": "SMB_NETLOGON", b"\\MAILSLOT\\NET\\NTLOGON\0": "SMB_NETLOGON",
}  # fmt: skip


def session(line: Line, at: int) -> None:
    """Word a NetBIOS session packet, and the SMB message in it if it is whole."""
    kind, size = line.data[at], line.u32(at) & 0xFFFFFF
    if kind in _SESSION and size <= line.end - at - 4 and size < 256:
        line.set("NBSS", _SESSION[kind])
    elif kind == 0 and 4 <= size <= line.end - at - 4:
        _smb(line, at + 4)


def _smb(line: Line, at: int) -> None:
    mark = line.bytes(at, 4)
    if mark == b"\xfeSMB":
        command, flags = int.from_bytes(line.bytes(at + 12, 2), "little"), line.data[at + 16]
        name = tables.named(_SMB2, command, "command {}")
        line.set("SMB2", f"{name} {'Response' if flags & 1 else 'Request'}")
    elif mark == b"\xfdSMB":
        line.set("SMB2", "Encrypted SMB3")
    elif mark == b"\xffSMB":
        name = tables.named(_SMB, line.data[at + 4], "command 0x{:02x}")
        line.set("SMB", f"{name} {'Response' if line.data[at + 9] & 0x80 else 'Request'}")


def remote_call(line: Line, at: int) -> None:
    """Word a DCE/RPC packet of a connection: version 5, a known kind, and the length it says."""
    order: Literal["little", "big"] = "little" if line.data[at + 4] & 0xF0 else "big"
    size = int.from_bytes(line.bytes(at + 8, 2), order)
    kind = line.data[at + 2]
    if line.data[at] == 5 and line.data[at + 1] <= 1 and kind in _RPC and 16 <= size <= line.end - at:
        call = int.from_bytes(line.bytes(at + 12, 4), order)
        line.set("DCERPC", f"{_RPC[kind]}: call_id: {call}, Fragment: {size} bytes")
        if line.talk is None:
            return
        if kind in (_BIND, _ALTER):
            interfaces.bound(line, at + 24, line.talk, order)
        elif kind in (_REQUEST, _RESPONSE) and line.data[at + 3] & _WHOLE == _WHOLE:
            context = int.from_bytes(line.bytes(at + 20, 2), order)
            line.protocol = line.talk.contexts.get(context, "DCERPC")


def _item(line: Line, at: int) -> tuple[int, int]:
    """Return where the value of a BER item begins and how long it is."""
    size = line.data[at + 1]
    if size < 0x80:
        return at + 2, size
    count = size & 0x7F
    return at + 2 + count, int.from_bytes(line.bytes(at + 2, count), "big")


def directory(line: Line, at: int, protocol: str = "LDAP") -> None:
    """Word an LDAP message: a sequence, a number, and a known operation."""
    if line.data[at] != 0x30:
        return
    inner, size = _item(line, at)
    if inner + size > line.end or line.data[inner] != 2 or not 1 <= line.data[inner + 1] <= 4:
        return
    number, length = _item(line, inner)
    operation = line.data[number + length]
    if operation in _LDAP:
        line.set(protocol, f"{_LDAP[operation]}({int.from_bytes(line.bytes(number, length), 'big')})")


def connectionless_directory(line: Line, at: int) -> None:
    """Word an LDAP message in a datagram."""
    directory(line, at, "CLDAP")


def kerberos(line: Line, at: int) -> None:
    """Word a Kerberos message in a datagram."""
    if line.data[at] in _KERBEROS:
        inner, size = _item(line, at)
        if inner + size == line.end and line.data[inner] == 0x30:
            line.set("KRB5", _KERBEROS[line.data[at]])


def kerberos_in_stream(line: Line, at: int) -> None:
    """Word a Kerberos message behind its length."""
    if 8 < line.u32(at) <= line.end - at - 4:
        kerberos(line, at + 4)


def mailslot(line: Line, at: int) -> None:
    """Word a NetBIOS datagram, or what is said on a mailslot in it."""
    kind = line.data[at]
    line.set("NBDS", f"NetBIOS datagram, message type 0x{kind:02x}")
    if kind not in (0x10, 0x11, 0x12):
        return
    found = line.data.find(b"\xffSMB", at + 14)
    if found < 0 or found + 33 > len(line.data):
        return
    line.set("SMB", "Mailslot")
    for name, protocol in _MAILSLOTS.items():
        if line.data.find(name, found + 32, found + 120) >= 0:
            line.set(protocol, f"on {name[:-1].decode()}")
