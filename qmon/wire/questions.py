"""Questions to the network, as the guest would ask them, with no guest at all.

Owns the questions and what counts as their answer: any reply does, a refusal too. Must never take a lease (only
DISCOVER is sent), and never leave a connection open. As somebody else than the made-up neighbour speaks only the
question for DHCP: a server such as QEMU's user-mode stack gives an address away at DISCOVER, so that one asks with the
NIC's own MAC, which the address is for.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from qmon.errors import Refused, UsageError
from qmon.wire.finding import Found, resolve
from qmon.wire.injection import Toward
from qmon.wire.knocking import internet
from qmon.wire.layers import BROADCAST, frame_of, layers, mac_bytes, read
from qmon.wire.neighbour import Neighbour
from qmon.wire.opening import Place
from qmon.wire.pinging import PAYLOAD
from qmon.wire.wire import Sent

TIMEOUT_S = 2.0
_AGAIN = 2
_ALL_ROUTERS, _ALL_ROUTERS_MAC = "ff02::2", "33:33:00:00:00:02"
_DNS_PORT, _ADDRESS, _ADDRESS6, _POINTER, _ALIAS = 53, 1, 28, 12, 5
# RFC 6895's names.
_RCODES = {0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED"}
# Subnet mask, router, name servers, domain (RFC 2132).
_WANTED_OPTIONS = [1, 3, 6, 15]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a question; `answer` has the fields of the reply, `rtt_ms` is None for silence.

    `remark` says what the reply, or the silence, does not mean.
    """

    question: str
    rtt_ms: float | None = None
    answer: dict[str, object] = field(default_factory=dict)
    remark: str = ""

    @property
    def answered(self) -> bool:
        """Whether anything came."""
        return self.rtt_ms is not None


# Judges a packet: the fields of the answer, or None if it is none.
Judge = Callable[[Any], dict[str, object] | None]


async def _ask(
    place: Place,
    frame: bytes,
    judge: Judge,
    *,
    mac: str,
    timeout_s: float,
    group: bool = False,
) -> tuple[dict[str, object], float] | None:
    """Send a question toward the network, twice if need be; return the answer and how long it took, in ms."""
    loop = asyncio.get_running_loop()
    with place.wire.hear(mac_bytes(mac), group=group) as ear:
        for _ in range(_AGAIN):
            sent: Sent = await place.wire.send(Toward.NETWORK, frame)
            deadline = loop.time() + timeout_s / _AGAIN
            while (left_s := deadline - loop.time()) > 0 and (heard := await ear.next(left_s)) is not None:
                packet = read(heard.frame) if heard.direction is not Toward.NETWORK.direction else None
                found = judge(packet) if packet is not None else None
                if found is not None:
                    return found, (heard.time_ns - sent.time_ns) / 1e6
    return None


def _answer(
    place: Place,
    question: str,
    found: tuple[dict[str, object], float] | None,
    remark: str = "",
    silence: str = "",
) -> Answer:
    if found is None:
        return Answer(question, remark=silence + _unread(place))
    return Answer(question, found[1], found[0], remark)


def _unread(place: Place) -> str:
    """Say what else silence may mean: net/tap.c, net/stream.c and others read no more while a NIC takes nothing."""
    if place.netdev.type == "user":
        return ""
    return (
        f". While no driver of the guest takes frames, QEMU reads none from a {place.netdev.type} netdev: then an "
        "answer is not seen either"
    )


# DHCP, with the guest's own MAC


async def ask_dhcp(place: Place, *, timeout_s: float = TIMEOUT_S) -> Answer:
    """Ask for an offer, and do not take it."""
    if place.nic is None or place.nic.mac is None:
        raise Refused(
            f"there is no single NIC on {place.netdev.id}: an address is asked for with a NIC's own MAC",
            hint="A server may keep an address for whoever asks: for a MAC that qmon made up it would be lost.",
        )
    lib, mac, number = layers(), place.nic.mac, int.from_bytes(os.urandom(4))
    options = [("message-type", "discover"), ("param_req_list", _WANTED_OPTIONS), "end"]
    asked = (
        lib.Ether(src=mac, dst=BROADCAST)
        / lib.IP(src="0.0.0.0", dst="255.255.255.255")
        / lib.UDP(sport=68, dport=67)
        / lib.BOOTP(op=1, chaddr=mac_bytes(mac), xid=number)
        / lib.DHCP(options=options)
    )

    def judge(packet: Any) -> dict[str, object] | None:
        if lib.BOOTP not in packet or lib.DHCP not in packet or packet[lib.BOOTP].xid != number:
            return None
        return _offer(packet)

    found = await _ask(place, frame_of(asked), judge, mac=mac, timeout_s=timeout_s, group=True)
    return _answer(place, "dhcp", found, silence=f"no DHCP server answers on {place.netdev.id}")


def _offer(packet: Any) -> dict[str, object] | None:
    lib = layers()
    said: dict[str, list[Any]] = {}
    for option in packet[lib.DHCP].options:
        if isinstance(option, tuple) and len(option) > 1:
            said[str(option[0])] = list(option[1:])
    if said.get("message-type") != [2]:
        return None

    def first(name: str) -> Any | None:
        return next(iter(said.get(name, ())), None)

    domain = first("domain")
    return {
        "address": str(packet[lib.BOOTP].yiaddr),
        "netmask": first("subnet_mask"),
        "router": [str(one) for one in said.get("router", ())],
        "dns": [str(one) for one in said.get("name_server", ())],
        "server": first("server_id") or str(packet[lib.IP].src),
        "lease_s": first("lease_time"),
        "domain": domain.rstrip(b"\0").decode(errors="replace") if isinstance(domain, bytes) else domain,
    }


# As the made-up neighbour


async def ask_ra(place: Place, us: Neighbour, *, timeout_s: float = TIMEOUT_S) -> Answer:
    """Ask for a router advertisement."""
    lib = layers()
    link = lib.Ether(src=us.mac, dst=_ALL_ROUTERS_MAC)
    asked = link / lib.IPv6(src=us.address6, dst=_ALL_ROUTERS, hlim=255) / lib.ICMPv6ND_RS()
    asked /= lib.ICMPv6NDOptSrcLLAddr(lladdr=us.mac)
    found = await _ask(place, frame_of(asked), _advertisement, mac=us.mac, timeout_s=timeout_s, group=True)
    return _answer(place, "ra", found, silence=f"no IPv6 router answers on {place.netdev.id}")


def _advertisement(packet: Any) -> dict[str, object] | None:
    lib = layers()
    if lib.ICMPv6ND_RA not in packet:
        return None
    said, prefixes, dns = packet[lib.ICMPv6ND_RA], [], []
    option: Any = said.payload
    while option is not None and not isinstance(option, lib.NoPayload):
        if isinstance(option, lib.ICMPv6NDOptPrefixInfo):
            prefixes.append(f"{option.prefix}/{option.prefixlen}")
        elif isinstance(option, lib.ICMPv6NDOptRDNSS):
            dns += [str(one) for one in option.dns]
        option = option.payload
    return {
        "router": str(packet[lib.IPv6].src),
        "mac": str(packet.src).lower(),
        "lifetime_s": int(said.routerlifetime),
        "managed": bool(said.M),
        "other": bool(said.O),
        "prefixes": prefixes,
        "dns": dns,
    }


async def ask_arp(place: Place, us: Neighbour, address: str, *, timeout_s: float = TIMEOUT_S) -> Answer:
    """Ask who has an address; for an IPv6 one by a neighbour solicitation."""
    found = await resolve(place.wire, us, address, toward=Toward.NETWORK, patience_s=timeout_s / 2)
    if found is None:
        return Answer("arp", remark=f"nobody on {place.netdev.id} has {address}{_unread(place)}")
    return Answer("arp", found.rtt_ms, {"mac": found.mac})


async def ask_ping(place: Place, us: Neighbour, host: str, *, timeout_s: float = TIMEOUT_S) -> Answer:
    """Ask a host for an echo; what a router says of it is an answer too."""
    address = await _address_of(place, us, host, timeout_s)
    hop = await _next_hop(place, us, address)
    if isinstance(hop, Answer):
        return Answer("ping", remark=hop.remark)
    lib, number = layers(), int.from_bytes(os.urandom(2))
    below = internet(us, hop.mac, address)
    if ":" in address:
        asked = below / lib.ICMPv6EchoRequest(id=number, seq=1, data=PAYLOAD)
    else:
        asked = below / lib.ICMP(type=8, id=number, seq=1) / lib.Raw(PAYLOAD)

    def judge(packet: Any) -> dict[str, object] | None:
        if lib.ICMPv6EchoReply in packet and packet[lib.ICMPv6EchoReply].id == number:
            return {"address": address, "ttl": int(packet[lib.IPv6].hlim)}
        if lib.ICMP in packet and packet[lib.ICMP].type == 0 and packet[lib.ICMP].id == number:
            return {"address": address, "ttl": int(packet[lib.IP].ttl)}
        return _unreachable(packet, address)

    found = await _ask(place, frame_of(asked), judge, mac=us.mac, timeout_s=timeout_s)
    return _answer(place, "ping", found, silence=_silent_ping(place, address))


def _silent_ping(place: Place, address: str) -> str:
    if place.netdev.type != "user":
        return f"{address} does not answer"
    return (
        f"{address} does not answer. Through user networking a ping leaves the host only where its kernel lets QEMU's "
        "group ping: sysctl net.ipv4.ping_group_range. TCP and DNS are not concerned"
    )


async def ask_tcp(
    place: Place, us: Neighbour, host: str, port: int, *, timeout_s: float = TIMEOUT_S
) -> Answer:
    """Try to connect to a port, and reset the connection at once if it opens."""
    address = await _address_of(place, us, host, timeout_s)
    hop = await _next_hop(place, us, address)
    if isinstance(hop, Answer):
        return Answer("tcp", remark=hop.remark)
    lib, seq = layers(), int.from_bytes(os.urandom(4))
    ports = {"sport": 32768 + int.from_bytes(os.urandom(2)) % 28000, "dport": port}
    below = internet(us, hop.mac, address)
    asked = below / lib.TCP(**ports, flags="S", seq=seq, window=65535, options=[("MSS", 1460)])

    def judge(packet: Any) -> dict[str, object] | None:
        if lib.TCP not in packet or packet[lib.TCP].dport != ports["sport"]:
            return _unreachable(packet, address)
        if packet[lib.TCP].sport != port or packet[lib.TCP].ack != (seq + 1) & 0xFFFFFFFF:
            return None
        flags = int(packet[lib.TCP].flags)
        state = "refused" if flags & 4 else "open" if flags & 0x12 == 0x12 else None
        return {"address": address, "state": state} if state else None

    found = await _ask(place, frame_of(asked), judge, mac=us.mac, timeout_s=timeout_s)
    if found is not None and found[0].get("state") == "open":
        reset = below / lib.TCP(**ports, flags="R", seq=seq + 1)
        await place.wire.send(Toward.NETWORK, frame_of(reset))
    return _answer(
        place, "tcp", found, _refused_remark(place, found), f"{address} port {port} does not answer"
    )


def _refused_remark(place: Place, found: tuple[dict[str, object], float] | None) -> str:
    refused = found is not None and found[0].get("state") == "refused"
    if refused and place.netdev.type == "user" and "restrict=on" in place.netdev.info:
        return f"{place.netdev.id} has restrict=on, which refuses every connection, whether anybody listens or not"
    return ""


def _unreachable(packet: Any, address: str) -> dict[str, object] | None:
    """Return what an ICMP error says of packets to an address."""
    lib = layers()
    if lib.ICMP in packet and packet[lib.ICMP].type in (3, 11) and lib.IPerror in packet:
        quoted, icmp = packet[lib.IPerror], packet[lib.ICMP]
        if quoted.dst == address:
            state = "unreachable" if icmp.type == 3 else "ttl exceeded"
            return {"address": address, "state": state, "code": int(icmp.code), "from": packet[lib.IP].src}
    if lib.ICMPv6DestUnreach in packet and lib.IPerror6 in packet and packet[lib.IPerror6].dst == address:
        code = int(packet[lib.ICMPv6DestUnreach].code)
        return {"address": address, "state": "unreachable", "code": code, "from": packet[lib.IPv6].src}
    return None


async def ask_dns(
    place: Place, us: Neighbour, name: str, *, server: str | None = None, timeout_s: float = TIMEOUT_S
) -> Answer:
    """Ask a name server for a name's addresses, or for an address's names."""
    if server is None:
        server = next(iter(place.subnet.dns), None) if place.subnet else None
    if server is None:
        raise UsageError(f"no name server is known on {place.netdev.id}", hint="Name one with --server ADDR.")
    hop = await _next_hop(place, us, server)
    if isinstance(hop, Answer):
        return Answer("dns", remark=hop.remark)
    question, kinds = _dns_question(name)
    answers = await asyncio.gather(
        *(_ask_server(place, us, hop, server, question, kind, timeout_s) for kind in kinds)
    )
    found = [one for one in answers if one is not None]
    if not found:
        return Answer("dns", remark=f"the name server {server} does not answer{_dns_silence(place)}")
    said: dict[str, object] = {"server": server, "rcode": found[0][0]["rcode"]}
    for key in ("addresses", "names"):
        said[key] = list(dict.fromkeys(one for fields, _ in found for one in fields[key]))  # type: ignore[attr-defined]
    return Answer("dns", min(rtt_ms for _, rtt_ms in found), said)


def _dns_silence(place: Place) -> str:
    if place.netdev.type != "user":
        return ""
    return ": the user-mode stack passes questions on to the name server in the host's /etc/resolv.conf"


def _dns_question(name: str) -> tuple[str, tuple[int, ...]]:
    try:
        return ipaddress.ip_address(name).reverse_pointer, (_POINTER,)
    except ValueError:
        return name, (_ADDRESS, _ADDRESS6)


async def _ask_server(
    place: Place, us: Neighbour, hop: Found, server: str, question: str, kind: int, timeout_s: float
) -> tuple[dict[str, object], float] | None:
    lib, number = layers(), int.from_bytes(os.urandom(2))
    port = 32768 + int.from_bytes(os.urandom(2)) % 28000
    try:
        query = bytes(lib.DNS(id=number, rd=1, qd=lib.DNSQR(qname=question, qtype=kind)))
    except Exception as problem:  # scapy says it in many ways.
        raise UsageError(f"'{question}' is no name that DNS could be asked for") from problem
    asked = internet(us, hop.mac, server) / lib.UDP(sport=port, dport=_DNS_PORT) / lib.Raw(query)

    def judge(packet: Any) -> dict[str, object] | None:
        if lib.UDP in packet and packet[lib.UDP].dport == port and lib.DNS in packet:
            return _records(packet[lib.DNS]) if packet[lib.DNS].id == number else None
        return None

    return await _ask(place, frame_of(asked), judge, mac=us.mac, timeout_s=timeout_s)


def _records(reply: Any) -> dict[str, object]:
    addresses, names = [], []
    records = reply.an if isinstance(reply.an, list) else list(_chained(reply.an))
    for one in records:
        if one.type in (_ADDRESS, _ADDRESS6):
            addresses.append(str(one.rdata))
        elif one.type in (_ALIAS, _POINTER):
            text = one.rdata.decode(errors="replace") if isinstance(one.rdata, bytes) else str(one.rdata)
            names.append(text.rstrip("."))
    code = int(reply.rcode)
    return {"rcode": _RCODES.get(code, str(code)), "addresses": addresses, "names": names}


def _chained(record: Any) -> Any:
    while record is not None and hasattr(record, "rdata"):
        yield record
        record = record.payload


# The way to a host


async def _address_of(place: Place, us: Neighbour, host: str, timeout_s: float) -> str:
    """Return the address of a host, asked of the wire's own name server where it is a name."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        pass
    answer = await ask_dns(place, us, host, timeout_s=timeout_s)
    addresses = answer.answer.get("addresses")
    if isinstance(addresses, list) and addresses:
        return str(min(addresses, key=lambda one: ":" in one))
    raise Refused(f"{host} has no address: {answer.remark or answer.answer.get('rcode')}")


async def _next_hop(place: Place, us: Neighbour, address: str) -> Found | Answer:
    """Return who a packet for an address is handed to; an unanswered `Answer` says who was silent."""
    hop = address
    subnet = place.subnet
    if ":" not in address and subnet is not None and address not in subnet and subnet.router:
        hop = subnet.router
    elif ":" in address and not ipaddress.IPv6Address(address).is_link_local:
        advertised = await ask_ra(place, us)
        hop = str(advertised.answer.get("router", address))
    found = await resolve(place.wire, us, hop, toward=Toward.NETWORK)
    if found is not None:
        return found
    what = "router" if hop != address else "host"
    return Answer("", remark=f"nobody on {place.netdev.id} answers for the {what} {hop}{_unread(place)}")
