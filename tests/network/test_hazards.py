"""What is refused before it is sent, and what is only warned of."""

import pytest

from qmon.errors import Refused
from qmon.monitor.session import Version
from qmon.network import hazards
from qmon.network.hazards import Surroundings
from qmon.network.model import Hub, HubPort, Netdev, Network, Nic

OLD, NEW, NEWEST = Version(7, 2, 22), Version(10, 0, 2), Version(11, 1, 3)
TAP = {"type": "tap", "id": "t1", "vhost": True}


@pytest.mark.parametrize("usable", [False, None])
def test_vhost_on_an_old_qemu_that_may_abort(usable: bool | None) -> None:
    with pytest.raises(Refused, match="would abort") as refused:
        hazards.check_netdev(TAP, OLD, Surroundings(usable))
    assert "modprobe vhost_net" in str(refused.value.hint)
    with pytest.raises(Refused):
        hazards.check_netdev({"type": "tap", "id": "t1", "vhostforce": True}, OLD, Surroundings(usable))


@pytest.mark.parametrize(
    "netdev",
    [
        {"type": "tap", "id": "t1"},
        {"type": "tap", "id": "t1", "vhost": False},
        {"type": "tap", "id": "t1", "vhost": True, "vhostfd": "3"},
        {"type": "tap", "id": "t1", "vhost": True, "vhostfds": "3:3", "fds": "4:5"},
        {"type": "user", "id": "u1"},
        {"type": "user", "id": "u1", "bootfile": "x" * 127},
        {"type": "l2tpv3", "id": "l1", "src": "127.0.0.1", "dst": "::1"},
        {
            "type": "l2tpv3",
            "id": "l1",
            "src": "127.0.0.1",
            "dst": "::1",
            "udp": True,
            "srcport": "1",
            "dstport": "2",
        },
    ],
)
def test_what_is_not_to_be_feared(netdev: dict[str, object]) -> None:
    descriptors = {"3": "/dev/vhost-net", "4": "/dev/net/tun", "5": "/dev/tap7"}
    hazards.check_netdev(netdev, OLD, Surroundings(False, descriptors))


def test_vhost_where_it_works_or_is_refused_in_peace() -> None:
    hazards.check_netdev(TAP, OLD, Surroundings(True))
    hazards.check_netdev(TAP, NEW, Surroundings(False))


@pytest.mark.parametrize("version", [OLD, NEW, NEWEST])
@pytest.mark.parametrize(
    ("options", "descriptors", "trouble"),
    [
        ({"vhostfd": "9"}, {}, "descriptor 9 of the VM is not open"),
        ({"vhostfd": "0"}, {"0": "/dev/null"}, "descriptor 0 of the VM is /dev/null"),
        ({"vhostfds": "3:9"}, {"3": "/dev/vhost-net"}, "descriptor 9 of the VM is not open"),
        ({"fds": "8:9"}, {"8": "/dev/net/tun"}, "descriptor 9 of the VM is not open"),
        ({"fds": "a"}, {}, "the descriptor named 'a' is"),
        ({"vhostfd": "3"}, None, "cannot be seen from here"),
    ],
)
def test_descriptors_that_a_qemu_aborts_over(
    version: Version, options: dict[str, object], descriptors: dict[str, str] | None, trouble: str
) -> None:
    with pytest.raises(Refused, match="not sent") as refused:
        hazards.check_netdev({"type": "tap", "id": "t1", **options}, version, Surroundings(None, descriptors))
    assert trouble in refused.value.message


@pytest.mark.parametrize(
    "netdev",
    [
        {"type": "user", "id": "u1", "bootfile": "x" * 128},
        {"type": "user", "id": "u1", "bootfile": "ü" * 64},
        {"type": "l2tpv3", "id": "l1", "src": "somewhere", "dst": "127.0.0.1"},
        {"type": "l2tpv3", "id": "l1", "src": "127.0.0.1", "dst": "127.0.0.1", "udp": True, "srcport": "1"},
    ],
)
def test_what_every_qemu_takes_badly(netdev: dict[str, object]) -> None:
    with pytest.raises(Refused, match="not sent"):
        hazards.check_netdev(netdev, NEWEST, Surroundings())


NETWORK = Network(
    netdevs=(
        Netdev("u1", "user", nic="nic1"),
        Netdev("free", "user"),
        Netdev("u2", "user", hub=0),
        Netdev("dead", "user", nic="nic3", ghost=True),
    ),
    nics=(Nic("nic1", "e1000", None, "u1"), Nic("nic3", "e1000", None, "dead")),
    hubs=(Hub(0, (HubPort("h1", "u2"), HubPort("h2", None))),),
)


@pytest.mark.parametrize(
    ("id_", "why"), [("u1", "the NIC nic1"), ("u2", "hub 0"), ("h1", "u2 is plugged into it")]
)
def test_a_netdev_in_use_stays(id_: str, why: str) -> None:
    with pytest.raises(Refused, match="is in use") as refused:
        hazards.check_netdev_removal(NETWORK, id_, force=False)
    assert why in refused.value.message
    assert "--force" in str(refused.value.hint)
    hazards.check_netdev_removal(NETWORK, id_, force=True)


def test_a_netdev_that_is_not_in_use_may_go() -> None:
    for id_ in ("free", "h2", "unheard-of"):
        hazards.check_netdev_removal(NETWORK, id_, force=False)


@pytest.mark.parametrize("force", [False, True])
def test_a_ghost_cannot_be_removed_again(force: bool) -> None:
    with pytest.raises(Refused, match="deleted already") as refused:
        hazards.check_netdev_removal(NETWORK, "dead", force=force)
    assert refused.value.hint == "qmon unplug nic3"


def test_a_new_netdev_of_a_ghosts_name_is_warned_of() -> None:
    assert "nic3 was plugged into an older netdev dead" in str(hazards.ghost_warning(NETWORK, "dead"))
    assert hazards.ghost_warning(NETWORK, "u1") is None


@pytest.mark.parametrize(
    ("rule", "is_open"),
    [
        ("tcp::2222-:22", True),
        ("tcp:0.0.0.0:2222-:22", True),
        ("::2222-:22", True),
        ("tcp:127.0.0.1:2222-:22", False),
    ],
)
def test_forwards_that_are_open_to_everybody_are_warned_of(rule: str, is_open: bool) -> None:
    assert bool(hazards.open_forwards({"hostfwd": [{"str": rule}]})) is is_open
    assert hazards.open_forwards({}) == ()
