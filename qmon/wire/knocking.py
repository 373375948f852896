"""Which of the guest's ports are open: SYNs and UDP probes, and what ICMP says to them.

Owns the judgement of answers. Must never leave a half-open connection behind: what was opened is reset at once.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from qmon.errors import UsageError
from qmon.wire.finding import Found
from qmon.wire.injection import Toward
from qmon.wire.layers import frame_of, layers, mac_bytes, read
from qmon.wire.neighbour import Neighbour
from qmon.wire.wire import Ear, Heard, Sent, Wire

# An emulated e1000 may keep a frame for most of a second; who is silent is asked twice.
PATIENCE_S = 1.0
_ROUNDS = 2
_SYN_ACK, _RST = 0x12, 0x04
_UNREACHABLE, _PORT_UNREACHABLE = 3, 3
_UNREACHABLE6, _PORT_UNREACHABLE6 = 1, 4
_MOST_PORTS = 65536


class Protocol(StrEnum):
    """What is knocked with."""

    TCP = "tcp"
    UDP = "udp"


class State(StrEnum):
    """What is known of a port; `UNREACHABLE` is any ICMP unreachable but "port", which is `CLOSED`."""

    OPEN = "open"
    CLOSED = "closed"
    SILENT = "silent"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True)
class Port:
    """A port to knock at."""

    number: int
    protocol: Protocol = Protocol.TCP


@dataclass(frozen=True, slots=True)
class Knocked:
    """How a port answered; `rtt_ms` is None for silence."""

    port: Port
    state: State
    rtt_ms: float | None = None


def parse_ports(words: Sequence[str]) -> tuple[Port, ...]:
    """Read ``22``, ``8000-8010``, ``53/udp``; each port once, in order."""
    found: dict[Port, None] = {}
    for word in words:
        match = re.fullmatch(r"([0-9]{1,5})(?:-([0-9]{1,5}))?(?:/(tcp|udp))?", word)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if match is None or not 1 <= first <= last < _MOST_PORTS:
            raise UsageError(f"'{word}' is no port", hint="As in: 22 8000-8010 53/udp")
        found |= dict.fromkeys(Port(one, Protocol(match[3] or "tcp")) for one in range(first, last + 1))
    return tuple(found)


class _Knock:
    """One port's probe under way; `source` and `seq` tell its answers from others'."""

    def __init__(self, port: Port, source: int) -> None:
        self.port = port
        self.source = source
        self.seq = int.from_bytes(os.urandom(4))
        self.sent: Sent | None = None


async def knock(wire: Wire, us: Neighbour, guest: Found, ports: Sequence[Port]) -> tuple[Knocked, ...]:
    """Knock at each port; return how each answered, in their order."""
    if any(port.number == 0 for port in ports):
        raise UsageError("there is no port 0")
    start = 32768 + int.from_bytes(os.urandom(2)) % 16384
    waiting = {port: _Knock(port, 32768 + (start + n) % 32768) for n, port in enumerate(ports)}
    found: dict[Port, Knocked] = {}
    with wire.hear(mac_bytes(us.mac)) as ear:
        for _ in range(_ROUNDS):
            asking = asyncio.create_task(_ask(wire, us, guest, waiting, found), name="knock at ports")
            try:
                await _hear(wire, us, guest, ear, asking, waiting, found)
            finally:
                asking.cancel()
                await asyncio.wait([asking])
            if len(found) == len(waiting):
                break
    return tuple(found.get(port) or Knocked(port, State.SILENT) for port in ports)


async def _ask(
    wire: Wire, us: Neighbour, guest: Found, waiting: dict[Port, _Knock], found: dict[Port, Knocked]
) -> None:
    for port, one in waiting.items():
        if port not in found:
            one.sent = await wire.send(Toward.GUEST, frame_of(_probe(us, guest, one)))


async def _hear(
    wire: Wire,
    us: Neighbour,
    guest: Found,
    ear: Ear,
    asking: asyncio.Task[None],
    waiting: dict[Port, _Knock],
    found: dict[Port, Knocked],
) -> None:
    loop = asyncio.get_running_loop()
    by_source = {(one.port.protocol, one.source): one for one in waiting.values()}
    deadline: float | None = None
    while len(found) < len(waiting):
        if asking.done() and deadline is None:
            asking.result()
            deadline = loop.time() + PATIENCE_S
        left_s = 0.05 if deadline is None else deadline - loop.time()
        if left_s <= 0:
            return
        heard = await ear.next(left_s)
        judged = _judge(heard, by_source) if heard is not None else None
        if heard is None or judged is None:
            continue
        one, state = judged
        if one.sent is not None and one.port not in found:
            found[one.port] = Knocked(one.port, state, (heard.time_ns - one.sent.time_ns) / 1e6)
        if state is State.OPEN and one.port.protocol is Protocol.TCP:
            await wire.send(Toward.GUEST, frame_of(_reset(us, guest, one)))


def internet(us: Neighbour, mac: str, address: str) -> Any:
    """Return the link and internet layers of a packet from the neighbour to somebody."""
    lib = layers()
    link = lib.Ether(src=us.mac, dst=mac)
    if ":" in address:
        return link / lib.IPv6(src=us.address6, dst=address)
    return link / lib.IP(src=us.address, dst=address)


def _probe(us: Neighbour, guest: Found, one: _Knock) -> Any:
    lib = layers()
    below = internet(us, guest.mac, guest.address)
    if one.port.protocol is Protocol.UDP:
        return below / lib.UDP(sport=one.source, dport=one.port.number) / lib.Raw(_words_for(one.port.number))
    options = [("MSS", 1460)]
    return below / lib.TCP(
        sport=one.source, dport=one.port.number, flags="S", seq=one.seq, window=65535, options=options
    )


def _words_for(port: int) -> bytes:
    """Return what a service on this UDP port would answer to; most are silent to what they do not understand."""
    lib = layers()
    if port == 53:
        return bytes(lib.DNS(rd=1, qd=lib.DNSQR(qname="localhost")))
    # NTP: version 3, client (RFC 1305).
    return b"\x1b" + bytes(47) if port == 123 else b""


def _reset(us: Neighbour, guest: Found, one: _Knock) -> Any:
    ports = {"sport": one.source, "dport": one.port.number}
    return internet(us, guest.mac, guest.address) / layers().TCP(**ports, flags="R", seq=one.seq + 1)


def _judge(heard: Heard, waiting: dict[tuple[Protocol, int], _Knock]) -> tuple[_Knock, State] | None:
    """Return which probe a frame answers and what it says; None for anything else."""
    lib, packet = layers(), read(heard.frame)
    if packet is None or heard.direction is Toward.GUEST.direction:
        return None
    icmp = _judge_icmp(packet, waiting)
    if icmp is not None:
        return icmp
    for protocol, layer in ((Protocol.TCP, lib.TCP), (Protocol.UDP, lib.UDP)):
        if layer not in packet:
            continue
        one = waiting.get((protocol, int(packet[layer].dport)))
        if one is None or packet[layer].sport != one.port.number:
            return None
        if protocol is Protocol.UDP:
            return one, State.OPEN
        flags, acked = int(packet[layer].flags), int(packet[layer].ack)
        if acked != (one.seq + 1) & 0xFFFFFFFF:
            return None
        if flags & _RST:
            return one, State.CLOSED
        return (one, State.OPEN) if flags & _SYN_ACK == _SYN_ACK else None
    return None


def _judge_icmp(packet: Any, waiting: dict[tuple[Protocol, int], _Knock]) -> tuple[_Knock, State] | None:
    lib = layers()
    for layer, kind, port in (
        (lib.ICMP, _UNREACHABLE, _PORT_UNREACHABLE),
        (lib.ICMPv6DestUnreach, _UNREACHABLE6, _PORT_UNREACHABLE6),
    ):
        if layer not in packet or packet[layer].type != kind:
            continue
        state = State.CLOSED if packet[layer].code == port else State.UNREACHABLE
        for protocol, quoted in ((Protocol.TCP, lib.TCPerror), (Protocol.UDP, lib.UDPerror)):
            if quoted in packet:
                one = waiting.get((protocol, int(packet[quoted].sport)))
                if one is not None and packet[quoted].dport == one.port.number:
                    return one, state
    return None
