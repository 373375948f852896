"""What changed is told once: by whom it was done, or as found."""

import pytest

from qmon.capture.network_changes import NetworkChanges, link_of
from qmon.monitor.events import Event
from qmon.monitor.hmp import parse_usernet
from qmon.network.model import Netdev, Network, Nic

NOTHING = Network()
Said = list[tuple[str, str, int | None]]


def told(command: str, arguments: object, *, reply: str = "", time_ns: int = 7) -> Event:
    return Event("QMON_CHANGE", {"command": command, "arguments": arguments, "reply": reply}, time_ns)


def line(text: str, *, reply: str = "") -> Event:
    return told("human-monitor-command", {"command-line": text}, reply=reply)


@pytest.fixture
def said() -> Said:
    return []


@pytest.fixture
def changes(said: Said) -> NetworkChanges:
    return NetworkChanges(lambda kind, text, time_ns: said.append((kind, text, time_ns)))


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (told("set_link", {"name": "nic1", "up": False}), "the link of nic1 was set down by qmon"),
        (told("set_link", {"name": "nic1", "up": True}), "the link of nic1 was set up by qmon"),
        (line("set_link nic1 off"), "the link of nic1 was set down by qmon"),
        (told("netdev_add", {"type": "user", "id": "u2"}), "netdev u2 (user) was added by qmon"),
        (line("netdev_add user,id=u2"), "netdev u2 (user) was added by qmon"),
        (told("netdev_del", {"id": "u2"}), "netdev u2 was removed by qmon"),
        (
            told("device_add", {"driver": "e1000", "netdev": "u2", "id": "nic2"}),
            "NIC nic2 was plugged into u2 by qmon",
        ),
        (line("device_add e1000,netdev=u2"), "NIC e1000 was plugged into u2 by qmon"),
        (told("device_del", {"id": "nic2"}), "qmon asked the guest to release nic2"),
        (
            line("hostfwd_add u1 tcp:127.0.0.1:2222-:22"),
            "forward tcp:127.0.0.1:2222-:22 on u1 was added by qmon",
        ),
        (line("hostfwd_add unix:/a-:22"), "forward unix:/a-:22 was added by qmon"),
        (
            line("hostfwd_remove u1 tcp:127.0.0.1:2222", reply="host forwarding rule for tcp:… removed"),
            "forward tcp:127.0.0.1:2222 on u1 was removed by qmon",
        ),
    ],
)
def test_what_a_qmon_did_has_its_time(changes: NetworkChanges, said: Said, event: Event, text: str) -> None:
    changes.hear(event)
    assert said == [("change", text, 7)]


@pytest.mark.parametrize(
    "event",
    [
        told("device_add", {"driver": "usb-mouse", "id": "m"}),
        line("hostfwd_add u1 tcp::22-:22", reply="Could not set up host forwarding rule"),
        line("hostfwd_remove u1 tcp::22", reply="host forwarding rule for tcp::22 not found"),
        line("set_link nic9 off", reply="Error: Device 'nic9' not found"),
        line("set_link"),
        line("hostfwd_add"),
        line(""),
        told("human-monitor-command", {}),
        told("device_add", None),
        Event("QMON_CHANGE", {}, 0),
    ],
)
def test_what_failed_or_is_not_of_the_network_is_not_told(
    changes: NetworkChanges, said: Said, event: Event
) -> None:
    changes.hear(event)
    assert not said


def test_what_others_did_is_seen(changes: NetworkChanges, said: Said) -> None:
    full = Network((Netdev("u2\x1b", "user"),), (Nic("nic2", "e1000", None),))
    changes.compare(NOTHING, full)
    changes.compare(full, NOTHING)
    assert [(kind, text) for kind, text, _ in said] == [
        ("seen", r"netdev u2\x1b (user) appeared"),
        ("seen", "NIC nic2 (e1000) appeared"),
        ("seen", r"netdev u2\x1b (user) is gone"),
        ("seen", "NIC nic2 (e1000) is gone"),
    ]


def test_what_a_qmon_told_is_not_seen_again(changes: NetworkChanges, said: Said) -> None:
    changes.hear(told("netdev_add", {"type": "user", "id": "u2"}))
    changes.hear(told("device_add", {"driver": "e1000", "netdev": "u2"}))
    both = Network((Netdev("u2", "user"), Netdev("u3", "user")), (Nic("e1000.0", "e1000", None),))
    changes.compare(NOTHING, both)
    assert [text for kind, text, _ in said if kind == "seen"] == ["netdev u3 (user) appeared"]


def test_the_guest_lets_go_in_its_own_time(changes: NetworkChanges, said: Said) -> None:
    changes.hear(told("device_del", {"id": "nic2"}))
    for _ in range(3):
        changes.looking("netdev", "NIC")()
    changes.compare(Network(nics=(Nic("nic2", "e1000", None),)), NOTHING)
    assert [(kind, text) for kind, text, _ in said[1:]] == [("change", "NIC nic2 (e1000) is gone")]


def test_what_has_come_and_gone_between_two_looks_explains_nothing_later(
    changes: NetworkChanges, said: Said
) -> None:
    looked = changes.looking("netdev", "NIC")
    changes.hear(told("netdev_add", {"type": "user", "id": "u2"}))
    looked()  # It came while the VM was asked: it may show only next time.
    looked = changes.looking("netdev", "NIC")
    looked()
    changes.compare(NOTHING, Network((Netdev("u2", "user"),)))
    assert [kind for kind, _, _ in said] == ["change", "seen"]


def stacks(*rows: str, netdev: str = "u1") -> str:
    return "\n".join((f"Hub -1 ({netdev}):", *rows))


SSH = "  TCP[HOST_FORWARD]  17       127.0.0.1  2222       10.0.2.15    22     0     0"
DNS = "  UDP[HOST_FORWARD]  18               *  5353       10.0.2.15    53     0     0"


def test_forwards_are_compared_on_netdevs_that_stay(changes: NetworkChanges, said: Said) -> None:
    before = parse_usernet(stacks(SSH) + "\n" + stacks(DNS, netdev="gone"))
    after = parse_usernet(stacks(DNS) + "\n" + stacks(SSH, netdev="new"))
    changes.compare_forwards(before, after)
    assert [(kind, text) for kind, text, _ in said] == [
        ("seen", "forward udp *:5353 to 10.0.2.15:53 on u1 appeared"),
        ("seen", "forward tcp 127.0.0.1:2222 to 10.0.2.15:22 on u1 is gone"),
    ]


@pytest.mark.parametrize("rule", ["udp::5353-:53", "udp:0.0.0.0:5353-10.0.2.15:53"])
def test_a_forward_that_a_qmon_told_is_not_seen_again(changes: NetworkChanges, said: Said, rule: str) -> None:
    changes.hear(line(f"hostfwd_add u1 {rule}"))
    changes.compare_forwards(parse_usernet(stacks()), parse_usernet(stacks(DNS, SSH)))
    assert [(kind, text[:11]) for kind, text, _ in said] == [
        ("change", "forward udp"),
        ("seen", "forward tcp"),
    ]


def test_the_port_that_the_kernel_chose_is_told_when_it_is_known(changes: NetworkChanges, said: Said) -> None:
    changes.hear(line("hostfwd_add u1 tcp:127.0.0.1:0-:22"))
    changes.compare_forwards(parse_usernet(stacks()), parse_usernet(stacks(SSH)))
    assert said == [("change", "forward tcp 127.0.0.1:2222 to 10.0.2.15:22 on u1 was added by qmon", 7)]


def test_a_port_that_never_shows_is_told_as_it_was_asked_for(changes: NetworkChanges, said: Said) -> None:
    changes.hear(line("hostfwd_add u1 tcp:127.0.0.1:0-:22"))
    looked = changes.looking("forward")
    assert said == []
    looked()
    assert said == [("change", "forward tcp:127.0.0.1:0-:22 on u1 was added by qmon", 7)]


def test_the_link_that_was_set() -> None:
    assert link_of(told("set_link", {"name": "nic1", "up": False})) == ("nic1", False)
    assert link_of(told("set_link", {"name": "nic1", "up": True})) == ("nic1", True)
    assert link_of(line("set_link nic1 on")) == ("nic1", True)
    assert link_of(line("set_link nic1 off", reply="Error: Device 'nic1' not found")) is None
    assert link_of(line("set_link nic1")) is None
    assert link_of(told("netdev_add", {"id": "u1"})) is None
    assert link_of(told("set_link", "nonsense")) is None
