"""Services on UDP: TFTP, NTP, SSDP, syslog, SNMP, VXLAN, Geneve (RFC 1350, 2347, 5905, 3164, 7348, 8926)."""

from __future__ import annotations

from qmon.packets.summary import tables
from qmon.packets.summary.line import Line
from qmon.text import plain_bytes

_TFTP = (
    "",
    "Read Request",
    "Write Request",
    "Data Packet",
    "Acknowledgement",
    "Error Code",
    "Option Acknowledgement",
)
_NTP = (
    "reserved",
    "symmetric active",
    "symmetric passive",
    "client",
    "server",
    "broadcast",
    "control",
    "private",
)


def tftp(line: Line, at: int) -> None:
    """Word a TFTP packet."""
    kind = line.u16(at)
    line.set("TFTP", tables.named(_TFTP, kind, "Unknown (0x{:04x})"))
    if kind in (1, 2):
        words = _words(line, at + 2)
        mode = words[1] if len(words) > 1 else ""
        line.info += f", File: {words[0] if words else ''}, Transfer type: {mode}{_options(words[2:])}"
    elif kind in (3, 4):
        line.info += f", Block: {line.u16(at + 2)}"
        if kind == 3 and line.end - at - 4 < 512:
            line.info += f", {line.end - at - 4} bytes"
    elif kind == 5:
        code = tables.named(tables.TFTP_ERRORS, line.u16(at + 2), "{}")
        line.info += f", Code: {code}, Message: {(_words(line, at + 4) or [''])[0]}"
    elif kind == 6:
        line.info += _options(_words(line, at + 2))


def _words(line: Line, at: int) -> list[str]:
    return [plain_bytes(word) for word in line.data[at : at + 600].split(b"\0")[:-1]]


def _options(words: list[str]) -> str:
    return "".join(f", {name}={value}" for name, value in zip(words[::2], words[1::2], strict=False))


def ntp(line: Line, at: int) -> None:
    """Word an NTP packet."""
    first = line.data[at]
    line.set("NTP", f"NTP Version {first >> 3 & 7}, {_NTP[first & 7]}")


def ssdp(line: Line, at: int) -> None:
    """Word an SSDP message by its first line."""
    line.set("SSDP", line.text_line(at))


def syslog(line: Line, at: int) -> None:
    """Word a syslog message."""
    text = plain_bytes(line.data[at : at + 400])
    number, mark, rest = text[1:].partition(">")
    if text.startswith("<") and mark and number.isdecimal() and len(number) <= 3:
        facility = tables.named(tables.SYSLOG_FACILITIES, int(number) >> 3, "facility {}")
        text = f"{facility}.{tables.SYSLOG_LEVELS[int(number) & 7]}: {rest}"
    line.set("Syslog", text)


def snmp(line: Line, at: int) -> None:
    """Word an SNMP message: the kind of request, and the community of versions 1 and 2c."""
    kinds = (
        "get-request", "get-next-request", "get-response", "set-request", "trap", "getBulkRequest", "informRequest",
        "snmpV2-trap", "report",
    )  # fmt: skip
    line.set("SNMP", "")
    _, inner = _tagged(line, at)
    size, place = _tagged(line, inner)
    version = int.from_bytes(line.bytes(place, min(size, 1)), "big")
    if version > 1:
        line.info = "SNMPv3"
        return
    size, community = _tagged(line, place + size)
    line.info = f"{tables.named(kinds, line.data[community + size] & 0x1F, 'PDU {}')}"


def _tagged(line: Line, at: int) -> tuple[int, int]:
    """Return size and place of the value of an ASN.1 item."""
    size = line.data[at + 1]
    if size < 0x80:
        return size, at + 2
    count = size & 0x7F
    return int.from_bytes(line.bytes(at + 2, count), "big"), at + 2 + count


def vxlan(line: Line, at: int) -> None:
    """Look into a VXLAN tunnel."""
    from qmon.packets.summary import link  # Tunnels are where the levels form a circle.

    line.set("VxLAN", f"VNI {line.u32(at + 4) >> 8}")
    if line.nest():
        link.ethernet(line, at + 8)


def geneve(line: Line, at: int) -> None:
    """Look into a Geneve tunnel."""
    from qmon.packets.summary import link

    line.set("Geneve", f"VNI {line.u32(at + 4) >> 8}")
    kind, inner = line.u16(at + 2), at + 8 + (line.data[at] & 0x3F) * 4
    if line.nest():
        if kind == 0x6558:
            link.ethernet(line, inner)
        else:
            link.ethertype(line, inner, kind)
