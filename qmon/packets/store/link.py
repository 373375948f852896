"""Where the network header begins in a frame, for each link type qmon looks into.

The numbers are tcpdump.org's LINKTYPE_ list. Vectorised: all frames given have the same link type. Link types not
listed here hold nothing that the store could index; their frames are stored all the same.
"""

from __future__ import annotations

import numpy as np

from qmon.packets.copying import I64, U8, U16, clipped_items_at

IPV4, IPV6 = 0x0800, 0x86DD
NULL, LOOP = 0, 108
RAW = (12, 14, 101, 228, 229)
LINUX_SLL, LINUX_SLL2 = 113, 276
PPP_OR_CISCO = 50
PPP = (9, PPP_OR_CISCO)
CISCO_HDLC = 104
# AF_INET is 2 everywhere; AF_INET6 differs between Linux, the BSDs and Darwin.
FAMILIES = {2: IPV4, 10: IPV6, 24: IPV6, 28: IPV6, 30: IPV6}
_PPP_PROTOCOLS = {0x0021: IPV4, 0x0057: IPV6}


def locate_network(data: U8, offset: I64, link_type: int) -> tuple[I64, U16]:
    """Return (bytes before the network header, EtherType of what it is or 0), a row a frame."""
    head = clipped_items_at(data, 20, offset).reshape(-1, 20)
    nothing = np.zeros(len(offset), np.int64)
    if link_type in RAW:
        return nothing, _by_version(head[:, 0])
    if link_type in (NULL, LOOP):
        return nothing + 4, _by_family(head)
    if link_type == LINUX_SLL:
        return nothing + 16, _be16(head, 14)
    if link_type == LINUX_SLL2:
        return nothing + 20, _be16(head, 0)
    if link_type == CISCO_HDLC:
        return nothing + 4, _be16(head, 2)
    if link_type in PPP:
        framed = (head[:, 0] == 0xFF) & (head[:, 1] == 3)
        protocol = np.where(framed, _be16(head, 2), _be16(head, 0))
        kind = _mapped(protocol.astype(np.uint16), _PPP_PROTOCOLS)
        # Under one of the numbers Cisco's framing may come as well, told by its first byte (RFC 1547 4.3.1).
        cisco = (head[:, 0] & 0x7F == 0x0F) & (link_type == PPP_OR_CISCO)
        return nothing + np.where(framed | cisco, 4, 2), np.where(cisco, _be16(head, 2), kind)
    return nothing, np.zeros(len(offset), np.uint16)


def _by_version(first: U8) -> U16:
    version = first >> 4
    result: U16 = np.select([version == 4, version == 6], [IPV4, IPV6], 0).astype(np.uint16)
    return result


def _by_family(head: U8) -> U16:
    # In the byte order of the machine that captured, which is not always the file's: families are small numbers.
    little = head[:, 0].astype(np.uint16) | head[:, 1].astype(np.uint16) << 8
    return _mapped(np.where(little != 0, little, _be16(head, 2)).astype(np.uint16), FAMILIES)


def _mapped(values: U16, meaning: dict[int, int]) -> U16:
    result = np.zeros(len(values), np.uint16)
    for value, ethertype in meaning.items():
        result[values == value] = ethertype
    return result


def _be16(head: U8, at: int) -> U16:
    return (head[:, at].astype(np.uint16) << 8 | head[:, at + 1]).astype(np.uint16)
