"""Does the guest answer? Echo requests, or ARP and neighbour solicitations alone, at intervals; as ping(8).

Owns the match of answers with what was asked. Must never ask faster than it was told.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from qmon.packets.batch import Direction
from qmon.wire.finding import Found, answer_of, arp_request, solicitation
from qmon.wire.injection import Toward
from qmon.wire.layers import frame_of, layers, mac_bytes, read
from qmon.wire.neighbour import Neighbour
from qmon.wire.wire import Ear, Heard, Sent, Wire

# As ping(8) sends.
PAYLOAD = bytes(range(0x10, 0x48))


class Kind(StrEnum):
    """What is asked."""

    ARP = "arp"
    ICMP = "icmp"
    ICMPV6 = "icmpv6"


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer; `ttl` is None for ARP and neighbour discovery, `again` says that it was not the first to `seq`."""

    kind: Kind
    mac: str
    address: str
    seq: int
    rtt_ms: float
    length: int = 0
    ttl: int | None = None
    again: bool = False


@dataclass(slots=True)
class Outcome:
    """What came of it so far."""

    sent: int = 0
    replies: list[Reply] = field(default_factory=list)

    @property
    def received(self) -> int:
        """How many requests were answered."""
        return sum(not reply.again for reply in self.replies)


@dataclass(frozen=True, slots=True)
class Plan:
    """`count` requests (None: until cancelled), one every `interval_s`; the last is waited for `timeout_s`."""

    kind: Kind
    count: int | None = None
    interval_s: float = 1.0
    timeout_s: float = 2.0


class Pinger:
    """Pings somebody at the guest's end; `outcome` grows meanwhile, also if `run` is cancelled."""

    def __init__(self, wire: Wire, us: Neighbour, guest: Found, plan: Plan) -> None:
        self.outcome = Outcome()
        self._wire = wire
        self._us = us
        self._guest = guest
        self._plan = plan
        self._id = int.from_bytes(os.urandom(2))
        self._sent: dict[int, Sent] = {}
        self._answered: set[int] = set()

    def __repr__(self) -> str:
        return f"<Pinger of {self._guest.address}: {self.outcome.received} of {self.outcome.sent} answered>"

    async def run(self, on_reply: Callable[[Reply], None]) -> Outcome:
        """Ask and hear; every answer is told at once."""
        with self._wire.hear(mac_bytes(self._us.mac)) as ear:
            hearing = asyncio.create_task(self._hear(ear, on_reply), name="hear the answers")
            try:
                await self._ask()
                await self._wait_for_the_rest(hearing)
            finally:
                hearing.cancel()
                await asyncio.wait([hearing])
        if not hearing.cancelled() and (problem := hearing.exception()) is not None:
            raise problem
        return self.outcome

    async def _ask(self) -> None:
        loop = asyncio.get_running_loop()
        at, seq = loop.time(), 0
        while self._plan.count is None or seq < self._plan.count:
            seq += 1
            self._sent[seq] = await self._wire.send(Toward.GUEST, self._request(seq))
            self.outcome.sent += 1
            at += self._plan.interval_s
            if seq != self._plan.count:
                await asyncio.sleep(at - loop.time())

    async def _wait_for_the_rest(self, hearing: asyncio.Task[None]) -> None:
        await asyncio.wait([hearing], timeout=self._plan.timeout_s)

    async def _hear(self, ear: Ear, on_reply: Callable[[Reply], None]) -> None:
        while self._plan.count is None or len(self._answered) < self._plan.count:
            heard = await ear.next()
            assert heard is not None
            reply = self._reply(heard)
            if reply is not None:
                self.outcome.replies.append(reply)
                self._answered.add(reply.seq)
                on_reply(reply)

    def _request(self, seq: int) -> bytes:
        lib, us, guest = layers(), self._us, self._guest
        if self._plan.kind is Kind.ARP:
            return (solicitation if ":" in guest.address else arp_request)(us, guest.address)
        link = lib.Ether(src=us.mac, dst=guest.mac)
        if self._plan.kind is Kind.ICMPV6:
            echo = lib.ICMPv6EchoRequest(id=self._id, seq=seq & 0xFFFF, data=PAYLOAD)
            return frame_of(link / lib.IPv6(src=us.address6, dst=guest.address) / echo)
        echo = lib.ICMP(type=8, id=self._id, seq=seq & 0xFFFF) / lib.Raw(PAYLOAD)
        return frame_of(link / lib.IP(src=us.address, dst=guest.address) / echo)

    def _reply(self, heard: Heard) -> Reply | None:
        if heard.direction is not Direction.OUT:
            return None
        if self._plan.kind is Kind.ARP:
            answer = answer_of(heard)
            if answer is None or answer[0] != self._guest.address:
                return None
            return self._made(heard, len(self._sent), answer[1])
        lib, packet = layers(), read(heard.frame)
        if packet is None:
            return None
        if self._plan.kind is Kind.ICMPV6:
            if lib.ICMPv6EchoReply not in packet or packet[lib.ICMPv6EchoReply].id != self._id:
                return None
            ip, echo = packet[lib.IPv6], packet[lib.ICMPv6EchoReply]
            return self._made(heard, echo.seq, packet.src, ip.src, ip.hlim, ip.plen)
        if lib.ICMP not in packet or packet[lib.ICMP].type != 0 or packet[lib.ICMP].id != self._id:
            return None
        ip = packet[lib.IP]
        return self._made(heard, packet[lib.ICMP].seq, packet.src, ip.src, ip.ttl, ip.len - 4 * (ip.ihl or 5))

    def _made(
        self, heard: Heard, seq: int, mac: str, address: str = "", ttl: int | None = None, length: int = 0
    ) -> Reply | None:
        # On the wire the number has 16 bits.
        number = max((one for one in self._sent if one & 0xFFFF == seq & 0xFFFF), default=None)
        if number is None:
            return None
        rtt_ms = (heard.time_ns - self._sent[number].time_ns) / 1e6
        again = number in self._answered
        return Reply(self._plan.kind, mac, address or self._guest.address, number, rtt_ms, length, ttl, again)
