"""What a frame's link layer says: hardware addresses, VLAN tags, Ethertype, and where the network's header begins.

Knows the link types that a VM's netdev and Linux's own captures have. Never raises on any bytes: what was cut off is
None or empty.
"""

from __future__ import annotations

from dataclasses import dataclass

from qmon.packets.batch import ETHERNET

_SLL, _SLL2 = 113, 276
TAGS = frozenset({0x8100, 0x88A8, 0x9100, 0x9200})
_MOST_TAGS = 8
_IPV4, _IPV6 = 0x0800, 0x86DD
_ETHERTYPES = {_IPV4: "IPv4", _IPV6: "IPv6", 0x0806: "ARP", 0x8035: "RARP", 0x88CC: "LLDP", 0x8863: "PPPoE D"}
_ETHERTYPES |= {0x8864: "PPPoE S", 0x888E: "EAPOL", 0x8847: "MPLS unicast", 0x9000: "Loopback"}
_TAG_NAMES = {0x8100: "802.1Q", 0x88A8: "802.1Q-QinQ"}


@dataclass(frozen=True, slots=True)
class LinkHeader:
    """A frame's link layer. Addresses are text; `vlans` are the tags' ids, outermost first; `size` is in bytes.

    `kind` is the Ethertype behind the tags, or a length up to 1500 (IEEE 802.3). `tags` are (Ethertype, tag) pairs.
    """

    source: str | None = None
    destination: str | None = None
    kind: int | None = None
    tags: tuple[tuple[int, int], ...] = ()
    size: int = 0

    @property
    def vlans(self) -> list[int]:
        """The ids of the VLANs that the frame is tagged with."""
        return [tag & 0xFFF for _, tag in self.tags]

    def text(self, length: int) -> str:
        """Return ``source > destination, ethertype IPv4 (0x0800), length 74:``, as tcpdump's -e has it."""
        kinds = [*(kind for kind, _ in self.tags), self.kind]
        ends = [end for end in (self.source, self.destination) if end is not None]
        said = f"{' > '.join(ends)}, {_kind_text(kinds[0])}, length {length}:"
        tags = [
            f"vlan {tag & 0xFFF}, p {tag >> 13}{', DEI' if tag & 0x1000 else ''}, {_kind_text(kind)}"
            for (_, tag), kind in zip(self.tags, kinds[1:], strict=True)
        ]
        return f"{said} {', '.join(tags)}," if tags else said


def _kind_text(kind: int | None) -> str:
    if kind is None:
        return "cut short"
    if kind <= 1500:
        return "802.3"
    return f"ethertype {_ETHERTYPES.get(kind) or _TAG_NAMES.get(kind) or 'Unknown'} (0x{kind:04x})"


def link_header(frame: bytes | memoryview, link_type: int) -> LinkHeader:
    """Read the link layer of one frame; a link type that is not known has an empty one."""
    if link_type == ETHERNET:
        head = bytes(frame[: 14 + 4 * _MOST_TAGS])
        source = head[6:12].hex(":") if len(head) >= 12 else None
        destination = head[:6].hex(":") if len(head) >= 6 else None
        return _tagged(head, 12, source, destination)
    if link_type == _SLL:
        head = bytes(frame[: 16 + 4 * _MOST_TAGS])
        return _tagged(head, 14, _address(head, 4, 6), None)
    if link_type == _SLL2:
        head = bytes(frame[: 20 + 4 * _MOST_TAGS])
        kind = int.from_bytes(head[:2], "big") if len(head) >= 20 else None
        size = head[11] if len(head) >= 20 else 0
        return LinkHeader(head[12:18].hex(":") if size == 6 else None, None, kind, (), min(20, len(head)))
    return LinkHeader()


def _address(head: bytes, size_at: int, at: int) -> str | None:
    return (
        head[at : at + 6].hex(":") if head[size_at : size_at + 2] == b"\0\6" and len(head) >= at + 6 else None
    )


def _tagged(head: bytes, at: int, source: str | None, destination: str | None) -> LinkHeader:
    """Read the Ethertype that lies at `at`, going behind VLAN tags."""
    tags: list[tuple[int, int]] = []
    kind = _u16(head, at)
    at += 2
    while kind in TAGS and len(tags) < _MOST_TAGS and (tag := _u16(head, at)) is not None:
        tags.append((kind, tag))
        kind = _u16(head, at + 2)
        at += 4
    return LinkHeader(source, destination, kind, tuple(tags), min(at, len(head)))


def _u16(head: bytes, at: int) -> int | None:
    return int.from_bytes(head[at : at + 2], "big") if len(head) >= at + 2 else None
