"""Frames of many protocols for tests, built with scapy: the way from names to bytes, in one place."""

from __future__ import annotations

import itertools
import random
import struct
from functools import cache
from pathlib import Path

from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.dhcp6 import DUID_LLT, DHCP6_Request, DHCP6_Solicit, DHCP6OptClientId, DHCP6OptIA_NA
from scapy.layers.dns import DNS, DNSQR, DNSRR, DNSRRSOA, DNSRRSRV
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_Router_Alert
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6MLDMultAddrRec,
    ICMPv6MLReport2,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6ND_RA,
    ICMPv6ND_RS,
    ICMPv6NDOptPrefixInfo,
    ICMPv6NDOptSrcLLAddr,
    ICMPv6PacketTooBig,
    ICMPv6TimeExceeded,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    RouterAlert,
)
from scapy.layers.l2 import ARP, GRE, LLC, SNAP, STP, Dot1AD, Dot1Q, Dot3, Ether
from scapy.layers.ntp import NTPHeader
from scapy.layers.sctp import SCTP, SCTPChunkInit
from scapy.layers.snmp import SNMP, SNMPget, SNMPvarbind
from scapy.layers.tftp import (
    TFTP,
    TFTP_ACK,
    TFTP_DATA,
    TFTP_ERROR,
    TFTP_OACK,
    TFTP_RRQ,
    TFTP_WRQ,
    TFTP_Option,
    TFTP_Options,
)
from scapy.layers.vxlan import VXLAN
from scapy.packet import Packet, Raw

GUEST, GATEWAY = "52:54:00:12:34:56", "52:55:0a:00:02:02"
HELLO = bytes.fromhex(
    "16030100c5010000c10303"
    + "11" * 32
    + "20"
    + "22" * 32
    + "0004130113020100007400000010000e00000b6578616d706c652e6f7267"
    "000b000403000102000a00060004001d0017" + "0010000e000c02683208687474702f312e31"
)


def _from_guest() -> Packet:
    return Ether(src=GUEST, dst=GATEWAY)


def _ip() -> Packet:
    return _from_guest() / IP(src="10.0.2.15", dst="10.0.2.2", id=7)


def _ip6() -> Packet:
    return _from_guest() / IPv6(src="fec0::5054:ff:fe12:3456", dst="fec0::2")


_ports = itertools.count()


def _tcp(**fields: object) -> Packet:
    # Each in a connection of its own, so that tshark calls none a retransmission.
    port = 40000 + next(_ports)
    return _ip() / TCP(**{"sport": port, "dport": 80, "seq": 1000, "ack": 2000, "flags": "A", **fields})


def _dhcp(kind: str, *options: object, **fields: object) -> Packet:
    mac = bytes.fromhex(GUEST.replace(":", ""))
    return (
        Ether(src=GUEST, dst="ff:ff:ff:ff:ff:ff")
        / IP(src="0.0.0.0", dst="255.255.255.255")
        / UDP(sport=68, dport=67)
        / BOOTP(chaddr=mac, xid=0x1234ABCD, **fields)
        / DHCP(options=[("message-type", kind), *options, "end"])
    )


def _dns(answers: int = 0, name: str = "demo.invalid", **fields: object) -> Packet:
    return _ip() / UDP(sport=5353 + 40000, dport=53) / DNS(id=77, qd=[DNSQR(qname=name)], **fields)


def _packets() -> dict[str, Packet]:
    ip, ip6, guest = _ip(), _ip6(), _from_guest()
    answer = _ip() / UDP(sport=53, dport=40001)
    return {
        "arp who-has": guest / ARP(op=1, hwsrc=GUEST, psrc="10.0.2.15", pdst="10.0.2.2"),
        "arp is-at": guest / ARP(op=2, hwsrc=GATEWAY, psrc="10.0.2.2", hwdst=GUEST, pdst="10.0.2.15"),
        "arp probe": guest / ARP(op=1, hwsrc=GUEST, psrc="0.0.0.0", pdst="10.0.2.15"),
        "arp announcement": guest / ARP(op=1, hwsrc=GUEST, psrc="10.0.2.15", pdst="10.0.2.15"),
        "rarp": Ether(src=GUEST, dst="ff:ff:ff:ff:ff:ff", type=0x8035) / ARP(op=3, hwsrc=GUEST, hwdst=GUEST),
        "tcp syn": _tcp(
            flags="S",
            options=[("MSS", 1460), ("SAckOK", b""), ("Timestamp", (1, 0)), ("NOP", None), ("WScale", 7)],
        ),
        "tcp syn-ack": _tcp(flags="SA", sport=80, dport=50000, options=[("MSS", 1460)]),
        "tcp ack": _tcp(),
        "tcp push": _tcp(flags="PA", dport=9999) / Raw(b"hello"),
        "tcp fin": _tcp(flags="FA"),
        "tcp reset": _tcp(flags="R"),
        "tcp all flags": _tcp(flags="FSRPAUEC"),
        "tcp sack": _tcp(options=[("NOP", None), ("NOP", None), ("SAck", (1, 2))]),
        "tcp bad checksum": _tcp(chksum=0x1234, dport=9999) / Raw(b"offload"),
        "tcp ip options": guest
        / IP(src="10.0.2.15", dst="10.0.2.2", options=[IPOption_Router_Alert()])
        / TCP(dport=443, sport=5000),
        "http get": _tcp(flags="PA")
        / Raw(b"GET /boot.ipxe HTTP/1.1\r\nHost: demo.invalid\r\nContent-Length: 0\r\n\r\n"),
        "http ok": _tcp(flags="PA", sport=80, dport=50001)
        / Raw(b"HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 4\r\n\r\nbody"),
        "http raw": _tcp(flags="PA") / Raw(b"POST /x HTTP/1.0\r\nHost: a\r\n\r\nabc"),
        "http rest": _tcp(flags="PA", sport=80, dport=50002) / Raw(b"only the rest of a body"),
        "tls hello": _tcp(flags="PA", dport=443) / Raw(HELLO),
        "tls data": _tcp(flags="PA", dport=443) / Raw(bytes.fromhex("1703030010") + bytes(16)),
        "ssh banner": _tcp(flags="PA", dport=22) / Raw(b"SSH-2.0-OpenSSH_9.2p1 Debian\r\n"),
        "udp": ip / UDP(sport=51111, dport=7777) / Raw(b"payload"),
        "udp no checksum": ip / UDP(sport=51111, dport=2222, chksum=0) / Raw(b"payload"),
        "icmp echo": ip / ICMP(id=5, seq=1) / Raw(bytes(56)),
        "icmp reply": ip / ICMP(type=0, id=5, seq=1) / Raw(bytes(56)),
        "icmp port unreachable": ip
        / ICMP(type=3, code=3)
        / IP(src="10.0.2.2", dst="10.0.2.15")
        / UDP(sport=1, dport=2),
        "icmp time exceeded": ip
        / ICMP(type=11, code=0)
        / IP(src="10.0.2.2", dst="10.0.2.15")
        / UDP(sport=1, dport=2),
        "icmp frag needed": ip
        / ICMP(type=3, code=4, nexthopmtu=1400)
        / IP(src="1.2.3.4", dst="10.0.2.15")
        / TCP(),
        "icmp redirect": ip / ICMP(type=5, code=1, gw="10.0.2.1") / IP() / UDP(),
        "igmp v2 report": guest
        / IP(src="10.0.2.15", dst="224.0.0.251", proto=2)
        / Raw(bytes.fromhex("16000904e00000fb")),
        "igmp v3 report": guest
        / IP(src="10.0.2.15", dst="224.0.0.22", proto=2)
        / Raw(bytes.fromhex("2200f9020000000104000000e00000fb")),
        "igmp query": guest
        / IP(src="10.0.2.2", dst="224.0.0.1", proto=2)
        / Raw(bytes.fromhex("1164ee9b00000000")),
        "gre": ip / GRE() / IP(src="1.1.1.1", dst="2.2.2.2") / UDP(sport=1, dport=2),
        "sctp": ip / SCTP(sport=1, dport=2) / SCTPChunkInit(),
        "unknown ip protocol": guest / IP(src="10.0.2.15", dst="10.0.2.2", proto=253) / Raw(b"??"),
        "ip first fragment": guest
        / IP(src="10.0.2.15", dst="10.0.2.2", flags="MF", id=9)
        / UDP(sport=1, dport=2, len=3000)
        / Raw(bytes(1000)),
        "ip later fragment": guest
        / IP(src="10.0.2.15", dst="10.0.2.2", frag=185, id=9, proto=17)
        / Raw(bytes(100)),
        "dhcp discover": _dhcp(
            "discover", ("hostname", b"guest"), ("vendor_class_id", b"iPXE"), ("param_req_list", [1, 3, 6])
        ),
        "dhcp offer": _dhcp(
            "offer",
            ("server_id", "10.0.2.2"),
            ("lease_time", 86400),
            ("subnet_mask", "255.255.255.0"),
            op=2,
            yiaddr="10.0.2.15",
        ),
        "dhcp request": _dhcp(
            "request", ("requested_addr", "10.0.2.15"), ("server_id", "10.0.2.2"), ("hostname", b"guest")
        ),
        "dhcp ack": _dhcp(
            "ack",
            ("server_id", "10.0.2.2"),
            ("router", "10.0.2.2"),
            ("name_server", "10.0.2.3"),
            op=2,
            yiaddr="10.0.2.15",
        ),
        "dhcp nak": _dhcp("nak", op=2),
        "dhcp release": _dhcp("release", ciaddr="10.0.2.15"),
        "dhcp inform": _dhcp("inform", ciaddr="10.0.2.15"),
        "bootp": Ether(src=GUEST) / IP() / UDP(sport=68, dport=67) / BOOTP(xid=1),
        "dns query": _dns(),
        "dns aaaa": ip / UDP(sport=40001, dport=53) / DNS(id=5, qd=[DNSQR(qname="a.b.c", qtype=28)]),
        "dns answer": answer
        / DNS(
            id=77,
            qr=1,
            qd=[DNSQR(qname="demo.invalid")],
            an=[
                DNSRR(rrname="demo.invalid", rdata="10.0.2.9"),
                DNSRR(rrname="demo.invalid", rdata="10.0.2.8"),
            ],
        ),
        "dns cname": answer
        / DNS(
            id=77,
            qr=1,
            qd=[DNSQR(qname="w.x")],
            an=[
                DNSRR(rrname="w.x", type="CNAME", rdata="y.z"),
                DNSRR(rrname="y.z", type="AAAA", rdata="fec0::9"),
            ],
        ),
        "dns nxdomain": answer
        / DNS(
            id=77,
            qr=1,
            rcode=3,
            qd=[DNSQR(qname="demo.invalid")],
            ns=[DNSRRSOA(rrname=".", mname="a.root.", rname="nstld.")],
        ),
        "dns srv": answer
        / DNS(
            id=78,
            qr=1,
            qd=[DNSQR(qname="_s._tcp.x", qtype=33)],
            an=[DNSRRSRV(rrname="_s._tcp.x", port=99, target="h.x")],
        ),
        "dns txt": answer
        / DNS(
            id=79,
            qr=1,
            qd=[DNSQR(qname="t.x", qtype=16)],
            an=[DNSRR(rrname="t.x", type="TXT", rdata=[b"hello"])],
        ),
        "mdns": Ether(src=GUEST, dst="01:00:5e:00:00:fb")
        / IP(src="10.0.2.15", dst="224.0.0.251")
        / UDP(sport=5353, dport=5353)
        / DNS(qd=[DNSQR(qname="_ipp._tcp.local", qtype="PTR")]),
        "llmnr": Ether(src=GUEST)
        / IP(src="10.0.2.15", dst="224.0.0.252")
        / UDP(sport=50000, dport=5355)
        / DNS(id=9, qd=[DNSQR(qname="wpad")]),
        "tftp read": ip
        / UDP(sport=2070, dport=69)
        / TFTP()
        / TFTP_RRQ(filename="boot.ipxe", mode="octet")
        / TFTP_Options(options=[TFTP_Option(oname="blksize", value="1432")]),
        "tftp write": ip / UDP(sport=2070, dport=69) / TFTP() / TFTP_WRQ(filename="up.bin", mode="octet"),
        "tftp error": ip
        / UDP(sport=69, dport=2070)
        / TFTP()
        / TFTP_ERROR(errorcode=1, errormsg="File not found"),
        "tftp data": ip / UDP(sport=69, dport=2070) / TFTP() / TFTP_DATA(block=3) / Raw(bytes(512)),
        "tftp ack": ip / UDP(sport=2070, dport=69) / TFTP() / TFTP_ACK(block=3),
        "tftp oack": ip
        / UDP(sport=69, dport=2070)
        / TFTP()
        / TFTP_OACK()
        / TFTP_Options(options=[TFTP_Option(oname="blksize", value="1432")]),
        "ntp": ip / UDP(sport=123, dport=123) / NTPHeader(version=4, mode=3),
        "ssdp": Ether(src=GUEST)
        / IP(src="10.0.2.15", dst="239.255.255.250")
        / UDP(sport=50000, dport=1900)
        / Raw(b"M-SEARCH * HTTP/1.1\r\nHost: 239.255.255.250:1900\r\n\r\n"),
        "syslog": ip / UDP(sport=514, dport=514) / Raw(b"<13>Jan  1 00:00:00 host prog: text"),
        "snmp": ip / UDP(sport=50000, dport=161) / SNMP(PDU=SNMPget(varbindlist=[SNMPvarbind()])),
        "vxlan": ip
        / UDP(sport=50000, dport=4789)
        / VXLAN(vni=42)
        / Ether(src=GUEST, dst=GATEWAY)
        / IP(src="1.1.1.1", dst="2.2.2.2")
        / ICMP(),
        "ipv6 syn": ip6 / TCP(sport=40000, dport=8080, flags="S"),
        "ipv6 udp": ip6 / UDP(sport=51111, dport=7777) / Raw(b"x"),
        "ipv6 dns": ip6 / UDP(sport=51111, dport=53) / DNS(id=1, qd=[DNSQR(qname="demo.invalid", qtype=28)]),
        "icmp6 echo": ip6 / ICMPv6EchoRequest(id=3, seq=4, data=b"ping"),
        "icmp6 reply": ip6 / ICMPv6EchoReply(id=3, seq=4, data=b"ping"),
        "icmp6 rs": ip6 / ICMPv6ND_RS() / ICMPv6NDOptSrcLLAddr(lladdr=GUEST),
        "icmp6 ra": ip6 / ICMPv6ND_RA() / ICMPv6NDOptPrefixInfo(prefix="fec0::", prefixlen=64),
        "icmp6 ns": ip6 / ICMPv6ND_NS(tgt="fec0::2") / ICMPv6NDOptSrcLLAddr(lladdr=GUEST),
        "icmp6 na": ip6 / ICMPv6ND_NA(tgt="fec0::2", R=1, S=1, O=1),
        "icmp6 unreachable": ip6
        / ICMPv6DestUnreach(code=4)
        / IPv6(src="fec0::2", dst="fec0::3")
        / UDP(sport=1, dport=2),
        "icmp6 time exceeded": ip6
        / ICMPv6TimeExceeded()
        / IPv6(src="fec0::2", dst="fec0::3")
        / UDP(sport=1, dport=2),
        "icmp6 too big": ip6 / ICMPv6PacketTooBig(mtu=1280) / IPv6(src="fec0::2", dst="fec0::3") / TCP(),
        "icmp6 mld2": Ether(src=GUEST)
        / IPv6(src="fe80::1", dst="ff02::16")
        / IPv6ExtHdrHopByHop(options=[RouterAlert()])
        / ICMPv6MLReport2(records=[ICMPv6MLDMultAddrRec(rtype=4, dst="ff02::fb")]),
        "ipv6 destination options": ip6 / IPv6ExtHdrDestOpt() / TCP(sport=1, dport=2),
        "ipv6 first fragment": ip6
        / IPv6ExtHdrFragment(m=1, id=5, nh=17)
        / UDP(sport=1, dport=2, len=3000)
        / Raw(bytes(200)),
        "ipv6 later fragment": ip6 / IPv6ExtHdrFragment(offset=100, id=5, nh=17) / Raw(bytes(50)),
        "ipv6 no next header": Ether(src=GUEST) / IPv6(src="fe80::1", dst="fe80::2", nh=59),
        "dhcp6 solicit": Ether(src=GUEST)
        / IPv6(src="fe80::1", dst="ff02::1:2")
        / UDP(sport=546, dport=547)
        / DHCP6_Solicit(trid=0x1234)
        / DHCP6OptClientId(duid=DUID_LLT(timeval=1, lladdr=GUEST))
        / DHCP6OptIA_NA(),
        "dhcp6 request": Ether(src=GUEST)
        / IPv6(src="fe80::1", dst="ff02::1:2")
        / UDP(sport=546, dport=547)
        / DHCP6_Request(trid=0x1234),
        "vlan tcp": guest / Dot1Q(vlan=5) / IP(src="10.0.2.15", dst="10.0.2.2") / TCP(sport=1000, dport=80),
        "vlan arp": guest / Dot1Q(vlan=5, prio=3) / ARP(psrc="10.0.2.15", pdst="10.0.2.2", hwsrc=GUEST),
        "double vlan": guest
        / Dot1AD(vlan=2)
        / Dot1Q(vlan=5)
        / IP(src="10.0.2.15", dst="10.0.2.2")
        / UDP(sport=1, dport=2),
        "stp": Dot3(src=GUEST, dst="01:80:c2:00:00:00") / LLC(dsap=0x42, ssap=0x42, ctrl=3) / STP(),
        "llc": Dot3(src=GUEST, dst=GATEWAY) / LLC(dsap=0xE0, ssap=0xE0, ctrl=3) / Raw(bytes(40)),
        "snap ip": Dot3(src=GUEST, dst=GATEWAY)
        / LLC()
        / SNAP(code=0x800)
        / IP(src="10.0.2.15", dst="10.0.2.2")
        / UDP(sport=1, dport=2),
        "lldp": Ether(src=GUEST, dst="01:80:c2:00:00:0e", type=0x88CC)
        / Raw(bytes.fromhex("020704525400123456040703525400123456060200780000")),
        "eapol": Ether(src=GUEST, dst="01:80:c2:00:00:03", type=0x888E) / Raw(bytes.fromhex("01010000")),
        "loop": Ether(src=GUEST, dst=GUEST, type=0x9000) / Raw(bytes(46)),
        "mpls": Ether(src=GUEST, dst=GATEWAY, type=0x8847)
        / Raw(bytes.fromhex("00010140"))
        / IP(src="10.0.2.15", dst="10.0.2.2")
        / UDP(sport=1, dport=2),
        "pppoe discovery": Ether(src=GUEST, dst="ff:ff:ff:ff:ff:ff", type=0x8863)
        / Raw(bytes.fromhex("1109000000040101 0000".replace(" ", ""))),
        "pppoe session": Ether(src=GUEST, dst=GATEWAY, type=0x8864)
        / Raw(bytes.fromhex("11000001001e0021"))
        / IP(src="10.0.2.15", dst="10.0.2.2")
        / UDP(sport=1, dport=2),
        "unknown ethertype": Ether(src=GUEST, dst=GATEWAY, type=0x1234) / Raw(bytes(46)),
        "aoe": Ether(src=GUEST, dst="ff:ff:ff:ff:ff:ff", type=0x88A2)
        / Raw(bytes.fromhex("1000ffffff0100000000000000000000")),
        "broadcast": Ether(src=GUEST)
        / IP(src="10.0.2.15", dst="10.0.2.255")
        / UDP(sport=137, dport=137)
        / Raw(bytes(50)),
        "esp": guest
        / IP(src="10.0.2.15", dst="10.0.2.2", proto=50)
        / Raw(bytes.fromhex("0000000100000002") + bytes(32)),
        "ipip": guest
        / IP(src="10.0.2.15", dst="10.0.2.2", proto=4)
        / IP(src="1.1.1.1", dst="2.2.2.2")
        / UDP(sport=1, dport=2),
        "ospf": guest
        / IP(src="10.0.2.15", dst="224.0.0.5", proto=89)
        / Raw(
            bytes.fromhex(
                "0201002c01010101000000000000000000000000000000000000ffffff00000a120100000028000000000000000000"
            )
        ),
        "vrrp": guest
        / IP(src="10.0.2.15", dst="224.0.0.18", proto=112, ttl=255)
        / Raw(bytes.fromhex("2101640100010000c0a80001")),
    }


@cache
def frames() -> dict[str, bytes]:
    """Return name -> bytes of an Ethernet frame, the same in every run."""
    random.seed(1)
    return {name: bytes(packet) for name, packet in _packets().items()}


@cache
def damaged() -> tuple[bytes, ...]:
    """Return the frames cut short and with bytes changed, always the same ones."""
    chance = random.Random(2)
    result = []
    for frame in frames().values():
        result += [frame[: chance.randrange(len(frame))] for _ in range(3)]
        for _ in range(3):
            changed = bytearray(frame)
            for _ in range(chance.randrange(1, 6)):
                changed[chance.randrange(12, len(changed))] = chance.randrange(256)
            result.append(bytes(changed))
    return tuple(result)


def write_pcap(path: Path, packets: list[bytes], *, link_type: int = 1, snaplen: int = 262144) -> Path:
    """Write a classic pcap, one packet a millisecond, cut to `snaplen`."""
    records = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, snaplen, link_type)]
    for i, packet in enumerate(packets):
        kept = packet[:snaplen]
        records.append(struct.pack("<IIII", 1_700_000_000, i * 1000, len(kept), len(packet)) + kept)
    path.write_bytes(b"".join(records))
    return path
