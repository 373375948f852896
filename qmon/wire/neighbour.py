"""The made-up neighbour that asks: its addresses, and its answers to those who ask where it is.

Owns who speaks. Its MAC is locally administered and the same whenever this VM is asked; its address is one that nobody
uses. Must never announce it (RFC 5227 defence, gratuitous ARP), and never take the guest's or the router's.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from qmon.errors import Refused, UsageError
from qmon.packets.batch import Direction
from qmon.wire.injection import Toward
from qmon.wire.layers import BROADCAST, frame_of, layers, mac_bytes, read
from qmon.wire.wire import Wire

# Locally administered; the other two bytes are "qm".
_PREFIX = "02:71:6d"
_MAC = re.compile(r"[0-9a-fA-F]{2}(?::[0-9a-fA-F]{2}){5}")
PROBE_S = 0.2


@dataclass(frozen=True, slots=True)
class Neighbour:
    """Who asks: a MAC, an IPv4 address, and the IPv6 link-local address that the MAC makes (RFC 4291, appendix A)."""

    mac: str
    address: str
    made_up: bool = True

    @property
    def address6(self) -> str:
        """The link-local address."""
        one = mac_bytes(self.mac)
        identifier = bytes([one[0] ^ 2, one[1], one[2], 0xFF, 0xFE, *one[3:]])
        return str(ipaddress.IPv6Address(b"\xfe\x80" + bytes(6) + identifier))

    @property
    def solicited(self) -> str:
        """The IPv6 group at which others look for it."""
        return (
            f"ff02::1:ff{mac_bytes(self.mac)[3]:02x}:{mac_bytes(self.mac)[4]:02x}{mac_bytes(self.mac)[5]:02x}"
        )


def made_up_mac(vm: str, netdev: str) -> str:
    """Return the neighbour's MAC for a netdev of the VM that `vm` names."""
    digest = hashlib.blake2b(f"{vm}\0{netdev}".encode(errors="surrogateescape"), digest_size=3).digest()
    return f"{_PREFIX}:{digest.hex(':')}"


def parse_source(text: str, mac: str) -> Neighbour:
    """Read ``ADDR[,MAC]``; without a MAC it is `mac`."""
    address, _, given = text.partition(",")
    try:
        plain = str(ipaddress.IPv4Address(address))
    except ValueError:
        raise UsageError(f"--source: '{address}' is not an IPv4 address") from None
    if given and not _MAC.fullmatch(given):
        raise UsageError(f"--source: '{given}' is not a MAC address")
    if given and mac_bytes(given)[0] & 1:
        raise UsageError(f"--source: {given} is a group's address: nobody can send from it")
    return Neighbour((given or mac).lower(), plain, made_up=False)


async def is_free(wire: Wire, mac: str, address: str, toward: tuple[Toward, ...]) -> bool:
    """Ask with an ARP probe (RFC 5227) on each side whether somebody has an address; at most `PROBE_S` a side."""
    lib = layers()
    probe = lib.Ether(src=mac, dst=BROADCAST) / lib.ARP(op=1, hwsrc=mac, psrc="0.0.0.0", pdst=address)
    loop = asyncio.get_running_loop()
    with wire.hear(mac_bytes(mac), group=True) as ear:
        for side in toward:
            await wire.send(side, frame_of(probe))
            deadline = loop.time() + PROBE_S
            while (left_s := deadline - loop.time()) > 0 and (heard := await ear.next(left_s)) is not None:
                packet = read(heard.frame)
                if packet is None or lib.ARP not in packet:
                    continue
                if packet[lib.ARP].psrc == address and packet[lib.ARP].hwsrc != mac:
                    return False
    return True


@asynccontextmanager
async def present(
    wire: Wire, neighbour: Neighbour, may_answer: Callable[[Toward], bool]
) -> AsyncIterator[None]:
    """Answer, for the length of the block, those who ask for the neighbour: on the side where they ask, if allowed."""
    answering = _answer(wire, neighbour, may_answer)
    task = asyncio.create_task(answering, name="answer for the made-up neighbour")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
    if not task.cancelled() and (problem := task.exception()) is not None:
        raise problem


async def _answer(wire: Wire, neighbour: Neighbour, may_answer: Callable[[Toward], bool]) -> None:
    with wire.hear(mac_bytes(neighbour.mac), group=True) as ear:
        while True:
            heard = await ear.next()
            assert heard is not None
            side = Toward.GUEST if heard.direction is Direction.OUT else Toward.NETWORK
            packet = read(heard.frame) if may_answer(side) else None
            reply = None if packet is None else _reply(packet, neighbour)
            if reply is not None:
                try:
                    await wire.send(side, frame_of(reply))
                except Refused:
                    return


def _reply(packet: Any, us: Neighbour) -> Any | None:
    """Return the answer to a question for our address, None for anything else."""
    lib = layers()
    if packet.src == us.mac:
        return None
    if lib.ARP in packet:
        asked = packet[lib.ARP]
        # A probe (no sender's address) is somebody about to take the address: it is theirs.
        if asked.op != 1 or asked.pdst != us.address or asked.psrc == "0.0.0.0":
            return None
        answer = lib.ARP(op=2, hwsrc=us.mac, psrc=us.address, hwdst=asked.hwsrc, pdst=asked.psrc)
        return lib.Ether(src=us.mac, dst=packet.src) / answer
    if lib.ICMPv6ND_NS in packet and packet[lib.ICMPv6ND_NS].tgt == us.address6:
        source = packet[lib.IPv6].src
        if source == "::":
            return None
        advert = lib.ICMPv6ND_NA(tgt=us.address6, R=0, S=1, O=1) / lib.ICMPv6NDOptDstLLAddr(lladdr=us.mac)
        return (
            lib.Ether(src=us.mac, dst=packet.src) / lib.IPv6(src=us.address6, dst=source, hlim=255) / advert
        )
    return None
