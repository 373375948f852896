"""What the answers to a knock mean."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.l2 import Ether

from qmon.errors import UsageError
from qmon.packets.batch import Direction
from qmon.wire import knocking
from qmon.wire.knocking import Port, Protocol, State, parse_ports
from qmon.wire.wire import Heard

LINK = Ether(src="52:54:00:12:34:56", dst="02:71:6d:00:00:01") / IP(src="10.0.2.15", dst="10.0.2.254")
WAY = {"sport": 80, "dport": 40000}
ASKED = IP(src="10.0.2.254", dst="10.0.2.15") / TCP(sport=40000, dport=80, seq=7)


def judged(packet: object, *, direction: Direction = Direction.OUT) -> State | None:
    tcp, udp = knocking._Knock(Port(80), 40000), knocking._Knock(Port(53, Protocol.UDP), 40001)
    tcp.seq = 7
    waiting = {(one.port.protocol, one.source): one for one in (tcp, udp)}
    found = knocking._judge(Heard(bytes(packet), 1, direction), waiting)  # type: ignore[call-overload]
    return found[1] if found else None


@pytest.mark.parametrize(
    ("packet", "state"),
    [
        (LINK / TCP(**WAY, flags="SA", ack=8), State.OPEN),
        (LINK / TCP(**WAY, flags="RA", ack=8), State.CLOSED),
        (LINK / UDP(sport=53, dport=40001), State.OPEN),
        (LINK / ICMP(type=3, code=3) / ASKED, State.CLOSED),
        (LINK / ICMP(type=3, code=13) / ASKED, State.UNREACHABLE),
        (LINK / ICMP(type=3, code=3) / IP() / UDP(sport=40001, dport=53), State.CLOSED),
        # Of another connection, of another port, not acknowledging what was sent, or no answer at all.
        (LINK / TCP(**WAY, flags="SA", ack=9), None),
        (LINK / TCP(sport=81, dport=40000, flags="SA", ack=8), None),
        (LINK / TCP(**WAY, flags="A", ack=8), None),
        (LINK / ICMP(type=3, code=3) / IP() / TCP(sport=1, dport=80), None),
        (LINK / ICMP(type=0), None),
    ],
)
def test_answers(packet: object, state: State | None) -> None:
    assert judged(packet) == state
    assert judged(packet, direction=Direction.IN) is None


@given(st.binary(max_size=120))
def test_any_bytes_are_judged(frame: bytes) -> None:
    judged(bytes(LINK)[:34] + frame)


def test_ports() -> None:
    assert parse_ports(["22", "80-82", "53/udp", "81"]) == (
        Port(22), Port(80), Port(81), Port(82), Port(53, Protocol.UDP),
    )  # fmt: skip
    for wrong in ("", "0", "65536", "9-8", "80/sctp", "x", "1-2-3"):
        with pytest.raises(UsageError):
            parse_ports([wrong])
