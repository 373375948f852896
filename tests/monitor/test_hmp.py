"""The texts of `info network` and `info usernet`: recorded ones whole, arbitrary ones without harm."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmon.monitor.hmp import Endpoint, is_failure, parse_network, parse_usernet

FIXTURES = Path(__file__).parents[2] / "fixtures"
NETWORKS = sorted(FIXTURES.glob("*/network/*.txt"))
USERNETS = sorted(FIXTURES.glob("*/usernet/*.txt"))


def text(version: str, kind: str, scene: str) -> str:
    return (FIXTURES / version / kind / f"{scene}.txt").read_text()


def test_there_are_recordings_of_three_versions() -> None:
    assert {path.parent.parent.name.rpartition(".")[0] for path in NETWORKS} >= {"7.2", "10.0", "11.1"}


@pytest.mark.parametrize("path", NETWORKS, ids=lambda path: path.relative_to(FIXTURES).as_posix())
def test_recorded_networks_are_understood_whole(path: Path) -> None:
    recorded = path.read_text()
    network = parse_network(recorded)
    assert network.not_understood == ()
    clients = [*network.clients, *(port.client for hub in network.hubs for port in hub.ports if port.client)]
    printed = sum(line.count(": index=") for line in recorded.splitlines())
    assert sum(one.queues + (one.peer.queues if one.peer else 0) for one in clients) == printed
    filters = sum(len(one.filters) + (len(one.peer.filters) if one.peer else 0) for one in clients)
    assert filters == recorded.count("\n  - ")


@pytest.mark.parametrize("path", USERNETS, ids=lambda path: path.relative_to(FIXTURES).as_posix())
def test_recorded_connections_are_understood_whole(path: Path) -> None:
    recorded = path.read_text()
    stacks = parse_usernet(recorded)
    assert [stack.not_understood for stack in stacks] == [()] * len(stacks)
    rows = sum(1 for line in recorded.splitlines() if line.startswith("  ") and "Protocol[State]" not in line)
    assert sum(len(stack.connections) for stack in stacks) == rows


@pytest.mark.parametrize("version", sorted({path.parts[-3] for path in NETWORKS}))
class TestRecordedScenes:
    def test_hubs(self, version: str) -> None:
        network = parse_network(text(version, "network", "hubs"))
        assert {hub.id for hub in network.hubs} == {0, 7}
        ports = {
            port.id: port.client.id if port.client else None for hub in network.hubs for port in hub.ports
        }
        assert ports == {"h1": "nic1", "h2": "u1", "h3": None, "h4": "nic2", "h5": "u2"}

    def test_queues(self, version: str) -> None:
        network = parse_network(text(version, "network", "taps"))
        queues = {one.id: (one.queues, one.peer.queues if one.peer else 0) for one in network.clients}
        assert queues == {"t4": (2, 0), "nic1": (1, 1), "nic2": (3, 3), "nic3": (1, 1)}

    def test_nics(self, version: str) -> None:
        first = parse_network(text(version, "network", "anonymous")).clients[0]
        assert (first.id, first.model, first.mac) == ("e1000.0", "e1000", "52:54:00:12:34:56")
        assert first.peer is not None
        assert (first.peer.id, first.peer.type) == ("u1", "user")

    def test_filters(self, version: str) -> None:
        network = parse_network(text(version, "network", "filters-added"))
        peers = {one.peer.id: one.peer for one in network.clients if one.peer}
        assert [one.id for one in peers["u1"].filters] == ["slow", "dump1", "dump2", "rewriter1"]
        assert [one.type for one in peers["s1"].filters] == ["filter-mirror", "filter-redirector"]

    def test_forwards(self, version: str) -> None:
        stacks = parse_usernet(text(version, "usernet", "connections-boot"))
        assert [stack.netdev for stack in stacks][:2] == ["u1", "u2"]
        rows = stacks[0].connections
        assert {row.state for row in rows} == {"HOST_FORWARD"}
        assert any(row.source == Endpoint("*", 8080) and row.destination.port == 80 for row in rows)


def test_icmp_has_no_ports_and_times_have_seconds() -> None:
    (stack,) = parse_usernet(
        "Hub -1 (u1):\r\n"
        "  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\r\n"
        "  ICMP[9 sec]        21       10.0.2.15     -         1.1.1.1     -     0     0\r\n"
        "  UDP[-3 sec]        29       10.0.2.15 40867        10.0.2.3    53     0    12\r\n"
    )
    icmp, udp = stack.connections
    assert (icmp.protocol, icmp.state, icmp.expires_s, icmp.source.port) == ("ICMP", "9 sec", 9, None)
    assert (udp.expires_s, udp.send_queue) == (-3, 12)
    assert stack.hub is None


def test_what_is_not_understood_is_kept() -> None:
    assert parse_network("something new\n \\ orphan: index=0,type=user,x\n").not_understood == (
        "something new",
        " \\ orphan: index=0,type=user,x",
    )
    (stack,) = parse_usernet("  SCTP<new>  1 2 3\n")
    assert (stack.netdev, stack.not_understood) == ("", ("  SCTP<new>  1 2 3",))


lines = st.lists(
    st.one_of(
        st.text(max_size=40),
        st.sampled_from(NETWORKS + USERNETS).map(lambda path: path.read_text()),
        st.from_regex(r"( \\ )?\w{1,5}: index=\d{1,30},type=(nic|user|tap),.{0,20}", fullmatch=True),
        st.from_regex(
            r"  (TCP|UDP|ICMP)\[[^\]]{0,9}\] +-?\d{1,30} +\S+ +\d{1,30} +\S+ +- +\d+ +\d+", fullmatch=True
        ),
        st.sampled_from(
            ["filters:", "hub 1", "hub -1", " \\ p", "Hub 0 (x):", "  - f: type=filter-dump,a=b"]
        ),
    ),
    max_size=12,
).map("\n".join)


@given(lines)
def test_no_network_text_does_harm_or_loses_a_line(hostile: str) -> None:
    network = parse_network(hostile)
    given_lines = [line for line in hostile.replace("\r\n", "\n").split("\n") if line.strip()]
    clients = [*network.clients, *(port.client for hub in network.hubs for port in hub.ports if port.client)]
    filters = sum(len(one.filters) + (len(one.peer.filters) if one.peer else 0) for one in clients)
    nested = sum(1 for hub in network.hubs for port in hub.ports if port.client)
    counted = sum(one.queues + (one.peer.queues if one.peer else 0) for one in clients) - nested
    ports = sum(len(hub.ports) for hub in network.hubs)
    accounted = counted + ports + len(network.hubs) + filters + len(network.not_understood)
    assert accounted <= len(given_lines) <= accounted + given_lines.count("filters:")


@given(lines)
def test_no_usernet_text_does_harm_or_loses_a_line(hostile: str) -> None:
    stacks = parse_usernet(hostile)
    given_lines = [line for line in hostile.replace("\r\n", "\n").split("\n") if line.strip()]
    headings = sum(1 for line in given_lines if line.startswith("  Protocol[State]"))
    rows = sum(len(stack.connections) + len(stack.not_understood) for stack in stacks)
    assert rows + headings <= len(given_lines) <= rows + headings + len(stacks)


@pytest.mark.parametrize(
    "reply",
    [
        "unknown command: 'bogus'\n",
        "unrecognized netdev id 'x'\n",
        "Could not set up host forwarding rule 'tcp::22-:22'\n",
        "Invalid host forwarding rule 'tcp:x' (Bad host port)\n",
        "host forwarding rule for tcp:2222 not found\n",
        "Error: Device 'nope' not found\n",
        "user mode network stack not in use\n",
        "Expected 'on' or 'off'\nTry \"help set_link\" for more information\n",
        'unexpected end of expression\nTry "help x" for more information\n',
        "warning: 'zz' is deprecated\nPlease use zz=on\nTry \"help drive_add\" for more information",
        'unknown event "zz"\n',
        "invalid parameter: zz\n",
        "invalid CPU index\n",
        "Device 'zz' not found\n",
    ],
)
def test_known_failures(reply: str) -> None:
    assert is_failure(reply)
    assert is_failure(reply.replace("\n", "\r\n"))


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "host forwarding rule for tcp:2222 removed\n",
        "VM status: running\n",
        "none\n",
        "first\nError: a guest's words in the middle of a text\n",
        "warning: deprecated\n",
    ],
)
def test_no_failures(reply: str) -> None:
    assert not is_failure(reply)


@pytest.mark.parametrize("path", NETWORKS + USERNETS, ids=lambda path: path.relative_to(FIXTURES).as_posix())
def test_recorded_texts_are_no_failures(path: Path) -> None:
    assert not is_failure(path.read_text())
