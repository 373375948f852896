"""QEMU's option syntax, typed by the recorded schemas of three QEMUs; arbitrary words never do more than fail."""

import gzip
import json
from contextlib import suppress
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmon.errors import UsageError
from qmon.monitor.schema import Schema
from qmon.network.options import (
    driver_of,
    join,
    netdev_options,
    number,
    parse_device,
    parse_netdev,
    split,
)

FIXTURES = Path(__file__).parents[2] / "fixtures"
VERSIONS = sorted(path.parent.name for path in FIXTURES.glob("*/schema.json.gz"))


@cache
def schema(version: str) -> Schema:
    return Schema(json.loads(gzip.decompress((FIXTURES / version / "schema.json.gz").read_bytes())))


@pytest.fixture(params=VERSIONS)
def known(request: pytest.FixtureRequest) -> Schema:
    return schema(request.param)


def test_there_are_three_schemas() -> None:
    assert {version.rpartition(".")[0] for version in VERSIONS} >= {"7.2", "10.0", "11.1"}


@pytest.mark.parametrize(
    ("spec", "arguments"),
    [
        ("user,id=u1", {}),
        ("type=user,id=u1", {}),
        ("user,id=u1,restrict=on,ipv4=off", {"restrict": True, "ipv4": False}),
        ("user,id=u1,restrict,noipv4", {"restrict": True, "ipv4": False}),
        ("user,id=u1,net=10.9.0.0/24,net=10.8.0.0/24", {"net": "10.8.0.0/24"}),
        ("user,id=u1,ipv6-net=fd00:1::/60", {"ipv6-prefix": "fd00:1::", "ipv6-prefixlen": 60}),
        ("user,id=u1,ipv6-net=fd00::", {"ipv6-prefix": "fd00::", "ipv6-prefixlen": 64}),
        ("user,id=u1,tftp=/srv/a,,b=c", {"tftp": "/srv/a,b=c"}),
        (
            "user,id=u1,hostfwd=tcp:127.0.0.1:2222-:22,hostfwd=udp::53-:53",
            {"hostfwd": [{"str": "tcp:127.0.0.1:2222-:22"}, {"str": "udp::53-:53"}]},
        ),
        (
            "user,id=u1,dnssearch=a.test,dnssearch=b.test",
            {"dnssearch": [{"str": "a.test"}, {"str": "b.test"}]},
        ),
    ],
)
def test_user_networks(known: Schema, spec: str, arguments: dict[str, object]) -> None:
    assert parse_netdev(spec, known) == {"type": "user", "id": "u1", **arguments}


@pytest.mark.parametrize(
    ("spec", "arguments"),
    [
        (
            "tap,id=t,ifname=tap0,script=no,sndbuf=1M,vhost=off,queues=2,fds=3:4",
            {"ifname": "tap0", "script": "no", "sndbuf": 1 << 20, "vhost": False, "queues": 2, "fds": "3:4"},
        ),
        (
            "stream,id=t,server=on,addr.type=inet,addr.host=localhost,addr.port=1234",
            {"server": True, "addr": {"type": "inet", "host": "localhost", "port": "1234"}},
        ),
        ("stream,id=t,addr.type=unix,addr.path=/a.sock", {"addr": {"type": "unix", "path": "/a.sock"}}),
        ("stream,id=t,addr.type=fd,addr.str=net", {"addr": {"type": "fd", "str": "net"}}),
        (
            "dgram,id=t,local.type=unix,local.path=/a,remote.type=unix,remote.path=/b,remote.abstract",
            {
                "local": {"type": "unix", "path": "/a"},
                "remote": {"type": "unix", "path": "/b", "abstract": True},
            },
        ),
        ("hubport,id=t,hubid=0x10,netdev=u1", {"hubid": 16, "netdev": "u1"}),
        (
            "l2tpv3,id=t,src=a,dst=b,txsession=1,txcookie=0xffff",
            {"src": "a", "dst": "b", "txsession": 1, "txcookie": 65535},
        ),
    ],
)
def test_other_backends(known: Schema, spec: str, arguments: dict[str, object]) -> None:
    assert parse_netdev(spec, known) == {"type": spec.partition(",")[0], "id": "t", **arguments}


@pytest.mark.parametrize(
    ("spec", "today"),
    [
        ("user,id=u1,vlan=0", "hubport"),
        ("user,model=e1000", "--nic MODEL"),
        ("tap,name=t1,ifname=tap0", "id="),
        ('{"type": "user", "id": "u1", "mac": "52:54:00:00:00:01"}', "mac=ADDRESS"),
        ("nic,model=e1000", "qmon nic add"),
        ("af-xdp,id=x,ifname=eth0", "libxdp"),
    ],
)
def test_old_spellings_are_answered_with_todays(known: Schema, spec: str, today: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_netdev(spec, known)
    assert today in str(refused.value.hint)


def test_json_is_taken_as_it_is(known: Schema) -> None:
    content = {"type": "stream", "id": "s1", "addr": {"type": "unix", "path": "/a,b"}, "server": True}
    assert parse_netdev(json.dumps(content), known) == content


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ("", "the options are empty"),
        ("usr,id=u1", "this QEMU has no netdev type 'usr'; did you mean 'user'?"),
        ("nic,id=u1", "this QEMU has no netdev type 'nic'"),
        ("id=u1", "no netdev type 'that is empty'"),
        ("user", "the netdev needs an id"),
        ("user,id=1a", "'1a' cannot be an id"),
        ("user,id=a b", "'a b' cannot be an id"),
        ("user,id=u1,hostfw=x", "user has no option 'hostfw'; did you mean 'hostfwd'?"),
        ("user,id=u1,restrict=maybe", "restrict=maybe is neither on nor off"),
        ("user,id=u1,restrict.x=on", "user has no option 'restrict.x'"),
        ("user,id=u1,ipv6-net=/64", "is not a network"),
        ("user,id=u1,ipv6-net=fd00::/x", "is not a network"),
        ("tap,id=t,queues=two", "queues=two is not a number"),
        ("hubport,id=h", "hubport needs hubid="),
        ("stream,id=s", "stream needs addr="),
        ("stream,id=s,addr=x", "addr has parts of its own"),
        ("stream,id=s,addr.host=x", "stream needs addr.type="),
        ("stream,id=s,addr.type=pipe", "addr.type=pipe: stream has no such choice"),
        ("stream,id=s,addr.type=inet,addr.host=x", "stream needs addr.port="),
        ("stream,id=s,addr.type=unix,addr.pth=x", "did you mean 'addr.path'?"),
        ("{", "are not"),
        ('{"type": "user"}', "the netdev needs an id"),
        ('{"type": "user", "id": 7}', "'7' cannot be an id"),
        ('{"type": "user", "id": "u1", "hostforward": 1}', "user has no option 'hostforward'"),
    ],
)
def test_what_is_wrong_is_said(known: Schema, spec: str, complaint: str) -> None:
    with pytest.raises(UsageError) as problem:
        parse_netdev(spec, known)
    assert complaint in problem.value.message


def test_what_would_be_right_is_listed(known: Schema) -> None:
    with pytest.raises(UsageError, match="has no option") as problem:
        parse_netdev("user,id=u1,x=y", known)
    assert "hostfwd" in str(problem.value.hint)
    with pytest.raises(UsageError, match="no netdev type") as problem:
        parse_netdev("x,id=y", known)
    assert "user, tap" in str(problem.value.hint)


def test_options_of_a_type(known: Schema) -> None:
    user = {option.name: option for option in netdev_options("user", known)}
    assert user["id"].required
    assert user["restrict"].type == "on|off"
    assert user["hostfwd"].type == "text; may be given several times"
    assert "ipv6-net" in user
    stream = {option.name: option for option in netdev_options("stream", known)}
    assert (stream["addr.type"].required, stream["addr.host"].required) == (True, False)
    assert "inet|unix" in stream["addr.type"].type
    with pytest.raises(UsageError, match="did you mean 'tap'"):
        netdev_options("tapp", known)


PROPERTIES = {
    "mac": "str",
    "netdev": "str",
    "mq": "bool",
    "vectors": "uint32",
    "addr": "int32",
    "disable-legacy": "OnOffAuto",
}


def test_devices() -> None:
    spec = "virtio-net-pci,id=n1,netdev=u1,mac=52:54:00:00:00:01,mq=on,vectors=4,addr=0x5,disable-legacy=on,bus=rp1"
    assert parse_device(spec, PROPERTIES) == {
        "driver": "virtio-net-pci",
        "id": "n1",
        "netdev": "u1",
        "mac": "52:54:00:00:00:01",
        "mq": True,
        "vectors": 4,
        "addr": "0x5",
        "disable-legacy": "on",
        "bus": "rp1",
    }
    assert parse_device("e1000,nomq", PROPERTIES) == {"driver": "e1000", "mq": False}
    assert parse_device("e1000,x=1,y", None) == {"driver": "e1000", "x": "1", "y": "on"}
    assert parse_device('{"driver": "e1000", "mq": true}', PROPERTIES) == {"driver": "e1000", "mq": True}


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ("id=n1", "the NIC's model is missing"),
        ("", "the options are empty"),
        ("e1000,id=-1", "'-1' cannot be an id"),
        ("e1000,vector=4", "e1000 has no option 'vector'; did you mean 'vectors'?"),
        ("e1000,mq=4", "mq=4 is neither on nor off"),
        ("e1000,vectors=on", "vectors=on is not a number"),
        ('{"driver": "e1000", "maq": 1}', "e1000 has no option 'maq'"),
    ],
)
def test_devices_that_are_wrong(spec: str, complaint: str) -> None:
    with pytest.raises(UsageError) as problem:
        parse_device(spec, PROPERTIES)
    assert complaint in problem.value.message


@pytest.mark.parametrize(
    ("text", "value"), [("0", 0), ("0x1F", 31), ("2k", 2048), ("1M", 1 << 20), ("-1", -1), ("3b", 3)]
)
def test_numbers(text: str, value: int) -> None:
    assert number("x", text) == value


WORD = st.text(st.characters(exclude_characters="=,\0", exclude_categories=["Cs"]), min_size=1)
VALUE = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


@given(WORD, st.lists(st.tuples(WORD, VALUE)))
def test_what_is_joined_is_split_again(first: str, pairs: list[tuple[str, str]]) -> None:
    assert split(join(first, pairs)) == (first, pairs)


@given(st.text())
def test_arbitrary_words_are_only_wrong(text: str) -> None:
    for prefix in ("", "user,id=u1,", "stream,id=s1,addr."):
        try:
            arguments = parse_netdev(prefix + text, schema(VERSIONS[0]))
        except UsageError:
            continue
        assert json.dumps(arguments)
    with suppress(UsageError):
        assert parse_device(text, PROPERTIES)["driver"] == driver_of(text)
