"""Traffic as a demo VM makes it, built frame by frame: always the same bytes at the same times."""

from __future__ import annotations

from functools import cache

from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.dns import DNS, DNSQR
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6ND_RS, ICMPv6NDOptSrcLLAddr, IPv6
from scapy.layers.l2 import ARP, Ether
from scapy.layers.tftp import TFTP, TFTP_ACK, TFTP_DATA, TFTP_RRQ

from qmon.packets.batch import Direction, FrameBatch

GUEST, GATEWAY = "52:54:00:12:34:56", "52:55:0a:00:02:02"
GUEST_IP, GATEWAY_IP, DNS_IP = "10.0.2.15", "10.0.2.2", "10.0.2.3"
START_NS = 1_772_366_400_000_000_000  # 2026-03-01 12:00:00 UTC
OUT, IN = Direction.OUT, Direction.IN

Frame = tuple[float, int, bytes]


def _out(layer: object) -> tuple[int, bytes]:
    return OUT, bytes(Ether(src=GUEST, dst=GATEWAY) / layer)


def _in(layer: object) -> tuple[int, bytes]:
    return IN, bytes(Ether(src=GATEWAY, dst=GUEST) / layer)


def _dhcp(kind: str, *, reply: bool) -> tuple[int, bytes]:
    addresses = (
        {"src": GATEWAY_IP, "dst": "255.255.255.255"}
        if reply
        else {"src": "0.0.0.0", "dst": "255.255.255.255"}
    )
    ports = (67, 68) if reply else (68, 67)
    bootp = BOOTP(op=2 if reply else 1, xid=0x1234ABCD, chaddr=bytes.fromhex(GUEST.replace(":", "")))
    options = [("message-type", kind), ("hostname", b"demo"), "end"]
    if reply:
        bootp.yiaddr = GUEST_IP
        options = [("message-type", kind), ("server_id", GATEWAY_IP), ("router", GATEWAY_IP), "end"]
    frame = Ether(src=GATEWAY if reply else GUEST, dst="ff:ff:ff:ff:ff:ff")
    return (IN if reply else OUT), bytes(
        frame / IP(id=1, **addresses) / UDP(sport=ports[0], dport=ports[1]) / bootp / DHCP(options=options)
    )


def _boot() -> list[tuple[float, tuple[int, bytes]]]:
    arp_request = (
        OUT,
        bytes(Ether(src=GUEST, dst="ff:ff:ff:ff:ff:ff") / ARP(hwsrc=GUEST, psrc=GUEST_IP, pdst=GATEWAY_IP)),
    )
    arp_reply = _in(ARP(op=2, hwsrc=GATEWAY, psrc=GATEWAY_IP, hwdst=GUEST, pdst=GUEST_IP))
    solicit = (
        OUT,
        bytes(
            Ether(src=GUEST, dst="33:33:00:00:00:02")
            / IPv6(src="fe80::5054:ff:fe12:3456", dst="ff02::2", hlim=255)
            / ICMPv6ND_RS()
            / ICMPv6NDOptSrcLLAddr(lladdr=GUEST)
        ),
    )
    ask = IP(src=GUEST_IP, dst=GATEWAY_IP, id=2) / UDP(sport=49152, dport=69)
    give = IP(src=GATEWAY_IP, dst=GUEST_IP, id=3) / UDP(sport=33001, dport=49152)
    ack = IP(src=GUEST_IP, dst=GATEWAY_IP, id=4) / UDP(sport=49152, dport=33001)
    return [
        (0.0, _dhcp("discover", reply=False)),
        (0.0004, _dhcp("offer", reply=True)),
        (0.98, _dhcp("request", reply=False)),
        (0.0005, _dhcp("ack", reply=True)),
        (0.012, solicit),
        (0.2, arp_request),
        (0.0001, arp_reply),
        (0.0003, _out(ask / TFTP() / TFTP_RRQ(filename=b"boot.ipxe", mode=b"octet"))),
        (0.0011, _in(give / TFTP() / TFTP_DATA(block=1) / b"#!ipxe\necho qmon demo\n")),
        (0.0002, _out(ack / TFTP() / TFTP_ACK(block=1))),
    ]


def _round(number: int) -> list[tuple[float, tuple[int, bytes]]]:
    there, back = (
        IP(src=GUEST_IP, dst=GATEWAY_IP, id=100 + number),
        IP(src=GATEWAY_IP, dst=GUEST_IP, id=100 + number),
    )
    port, seq = 40000 + number, 1000 + 10 * number

    def tcp(out: bool, flags: str, at: int, acked: int, data: bytes = b"") -> tuple[int, bytes]:
        ends = {"sport": port, "dport": 8080} if out else {"sport": 8080, "dport": port}
        segment = TCP(flags=flags, seq=at, ack=acked, window=65535, **ends) / data
        return _out(there / segment) if out else _in(back / segment)

    request = b"GET /page/%d HTTP/1.1\r\nHost: 10.0.2.2:8080\r\nUser-Agent: iPXE/1.21\r\n\r\n" % number
    # Triangles of different lengths, so that a chart of it has hills.
    body = b"x" * (40 + 19 * abs(number % 34 - 17) + 31 * abs(number % 50 - 25))
    reply = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    question = IP(src=GUEST_IP, dst=DNS_IP, id=7) / UDP(sport=50000 + number, dport=53)
    answer = IP(src=DNS_IP, dst=GUEST_IP, id=7) / UDP(sport=53, dport=50000 + number)
    name = DNSQR(qname="demo.invalid")
    return [
        (0.35, _out(question / DNS(id=number, rd=1, qd=name))),
        (0.004, _in(answer / DNS(id=number, qr=1, rcode=3, qd=name))),
        (0.05, tcp(True, "S", seq, 0)),
        (0.0002, tcp(False, "SA", 9000, seq + 1)),
        (0.0001, tcp(True, "A", seq + 1, 9001)),
        (0.0003, tcp(True, "PA", seq + 1, 9001, request)),
        (0.0009, tcp(False, "PA", 9001, seq + 1 + len(request), reply)),
        (0.0001, tcp(True, "A", seq + 1 + len(request), 9001 + len(reply))),
        (0.002, tcp(True, "FA", seq + 1 + len(request), 9001 + len(reply))),
        (0.0001, tcp(False, "FA", 9001 + len(reply), seq + 2 + len(request))),
        (0.1, _out(IP(src=GUEST_IP, dst=GATEWAY_IP, id=9) / ICMP(id=7, seq=number) / (b"ping" * 8))),
        (
            0.0002,
            _in(IP(src=GATEWAY_IP, dst=GUEST_IP, id=9) / ICMP(type=0, id=7, seq=number) / (b"ping" * 8)),
        ),
    ]


@cache
def demo_traffic(rounds: int = 40) -> tuple[Frame, ...]:
    """Return (seconds since the start, direction, bytes) of a boot and some rounds of DNS, HTTP and ping."""
    at, frames = 0.0, []
    steps = _boot()
    for number in range(rounds):
        steps += _round(number)
    for pause, (direction, frame) in steps:
        at += pause
        frames.append((round(at, 6), int(direction), frame))
    return tuple(frames)


def batch(frames: tuple[Frame, ...], interface: int = 0) -> FrameBatch:
    """Return frames as a batch."""
    return FrameBatch.from_frames(
        [frame for _, _, frame in frames],
        time_ns=[START_NS + round(at * 1e9) for at, _, _ in frames],
        direction=[direction for _, direction, _ in frames],
        interface=interface,
    )
