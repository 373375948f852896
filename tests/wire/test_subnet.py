"""Which addresses a made-up neighbour may take."""

import ipaddress

from qmon.network.model import Netdev
from qmon.wire.subnet import Subnet, around, free_addresses, to_scan, user_subnet


def user(info: str, **options: str) -> Subnet:
    networks = [{"type": "user", "id": "u1", **options}] if options else []
    found = user_subnet(Netdev("u1", "user", info), networks)
    assert found is not None
    return found


def test_the_defaults_of_a_user_mode_stack() -> None:
    subnet = user("net=10.0.2.0,restrict=off")
    assert (str(subnet.network), subnet.router, subnet.dns) == ("10.0.2.0/24", "10.0.2.2", ("10.0.2.3",))
    assert (subnet.leases[0], subnet.leases[-1]) == ("10.0.2.15", "10.0.2.30")
    assert next(free_addresses(subnet)) == "10.0.2.254"
    assert next(free_addresses(subnet, {"10.0.2.254"})) == "10.0.2.253"
    assert to_scan(subnet)[:2] == ["10.0.2.15", "10.0.2.16"]
    assert "10.0.2.2" not in to_scan(subnet)


def test_own_addresses_and_leases_are_never_given() -> None:
    options = {
        "net": "192.168.7.240/28",
        "host": "192.168.7.254",
        "dns": "192.168.7.253",
        "dhcpstart": "192.168.7.245",
    }
    subnet = user("net=192.168.7.240,restrict=off", **options)
    given = set(free_addresses(subnet))
    assert given == {f"192.168.7.{n}" for n in range(241, 245)}
    assert subnet.leases[0] == "192.168.7.245"
    assert "10.9.9.9" not in subnet


def test_a_large_network_is_not_scanned_and_is_soon_given_from() -> None:
    subnet = user("net=10.0.0.0,restrict=off", net="10.0.0.0/8")
    assert to_scan(subnet) == list(subnet.leases)
    assert next(free_addresses(subnet)) == "10.255.255.254"


def test_near_the_guest_where_the_prefix_is_not_known() -> None:
    subnet = around("192.168.9.15")
    first = next(free_addresses(subnet, {"192.168.9.15"}))
    assert ipaddress.ip_address(first) in ipaddress.ip_network("192.168.9.0/28")
    assert first != "192.168.9.15"
    exact = around("192.168.9.15", bits=16, router="192.168.0.1", own=("192.168.0.1",))
    assert next(free_addresses(exact, {"192.168.9.15"})) == "192.168.255.254"


def test_what_is_no_user_netdev_has_none() -> None:
    assert user_subnet(Netdev("t1", "tap", "ifname=tap0"), []) is None
