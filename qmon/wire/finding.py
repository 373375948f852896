"""Where the guest is: the MAC of its NIC, and its address, resolved or looked for on the wire.

Owns the questions (ARP, neighbour solicitations) that find it. Must never ask toward the network.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from qmon.wire.injection import Toward
from qmon.wire.layers import BROADCAST, frame_of, layers, mac_bytes, read
from qmon.wire.neighbour import Neighbour
from qmon.wire.wire import Heard, Wire

# An emulated e1000 may keep its first frames for most of a second.
PATIENCE_S = 1.0
_AGAIN = 3


@dataclass(frozen=True, slots=True)
class Found:
    """Somebody at the guest's end of the wire, and how long the answer took."""

    address: str
    mac: str
    rtt_ms: float


def arp_request(us: Neighbour, address: str) -> bytes:
    """Return the question who has an IPv4 address."""
    lib = layers()
    asked = lib.ARP(op=1, hwsrc=us.mac, psrc=us.address, pdst=address)
    return frame_of(lib.Ether(src=us.mac, dst=BROADCAST) / asked)


def solicitation(us: Neighbour, address: str) -> bytes:
    """Return the question who has an IPv6 address (RFC 4861)."""
    lib = layers()
    tail = ipaddress.IPv6Address(address).packed[-3:]
    group = f"ff02::1:ff{tail[0]:02x}:{tail[1]:02x}{tail[2]:02x}"
    asked = lib.ICMPv6ND_NS(tgt=address) / lib.ICMPv6NDOptSrcLLAddr(lladdr=us.mac)
    to = f"33:33:ff:{tail.hex(':')}"
    return frame_of(lib.Ether(src=us.mac, dst=to) / lib.IPv6(src=us.address6, dst=group, hlim=255) / asked)


def answer_of(heard: Heard) -> tuple[str, str] | None:
    """Return (address, MAC) from an ARP reply or a neighbour advertisement, None from anything else."""
    lib, packet = layers(), read(heard.frame)
    if packet is None:
        return None
    if lib.ARP in packet and packet[lib.ARP].op == 2:
        return str(packet[lib.ARP].psrc), str(packet[lib.ARP].hwsrc).lower()
    if lib.ICMPv6ND_NA in packet:
        option: Any = packet.getlayer(lib.ICMPv6NDOptDstLLAddr)
        return str(packet[lib.ICMPv6ND_NA].tgt), str(option.lladdr if option else packet.src).lower()
    return None


async def resolve(
    wire: Wire, us: Neighbour, address: str, *, toward: Toward = Toward.GUEST, patience_s: float = PATIENCE_S
) -> Found | None:
    """Ask, up to three times, who has an address; None where nobody answers."""
    question = (solicitation if ":" in address else arp_request)(us, address)
    loop = asyncio.get_running_loop()
    with wire.hear(mac_bytes(us.mac)) as ear:
        for _ in range(_AGAIN):
            sent = await wire.send(toward, question)
            deadline = loop.time() + patience_s
            while (left_s := deadline - loop.time()) > 0 and (heard := await ear.next(left_s)) is not None:
                if heard.direction is toward.direction:
                    continue
                found = answer_of(heard)
                if found is not None and found[0] == address:
                    return Found(address, found[1], (heard.time_ns - sent.time_ns) / 1e6)
    return None


async def scan(
    wire: Wire, us: Neighbour, addresses: Sequence[str], *, mac: str | None, enough: int = 1
) -> list[Found]:
    """Ask for each address, once; return who answered. It ends early with `enough` answers from `mac` (None: any)."""
    loop = asyncio.get_running_loop()
    found: dict[str, Found] = {}
    sent: dict[str, int] = {}

    def good() -> int:
        return sum(one.mac == mac or mac is None for one in found.values())

    with wire.hear(mac_bytes(us.mac)) as ear:
        asking = asyncio.create_task(_ask_all(wire, us, addresses, sent), name="scan the guest's network")
        try:
            deadline: float | None = None
            while good() < enough:
                if asking.done() and deadline is None:
                    asking.result()
                    deadline = loop.time() + PATIENCE_S
                left_s = 0.05 if deadline is None else deadline - loop.time()
                if left_s <= 0:
                    break
                heard = await ear.next(left_s)
                answer = answer_of(heard) if heard is not None else None
                if heard is not None and answer is not None and answer[0] in sent:
                    rtt_ms = (heard.time_ns - sent[answer[0]]) / 1e6
                    found.setdefault(answer[0], Found(answer[0], answer[1], rtt_ms))
        finally:
            asking.cancel()
            await asyncio.wait([asking])
    return list(found.values())


async def _ask_all(wire: Wire, us: Neighbour, addresses: Iterable[str], sent: dict[str, int]) -> None:
    for address in addresses:
        if address != us.address:
            sent[address] = (await wire.send(Toward.GUEST, arp_request(us, address))).time_ns


async def everybody(wire: Wire, us: Neighbour, *, patience_s: float = PATIENCE_S) -> list[Found]:
    """Ask all IPv6 nodes at the guest's end (`ff02::1`) for an echo; return who answered in time."""
    lib, number = layers(), int.from_bytes(os.urandom(2))
    link = lib.Ether(src=us.mac, dst="33:33:00:00:00:01")
    asked = link / lib.IPv6(src=us.address6, dst="ff02::1", hlim=1) / lib.ICMPv6EchoRequest(id=number)
    loop = asyncio.get_running_loop()
    found: dict[str, Found] = {}
    with wire.hear(mac_bytes(us.mac)) as ear:
        sent = await wire.send(Toward.GUEST, frame_of(asked))
        deadline = loop.time() + patience_s
        while (left_s := deadline - loop.time()) > 0 and (heard := await ear.next(left_s)) is not None:
            packet = read(heard.frame)
            if packet is None or lib.ICMPv6EchoReply not in packet:
                continue
            if packet[lib.ICMPv6EchoReply].id == number:
                rtt_ms = (heard.time_ns - sent.time_ns) / 1e6
                address = str(packet[lib.IPv6].src)
                found.setdefault(address, Found(address, str(packet.src).lower(), rtt_ms))
    return list(found.values())
