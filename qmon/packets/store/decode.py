"""Headers of a whole batch decoded at once: what each packet is, and between whom.

The idea: a window of 48 bytes of every frame is copied into one array, so placed that the network header begins in
the same column for all. Most frames are plain Ethernet and fall in place by themselves; those with VLAN tags get their
window again, further back; other link types say where their network header is. From then on a field is a column.
IPv4 without options, by far the most frequent, is read straight from the windows; options, IPv6 and its extension
headers are handled for the subset of frames that have them.

Owns the meaning of link types, EtherTypes and IP protocol numbers, as far as the packet store needs it. Never raises
on any bytes; never reads outside of a frame's captured bytes without ignoring what it read.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from qmon.packets.batch import ETHERNET, FrameBatch
from qmon.packets.copying import I64, U8, U16, U32, U64, Mask, clipped_items_at
from qmon.packets.store.link import IPV4, IPV6, locate_network

# In a window: where the network header begins, and the EtherType before it.
WINDOW = 48
NETWORK_AT = 12
_ETHERTYPE = NETWORK_AT - 2
# The second eight bytes of a window as a little-endian number: EtherType 0800 and 45, what else there is aside.
_PLAIN_BITS, _PLAIN = np.uint64(0xFF_FFFF_0000), np.uint64(0x45_0008_0000)

ARP = 0x0806
_ICMP, _IGMP, _TCP, _UDP, _ICMPV6, _SCTP, _FRAGMENT = 1, 2, 6, 17, 58, 132, 44
# IPv6 extension headers whose second byte counts 8 bytes beyond the first 8 (RFC 8200; the last three: mobility,
# HIP, shim6), and the authentication header, which counts 4 bytes beyond 8.
_EXTENSIONS = (0, 43, 60, 135, 139, 140)
_AUTHENTICATION = 51
MAX_EXTENSIONS = 8
_PPPOE_SESSION = 0x8864
_IS_TAG = np.zeros(1 << 16, np.bool_)
_IS_TAG[[0x8100, 0x88A8, 0x9100, _PPPOE_SESSION]] = True
MAX_TAGS = 4
# Different in every process, so that nobody can prepare packets whose digests meet.
_SEED = np.frombuffer(os.urandom(16), np.uint64) | np.uint64(1)


class Kind(IntEnum):
    """What a packet is, as far as a glance at its headers tells."""

    OTHER = 0
    ARP = 1
    IPV4 = 2
    IPV6 = 3
    ICMP = 4
    ICMPV6 = 5
    TCP = 6
    UDP = 7
    SCTP = 8
    IGMP = 9
    LLC = 10


_KIND_OF_PROTOCOL = np.full(256, Kind.OTHER, np.uint8)
for _number, _kind in (
    (_ICMP, Kind.ICMP),
    (_IGMP, Kind.IGMP),
    (_TCP, Kind.TCP),
    (_UDP, Kind.UDP),
    (_ICMPV6, Kind.ICMPV6),
    (_SCTP, Kind.SCTP),
):
    _KIND_OF_PROTOCOL[_number] = _kind
_KIND_IN_IPV4 = np.where(_KIND_OF_PROTOCOL, _KIND_OF_PROTOCOL, np.uint8(Kind.IPV4))
_KIND_OF_ETHERTYPE = np.zeros(1 << 16, np.uint8)
# Numbers below 0600 in an Ethernet header are lengths, of what LLC carries.
_KIND_OF_ETHERTYPE[1:0x0600] = Kind.LLC
_KIND_OF_ETHERTYPE[[ARP, IPV4, IPV6]] = Kind.ARP, Kind.IPV4, Kind.IPV6
_HAS_PORTS = np.isin(np.arange(256), (_TCP, _UDP, _SCTP))
_IS_EXTENSION = np.isin(np.arange(256), (*_EXTENSIONS, _AUTHENTICATION, _FRAGMENT))


@dataclass(slots=True)
class Headers:
    """n rows, one a frame. `version` is 4, 6 or 0 (no IP); all else is 0 where a frame has no such thing.

    `network` is where in `data` the network header begins. `protocol` is IP's number for what it carries. Addresses
    are read on demand (`addresses`), for they are needed once per conversation only; `source` and `destination` stand
    for them: IPv4's four bytes read as a little-endian number, a 64-bit digest of IPv6's sixteen. Ports are as in the
    packet, that is, little-endian readings of big-endian numbers.
    """

    data: U8
    network: I64
    version: U8
    protocol: U8
    kind: U8
    source: U64
    destination: U64
    source_port: U16
    destination_port: U16
    tcp_flags: U8

    def addresses(self, rows: I64) -> tuple[U8, U8]:
        """Return (sources, destinations) of some frames with IP, 16 bytes each; IPv4 ones fill the first 4."""
        six = self.version[rows] == 6
        start = self.network[rows] + np.where(six, 8, 12)
        size = np.where(six, 16, 4)
        source = clipped_items_at(self.data, 16, start).reshape(-1, 16).copy()
        destination = clipped_items_at(self.data, 16, start + size).reshape(-1, 16).copy()
        source[~six, 4:] = 0
        destination[~six, 4:] = 0
        return source, destination


def decode(batch: FrameBatch, link_types: U16) -> Headers:
    """Decode a batch; `link_types` holds the link type of each of the source's interfaces."""
    located = _locate(batch, link_types)
    plain = _is_plain(located.windows, located.room)
    rest = np.flatnonzero(~plain)
    if len(rest):
        moved = _skip_tags(located, rest)
        if len(moved):
            plain[moved] = _is_plain(located.windows[moved], located.room[moved])
            rest = np.flatnonzero(~plain)
    headers = _read_plain(located, plain)
    if len(rest):
        _read_rest(headers, located, rest)
    return headers


@dataclass(slots=True)
class _Located:
    """Where the network headers are: their offset in `data`, the bytes captured from there on, and the windows.

    A window has the EtherType of the network header in the two bytes before it, whatever the link type.
    """

    data: U8
    network: I64
    room: I64
    windows: U8


def _locate(batch: FrameBatch, link_types: U16) -> _Located:
    if (link_types == ETHERNET).all():
        return _locate_ethernet(batch.data, batch.offset, batch.captured)
    # Before the first frame there must be room for a window to begin.
    data = np.concatenate((np.zeros(NETWORK_AT, np.uint8), batch.data))
    offset = batch.offset + NETWORK_AT
    mine = link_types[batch.interface]
    network = offset + 14
    ethertype = np.zeros(len(offset), ">u2")
    for link_type in np.unique(mine[mine != ETHERNET]).tolist():
        rows = np.flatnonzero(mine == link_type)
        before, ethertype[rows] = locate_network(data, offset[rows], link_type)
        network[rows] = offset[rows] + before
    windows = clipped_items_at(data, WINDOW, network - NETWORK_AT).reshape(-1, WINDOW)
    other = mine != ETHERNET
    # Raw IP has no header before the network's: of an empty frame nothing was looked at.
    ethertype[batch.captured == 0] = 0
    windows.view(">u2")[other, _ETHERTYPE // 2] = ethertype[other]
    return _Located(data, network, batch.captured - (network - offset), windows)


def _locate_ethernet(data: U8, offset: I64, captured: U32) -> _Located:
    room = captured.astype(np.int64)
    room -= 14
    windows = clipped_items_at(data, WINDOW, offset + (14 - NETWORK_AT)).reshape(-1, WINDOW)
    return _Located(data, offset + 14, room, windows)


def _is_plain(windows: U8, room: I64) -> Mask:
    """Say which frames hold IPv4 without options, and enough of it for TCP's flags to be there."""
    mask: Mask = (windows.view("<u8")[:, 1] & _PLAIN_BITS) == _PLAIN
    mask &= room >= 34
    return mask


def _skip_tags(located: _Located, rows: I64) -> I64:
    """Go behind VLAN tags and PPPoE, for those of `rows` that have them; return which these are."""
    moved = []
    for _ in range(MAX_TAGS):
        rows = rows[_IS_TAG.take(_ethertype(located, rows))]
        if len(rows):
            rows = rows[located.room[rows] >= 8]
        if not len(rows):
            break
        session = _ethertype(located, rows) == _PPPOE_SESSION
        by = np.where(session, 8, 4)
        located.network[rows] += by
        located.room[rows] -= by
        start = located.network[rows] - NETWORK_AT
        windows = clipped_items_at(located.data, WINDOW, start).reshape(-1, WINDOW)
        protocol = windows.view(">u2")[:, _ETHERTYPE // 2]
        inner = np.where(protocol == 0x21, IPV4, np.where(protocol == 0x57, IPV6, 0))
        protocol[session] = inner[session]
        located.windows[rows] = windows
        moved.append(rows)
    return moved[0] if moved else np.zeros(0, np.int64)


def _ethertype(located: _Located, rows: I64) -> U16:
    """Return the EtherTypes of some rows, 0 where the frame ends before its own."""
    kind = located.windows.view(">u2")[rows, _ETHERTYPE // 2].astype(np.uint16)
    return np.where(located.room[rows] >= 0, kind, 0).astype(np.uint16)


def _read_plain(located: _Located, plain: Mask) -> Headers:
    """Read the frames for which `plain` is true; the others' rows are left at 0."""
    words = located.windows.view("<u8")
    middle, addresses, behind = words[:, 2].copy(), words[:, 3] * plain, words[:, 4].copy()
    protocol = (middle >> np.uint64(40)).astype(np.uint8)
    protocol *= plain
    # The fragment's offset must be 0: 5 bits of one byte, and the next.
    ports = _HAS_PORTS.take(protocol)
    ports &= (middle & np.uint64(0xFF1F_0000)) == 0
    behind *= ports
    source_port = behind.astype(np.uint16)
    behind >>= np.uint64(16)
    flags = (words[:, 5] >> np.uint64(40)).astype(np.uint8)
    flags *= ports
    flags *= protocol == _TCP
    return Headers(
        data=located.data,
        network=located.network,
        version=plain * np.uint8(4),
        protocol=protocol,
        kind=_KIND_IN_IPV4.take(protocol),
        source=addresses & np.uint64(0xFFFF_FFFF),
        destination=addresses >> np.uint64(32),
        source_port=source_port,
        destination_port=behind.astype(np.uint16),
        tcp_flags=flags,
    )


def _read_rest(headers: Headers, located: _Located, rest: I64) -> None:
    kind, first = _ethertype(located, rest), located.windows[rest, NETWORK_AT]
    _ipv4_with_options(headers, located.room, rest[(kind == IPV4) & (first >= 0x45) & (first <= 0x4F)])
    _ipv6(headers, located.room, rest[(kind == IPV6) & (first >> 4 == 6)])
    _name_kinds(headers, kind, rest)


def _ipv4_with_options(headers: Headers, room: I64, rows: I64) -> None:
    if not len(rows):
        return
    head = _bytes_at(headers, rows, 0, 20)
    size = (head[:, 0] & 15).astype(np.int64) * 4
    whole = room[rows] >= size
    rows, head, size = rows[whole], head[whole], size[whole]
    headers.version[rows] = 4
    headers.protocol[rows] = head[:, 9]
    headers.source[rows] = np.ascontiguousarray(head[:, 12:16]).view("<u4")[:, 0]
    headers.destination[rows] = np.ascontiguousarray(head[:, 16:20]).view("<u4")[:, 0]
    first_fragment = ((head[:, 6] & 0x1F) == 0) & (head[:, 7] == 0)
    _transport(headers, room, rows[first_fragment], size[first_fragment])


def _ipv6(headers: Headers, room: I64, rows: I64) -> None:
    rows = rows[room[rows] >= 40]
    if not len(rows):
        return
    head = _bytes_at(headers, rows, 0, 40)
    words = np.ascontiguousarray(head[:, 8:40]).view("<u8")
    headers.version[rows] = 6
    headers.source[rows] = _digest(words[:, 0], words[:, 1])
    headers.destination[rows] = _digest(words[:, 2], words[:, 3])
    protocol = head[:, 6].copy()
    size = np.full(len(rows), 40, np.int64)
    whole = _skip_extensions(headers, room, rows, protocol, size)
    headers.protocol[rows] = protocol
    _transport(headers, room, rows[whole], size[whole])


def _skip_extensions(headers: Headers, room: I64, rows: I64, protocol: U8, size: I64) -> Mask:
    """Move `protocol` and `size` behind extension headers; say where a transport header may begin."""
    whole = np.ones(len(rows), np.bool_)
    for _ in range(MAX_EXTENSIONS):
        which = np.flatnonzero(_IS_EXTENSION[protocol] & whole & (room[rows] >= size + 8))
        if not len(which):
            break
        head = _bytes_at(headers, rows[which], size[which], 4)
        kind = protocol[which]
        length = (head[:, 1].astype(np.int64) + 1) * 8
        length = np.where(kind == _AUTHENTICATION, (head[:, 1].astype(np.int64) + 2) * 4, length)
        length = np.where(kind == _FRAGMENT, 8, length)
        # The fragment's offset: all but the lowest three bits of 16. Only offset 0 has a transport header.
        later = (kind == _FRAGMENT) & ((head[:, 2] != 0) | (head[:, 3] & 0xF8 != 0))
        whole[which] = ~later
        protocol[which] = head[:, 0]
        size[which] += length
    return whole & ~_IS_EXTENSION[protocol]


def _transport(headers: Headers, room: I64, rows: I64, size: I64) -> None:
    """Read ports and flags behind `size` bytes of network header."""
    fits = _HAS_PORTS[headers.protocol[rows]] & (room[rows] >= size + 4)
    rows, size = rows[fits], size[fits]
    if not len(rows):
        return
    head = _bytes_at(headers, rows, size, 14)
    ports = np.ascontiguousarray(head[:, :4]).view("<u2")
    headers.source_port[rows] = ports[:, 0]
    headers.destination_port[rows] = ports[:, 1]
    flags = (headers.protocol[rows] == _TCP) & (room[rows] >= size + 14)
    headers.tcp_flags[rows] = np.where(flags, head[:, 13], 0)


def _name_kinds(headers: Headers, ethertype: U16, rows: I64) -> None:
    """Set `kind` for rows that are not plain IPv4."""
    carried = _KIND_OF_PROTOCOL.take(headers.protocol[rows])
    named = (carried != Kind.OTHER) & (headers.version[rows] != 0)
    headers.kind[rows] = np.where(named, carried, _KIND_OF_ETHERTYPE.take(ethertype))


def _bytes_at(headers: Headers, rows: I64, before: I64 | int, size: int) -> U8:
    start = headers.network[rows] + before
    return clipped_items_at(headers.data, size, np.minimum(start, len(headers.data))).reshape(-1, size)


def _digest(high: U64, low: U64) -> U64:
    mixed = high * _SEED[0] ^ (high >> np.uint64(29))
    mixed += low * _SEED[1]
    result: U64 = mixed ^ (mixed >> np.uint64(31))
    return result


def kind_of(protocol: int) -> Kind:
    """Return the kind of one of IP's protocols, OTHER if it has none of its own."""
    return Kind(int(_KIND_OF_PROTOCOL[protocol]))
