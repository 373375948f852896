"""TLS records in one TCP segment (RFC 8446, 5246): only such as are whole in it are named.

A record whose end another segment has is left to its segment's line, and a handshake record that is not exactly
filled by messages is encrypted. The version is the record's own, until a Server Hello says which was agreed on.
"""

from __future__ import annotations

from qmon.packets.summary.line import Line
from qmon.text import plain_bytes

VERSIONS = {0x300: "SSLv3", 0x301: "TLSv1", 0x302: "TLSv1.1", 0x303: "TLSv1.2", 0x304: "TLSv1.3"}
_CHANGE_CIPHER, _ALERT, _HANDSHAKE, _DATA, _HEARTBEAT = range(20, 25)
_RECORDS = {
    _CHANGE_CIPHER: "Change Cipher Spec", _ALERT: "Alert", _HANDSHAKE: "Handshake", _DATA: "Application Data",
    _HEARTBEAT: "Heartbeat",
}  # fmt: skip
# What encryption may add to 2^14 bytes (RFC 5246 6.2.3).
_MAX_RECORD = (1 << 14) + 2048
_MAX_NAMED = 12
_ENCRYPTED = "Encrypted Handshake Message"
_CLIENT_HELLO, _SERVER_HELLO = 1, 2
_MESSAGES = {
    0: "Hello Request", 1: "Client Hello", 2: "Server Hello", 3: "Hello Verify Request", 4: "New Session Ticket",
    5: "End of Early Data", 8: "Encrypted Extensions", 11: "Certificate", 12: "Server Key Exchange",
    13: "Certificate Request", 14: "Server Hello Done", 15: "Certificate Verify", 16: "Client Key Exchange",
    20: "Finished", 21: "Certificate URL", 22: "Certificate Status", 23: "Supplemental Data", 24: "Key Update",
}  # fmt: skip
_ALERTS = {
    0: "Close Notify", 10: "Unexpected Message", 20: "Bad Record MAC", 21: "Decryption Failed", 22: "Record Overflow",
    30: "Decompression Failure", 40: "Handshake Failure", 41: "No Certificate", 42: "Bad Certificate",
    43: "Unsupported Certificate", 44: "Certificate Revoked", 45: "Certificate Expired", 46: "Certificate Unknown",
    47: "Illegal Parameter", 48: "Unknown CA", 49: "Access Denied", 50: "Decode Error", 51: "Decrypt Error",
    60: "Export Restriction", 70: "Protocol Version", 71: "Insufficient Security", 80: "Internal Error",
    86: "Inappropriate Fallback", 90: "User Canceled", 100: "No Renegotiation", 109: "Missing Extension",
    110: "Unsupported Extension", 111: "Certificate Unobtainable", 112: "Unrecognized Name",
    113: "Bad Certificate Status Response", 114: "Bad Certificate Hash Value", 115: "Unknown PSK Identity",
    116: "Certificate Required", 120: "No application Protocol",
}  # fmt: skip
_SERVER_NAME, _SUPPORTED_VERSIONS = 0, 43


def records(line: Line, at: int) -> bool:
    """Word the records that are whole in this segment; False if the bytes do not begin with any record."""
    version, encrypted = "", False
    words: list[str] = []
    while at + 5 <= len(line.data) and len(words) < _MAX_NAMED:
        kind, own, size = line.data[at], VERSIONS.get(line.u16(at + 1)), line.u16(at + 3)
        if kind not in _RECORDS or own is None or not 0 < size <= _MAX_RECORD:
            break
        stop = at + 5 + size
        if stop > line.end:
            if not words:
                _begun(line, at + 5, kind, size)
                return True
            break
        version = version or own
        word = _RECORDS[kind]
        if kind == _CHANGE_CIPHER:
            encrypted = True
        elif kind == _ALERT:
            word = _alert(line, at + 5, size, encrypted=encrypted)
        elif kind == _HANDSHAKE and encrypted:
            word = _ENCRYPTED
        elif kind == _HANDSHAKE:
            word, agreed = _messages(line, at + 5, stop)
            version = agreed or version
            if agreed and line.talk is not None:
                line.talk.tls = agreed
        words.append(word)
        line.set((line.talk and line.talk.tls) or version, ", ".join(words))
        at = stop
    return bool(words)


def _begun(line: Line, at: int, kind: int, size: int) -> None:
    """Say of a record that goes on in the next segment what is certain: which server a Client Hello asks for.

    Today's hellos do not fit into one segment, and the name is what one looks for.
    """
    if kind == _HANDSHAKE and at + 6 <= len(line.data) and line.data[at] == _CLIENT_HELLO:
        length = line.u32(at) & 0xFFFFFF
        if length + 4 == size and line.u16(at + 4) in VERSIONS:
            name = _hello(line, at, client=True)[1]
            line.info += f" [begins a TLS Client Hello{f' (SNI={name})' if name else ''}]"


def _alert(line: Line, at: int, size: int, *, encrypted: bool) -> str:
    if size != 2 or encrypted or line.data[at] not in (1, 2):
        return "Encrypted Alert"
    level, code = ("Fatal" if line.data[at] == 2 else "Warning"), line.data[at + 1]
    return f"Alert (Level: {level}, Description: {_ALERTS.get(code, code)})"


def _messages(line: Line, at: int, stop: int) -> tuple[str, str]:
    """Return the names of the messages that fill a record, and the version a Server Hello among them chose."""
    words: list[str] = []
    agreed = ""
    while at < stop:
        if at + 4 > stop or line.data[at] not in _MESSAGES:
            return _ENCRYPTED, ""
        kind, length = line.data[at], line.u32(at) & 0xFFFFFF
        if at + 4 + length > stop:
            # A message may be longer than a record, which then is full of it.
            if words and kind in (11, 12, 13):
                words.append(_MESSAGES[kind])
                break
            return _ENCRYPTED, ""
        word = _MESSAGES[kind]
        if kind in (_CLIENT_HELLO, _SERVER_HELLO):
            chosen, server = _hello(line, at, client=kind == _CLIENT_HELLO)
            agreed = chosen or agreed
            word += f" (SNI={server})" if server else ""
        words.append(word)
        at += 4 + length
    return ", ".join(words), agreed


def _hello(line: Line, at: int, *, client: bool) -> tuple[str, str]:
    """Return the version a Server Hello chose and the server a Client Hello names; "" where not said.

    Reads no further than the message and the captured bytes go.
    """
    data = line.data[at : at + 4 + (line.u32(at) & 0xFFFFFF)]
    try:
        version = "" if client else VERSIONS.get(data[4] << 8 | data[5], "")
        place = 39 + data[38]
        if client:
            place += 2 + (data[place] << 8 | data[place + 1])
            place += 1 + data[place]
        else:
            place += 3
        server = ""
        place += 2
        while place + 4 <= len(data):
            kind, size = data[place] << 8 | data[place + 1], data[place + 2] << 8 | data[place + 3]
            value = data[place + 4 : place + 4 + size]
            if len(value) < size:
                break
            if kind == _SERVER_NAME and client and size > 5 and value[2] == 0:
                server = plain_bytes(value[5 : 5 + (value[3] << 8 | value[4])])
            elif kind == _SUPPORTED_VERSIONS and not client and size == 2:
                version = VERSIONS.get(value[0] << 8 | value[1], version)
            place += 4 + size
    except IndexError:
        return "", ""
    return version, server
