"""What QEMU makes of the options of a user-mode stack, and when qmon keeps quiet."""

import pytest

from qmon.network.model import Netdev
from qmon.network.userstack import user_stack

SIX = {"fec0::2": "gateway", "fec0::3": "dns"}


def netdev(network: str = "10.0.2.0", id_: str = "u1") -> Netdev:
    return Netdev(id_, "user", f"net={network},restrict=off", "nic1")


@pytest.mark.parametrize(
    ("options", "network", "roles"),
    [
        ({}, "10.0.2.0", {"10.0.2.2": "gateway", "10.0.2.3": "dns", **SIX}),
        ({"ip": "10.9.8.7"}, "10.9.8.0", {"10.9.8.2": "gateway", "10.9.8.3": "dns", **SIX}),
        ({"net": "10.9.0.0/24"}, "10.9.0.0", {"10.9.0.2": "gateway", "10.9.0.3": "dns", **SIX}),
        ({"net": "10.9.0.0/16"}, "10.9.0.0", {"10.9.2.2": "gateway", "10.9.2.3": "dns", **SIX}),
        ({"net": "192.168.0.0/20"}, "192.168.0.0", {"192.168.2.2": "gateway", "192.168.2.3": "dns", **SIX}),
        ({"net": "9.1.2.3"}, "9.0.0.0", {"9.0.2.2": "gateway", "9.0.2.3": "dns", **SIX}),
        ({"net": "192.168.7.1"}, "192.168.0.0", {"192.168.2.2": "gateway", "192.168.2.3": "dns", **SIX}),
        (
            {"net": "10.9.9.9/255.255.255.240"},
            "10.9.9.0",
            {"10.9.9.2": "gateway", "10.9.9.3": "dns", **SIX},
        ),
        (
            {"host": "10.0.2.77", "dns": "10.0.2.78", "smb": "/srv", "ipv6": "off"},
            "10.0.2.0",
            {"10.0.2.77": "gateway", "10.0.2.78": "dns", "10.0.2.4": "smb"},
        ),
        (
            {"smb": "/srv", "smbserver": "10.0.2.99", "ipv4": "on"},
            "10.0.2.0",
            {"10.0.2.2": "gateway", "10.0.2.3": "dns", "10.0.2.99": "smb"},
        ),
        ({"smbserver": "10.0.2.99"}, "10.0.2.0", {"10.0.2.2": "gateway", "10.0.2.3": "dns", **SIX}),
        ({"ipv4": "off"}, "10.0.2.0", SIX),
        ({"ipv6": "on"}, "10.0.2.0", SIX),
        ({"ipv6": "on", "ipv6-prefix": "fd00:7::"}, "10.0.2.0", {"fd00:7::2": "gateway", "fd00:7::3": "dns"}),
        (
            {"ipv4": "off", "ipv6-net": "fd00:7::/48", "ipv6-host": "fd00:7::9"},
            "10.0.2.0",
            {"fd00:7::9": "gateway", "fd00:7::3": "dns"},
        ),
    ],
)
def test_its_addresses(options: dict[str, str], network: str, roles: dict[str, str]) -> None:
    stack = user_stack(netdev(network), [{"type": "user", "id": "u1", **options}])
    assert stack is not None
    assert (stack.network, stack.roles) == (network, roles)


@pytest.mark.parametrize(
    ("one", "networks"),
    [
        (netdev(), []),
        (netdev(), [{"type": "user", "id": "u2"}]),  # Plugged in since.
        (netdev("10.9.0.0"), [{"type": "user", "id": "u1"}]),  # Removed, and another added under its id.
        (netdev(), [{"type": "tap", "id": "u1"}]),
        (netdev(), [{"type": "user", "id": "u1", "host": "elsewhere"}]),
        (netdev(), [{"type": "user", "id": "u1", "net": "10.0.2.0/x"}]),
        (netdev(), [{"type": "user", "id": "u1", "ipv6-prefix": "?"}]),
        (netdev(id_="#net001"), [{"type": "user"}, {"type": "user", "host": "10.0.2.9"}]),
        (Netdev("u1", "user", "", "nic1"), [{"type": "user", "id": "u1"}]),
        (Netdev("u1", "tap"), [{"type": "user", "id": "u1"}]),
        (Netdev("u1", "user", "net=10.0.2.0", ghost=True), [{"type": "user", "id": "u1"}]),
    ],
)
def test_what_is_not_known_is_not_said(one: Netdev, networks: list[dict[str, str]]) -> None:
    assert user_stack(one, networks) is None


def test_one_without_an_id_is_told_by_being_the_only_kind() -> None:
    networks = [{"type": "user"}, {"type": "user"}, {"type": "user", "id": "u1", "host": "10.0.2.9"}]
    stack = user_stack(netdev(id_="#net001"), networks)
    assert stack is not None
    assert stack.roles["10.0.2.2"] == "gateway"
