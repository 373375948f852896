"""How forwards are spelt: ours, QEMU's, and what is neither."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmon.errors import UsageError
from qmon.network.model import Forward
from qmon.network.rule import parse_keys, parse_rules


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("2222:22", "tcp:127.0.0.1:2222-:22"),
        ("0:80", "tcp:127.0.0.1:0-:80"),
        ("5353:53/udp", "udp:127.0.0.1:5353-:53"),
        ("2222:22/tcp", "tcp:127.0.0.1:2222-:22"),
        ("127.0.0.2:2222:22", "tcp:127.0.0.2:2222-:22"),
        ("localhost:2222:22", "tcp:127.0.0.1:2222-:22"),
        ("0.0.0.0:2222:22", "tcp:0.0.0.0:2222-:22"),
        ("*:2222:22", "tcp:0.0.0.0:2222-:22"),
        (":2222:22", "tcp:127.0.0.1:2222-:22"),
        ("[::1]:2222:22", "tcp:[::1]:2222-:22"),
        ("tcp:127.0.0.1:2222-10.0.2.15:22", "tcp:127.0.0.1:2222-10.0.2.15:22"),
        ("tcp::2222-:22", "tcp:127.0.0.1:2222-:22"),
        ("udp:0.0.0.0:53-:53", "udp:0.0.0.0:53-:53"),
        (":127.0.0.1:2222-:22", "tcp:127.0.0.1:2222-:22"),
    ],
)
def test_rules(text: str, rule: str) -> None:
    assert [str(one) for one in parse_rules(text)] == [rule]


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("2222", "tcp:127.0.0.1:2222"),
        ("53/udp", "udp:127.0.0.1:53"),
        ("*:2222", "tcp:0.0.0.0:2222"),
        ("10.1.2.3:2222", "tcp:10.1.2.3:2222"),
        ("udp:0.0.0.0:53", "udp:0.0.0.0:53"),
        ("tcp::2222", "tcp:127.0.0.1:2222"),
        ("tcp:127.0.0.1:2222-:22", "tcp:127.0.0.1:2222"),
        ("10.1.2.3:2222:22", "tcp:10.1.2.3:2222"),
    ],
)
def test_keys(text: str, key: str) -> None:
    assert [str(one) for one in parse_keys(text)] == [key]


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "22",
            "x:y",
            "2222:0",
            "70000:22",
            "2222:70000",
            "host.example:1:2",
            "1:2/sctp",
            "tcp:1:2",
            "1:2\n",
        ),
        *("8-7:8", "8-9:8-10", "0-3:8", "1-300:1", "65535-65536:1", "80-81:65535"),
    ],
)
def test_what_is_no_rule(text: str) -> None:
    with pytest.raises(UsageError):
        parse_rules(text)


def test_ranges() -> None:
    texts = ["tcp:127.0.0.1:8000-:80", "tcp:127.0.0.1:8001-:81", "tcp:127.0.0.1:8002-:82"]
    assert [str(rule) for rule in parse_rules("8000-8002:80")] == texts
    assert [str(rule) for rule in parse_rules("127.0.0.1:8000-8002:80-82/tcp")] == texts
    assert [str(rule) for rule in parse_rules("53-53:53/udp")] == ["udp:127.0.0.1:53-:53"]
    assert [str(key) for key in parse_keys("*:8000-8001/udp")] == ["udp:0.0.0.0:8000", "udp:0.0.0.0:8001"]


@pytest.mark.parametrize("text", ["", "x", "70000", "9-8", "1/icmp", "[:::1]:5", "1:2:3:4"])
def test_what_is_no_key(text: str) -> None:
    with pytest.raises(UsageError):
        parse_keys(text)


def test_a_key_finds_its_forward() -> None:
    everywhere = Forward("u1", "tcp", "*", 2222, "10.0.2.15", 22)
    assert parse_keys("*:2222")[0].matches(everywhere)
    assert not parse_keys("2222")[0].matches(everywhere)
    assert not parse_keys("*:2222/udp")[0].matches(everywhere)


@given(st.text())
def test_an_address_left_out_is_never_all_of_the_hosts(text: str) -> None:
    try:
        rules = parse_rules(text)
    except UsageError:
        return
    assert all(rule.key.host for rule in rules)
    assert all(rule.key.host != "0.0.0.0" for rule in rules) or "*" in text or "0.0.0.0" in text


@given(st.from_regex(r"(tcp|udp):[0-9.*]*:\d{1,5}-[0-9.]*:\d{1,5}", fullmatch=True))
def test_nothing_but_addresses_and_ports_reaches_the_monitor(text: str) -> None:
    try:
        rules = "".join(map(str, parse_rules(text)))
    except UsageError:
        return
    assert not set(rules) - set("tcpud:-.0123456789")


@pytest.mark.parametrize("text", ["", "  "])
def test_an_empty_forward_is_asked_for_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match=r"^Enter a forward, e\.g\. 2222:22"):
        parse_rules(text)
