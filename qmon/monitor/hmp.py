"""What the human monitor prints, as records. Pure: text in, records out, never an exception.

Owns the grammar of `info network` (net/net.c, net/hub.c, net/filter.c), `info usernet` (libslirp's
`slirp_connection_info`) and the list of replies that are failures. Must never drop a line: what is not
understood is handed on as it came.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_CLIENT = re.compile(r"(?P<id>.*?): index=(?P<index>\d{1,18}),type=(?P<type>[\w-]+),(?P<info>.*)")
_HUB = re.compile(r"hub (?P<number>-?\d{1,18})")
_PORT = re.compile(r" \\ (?P<port>[^:]*)(?:: (?P<client>.+))?")
_FILTER = re.compile(r"  - (?P<id>.*?): type=(?P<type>[\w-]+)(?:,(?P<properties>.*))?")
_STACK = re.compile(r"Hub (?P<hub>-?\d{1,18}) \((?P<id>.*)\):")
_ROW = re.compile(
    r"  (?P<protocol>\w+)\[(?P<state>[^\]]*)\] +(?P<fd>-?\d{1,18}) +(?P<source>\S+) +(?P<source_port>\d{1,18}|-)"
    r" +(?P<destination>\S+) +(?P<destination_port>\d{1,18}|-) +(?P<received>\d{1,18}) +(?P<sent>\d{1,18})"
)
_SECONDS = re.compile(r"(-?\d{1,18}) sec")
_NIC_INFO = re.compile(r"model=(?P<model>[^,]*),macaddr=(?P<mac>[0-9A-Fa-f:]{17})")
_HEADING = "  Protocol[State]"

# First lines of replies that report a failure (monitor/hmp.c, monitor/hmp-cmds.c, net/slirp.c, net/net-hmp-cmds.c).
_FAILURES = re.compile(
    r"Error: |unknown command: |unrecognized netdev id |unrecognized hub id|invalid format$|"
    r"Could not set up host forwarding rule |Invalid host forwarding rule |host forwarding rule for .* not found$|"
    r"user mode network stack not in use|This command is currently not available|"
    r"Command .* (?:is )?not (?:available|supported)|unknown event |invalid parameter: |invalid CPU index$|"
    r"Device '.*' not found$|Must specify |'.*' is not a valid char driver$|"
    r".*: (?:extraneous characters at the end of line|string expected|filename expected|"
    r"block device name expected|unsupported option -)"
)
# What HMP adds to its complaints about the words of a line.
_ADVICE = re.compile(r'Try "help .*" for more information')


@dataclass(frozen=True, slots=True)
class NetClient:
    """One network client of QEMU's (a NIC or a backend) as printed, with all its `queues`.

    `info` is cut by QEMU at 255 characters. `peer` is what a NIC is plugged into; of a client in a hub's port the hub
    tells that.
    """

    id: str
    type: str
    info: str
    queues: int = 1
    filters: tuple[FilterText, ...] = ()
    peer: NetClient | None = None

    @property
    def model(self) -> str | None:
        """A NIC's model (`e1000`), None for a backend."""
        match = _NIC_INFO.match(self.info)
        return match["model"] if match else None

    @property
    def mac(self) -> str | None:
        """A NIC's address as QEMU spells it, None for a backend."""
        match = _NIC_INFO.match(self.info)
        return match["mac"] if match else None


@dataclass(frozen=True, slots=True)
class FilterText:
    """A filter as printed; `properties` cannot be split safely, since QEMU does not escape their values."""

    id: str
    type: str
    properties: str


@dataclass(frozen=True, slots=True)
class HubPortText:
    """A port of a hub; `id` is the netdev that the port is, `client` what is plugged into it."""

    id: str
    client: NetClient | None


@dataclass(frozen=True, slots=True)
class HubText:
    """A hub; `id` is its number."""

    id: int
    ports: tuple[HubPortText, ...]


@dataclass(frozen=True, slots=True)
class NetworkText:
    """`info network`: clients in the order printed, hubs, and the lines that were not understood."""

    clients: tuple[NetClient, ...]
    hubs: tuple[HubText, ...]
    not_understood: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address as QEMU prints it (``*`` for every one of the host's), and a port (None for ICMP)."""

    address: str
    port: int | None


@dataclass(frozen=True, slots=True)
class UsernetConnection:
    """A row of `info usernet`. `state` is the label in brackets, `expires_s` its seconds where it is a time.

    `fd` is a descriptor of the QEMU process. A forward has the state HOST_FORWARD, the host's side as source and
    the guest's as destination.
    """

    protocol: str
    state: str
    expires_s: int | None
    fd: int
    source: Endpoint
    destination: Endpoint
    recv_queue: int
    send_queue: int

    @property
    def is_forward(self) -> bool:
        """Tell whether this is a host forward that waits, rather than a connection."""
        return self.state == "HOST_FORWARD"


@dataclass(frozen=True, slots=True)
class UsernetStack:
    """One user-mode stack; `hub` is None where the netdev is on no hub."""

    netdev: str
    hub: int | None
    connections: tuple[UsernetConnection, ...]
    not_understood: tuple[str, ...] = ()


@dataclass
class _Open:
    """A client being read: filters and the peer follow on later lines."""

    id: str
    type: str
    info: str
    queues: int = 1
    filters: list[FilterText] = field(default_factory=list)
    peer: _Open | None = None

    def closed(self) -> NetClient:
        peer = self.peer.closed() if self.peer else None
        return NetClient(self.id, self.type, self.info, self.queues, tuple(self.filters), peer)


@dataclass
class _Hub:
    number: int
    ports: list[tuple[str, _Open | None]] = field(default_factory=list)


class _NetworkReader:
    def __init__(self) -> None:
        self.clients: list[_Open] = []
        self.hubs: list[_Hub] = []
        self.strange: list[str] = []
        self._hub: _Hub | None = None
        self._latest: _Open | None = None
        self._in_filters = False

    def line(self, line: str) -> None:
        if line == "filters:" and self._latest is not None:
            self._in_filters = True
        elif self._in_filters and self._latest is not None and (match := _FILTER.fullmatch(line)):
            self._latest.filters.append(FilterText(match["id"], match["type"], match["properties"] or ""))
        elif match := _HUB.fullmatch(line):
            self._begin(_Hub(int(match["number"])))
        elif self._hub is not None and (match := _PORT.fullmatch(line)):
            self._port(self._hub, match, line)
        elif line.startswith(" \\ ") and (match := _CLIENT.fullmatch(line[3:])):
            self._peer(match, line)
        elif not line.startswith(" ") and (match := _CLIENT.fullmatch(line)):
            self._client(match)
        else:
            self.strange.append(line)

    def _begin(self, hub: _Hub) -> None:
        self.hubs.append(hub)
        self._hub, self._latest, self._in_filters = hub, None, False

    def _port(self, hub: _Hub, match: re.Match[str], line: str) -> None:
        client = _CLIENT.fullmatch(match["client"]) if match["client"] else None
        if match["client"] and client is None:
            self.strange.append(line)
            return
        opened = _Open(client["id"], client["type"], client["info"]) if client else None
        hub.ports.append((match["port"], opened))
        self._latest, self._in_filters = opened, False

    def _peer(self, match: re.Match[str], line: str) -> None:
        if not self.clients or self._hub is not None:
            self.strange.append(line)
            return
        owner = self.clients[-1]
        if owner.peer is not None and owner.peer.id == match["id"]:
            owner.peer.queues += 1
        elif owner.peer is None:
            owner.peer = _Open(match["id"], match["type"], match["info"])
        else:
            self.strange.append(line)
            return
        self._latest, self._in_filters = owner.peer, False

    def _client(self, match: re.Match[str]) -> None:
        self._hub, self._in_filters = None, False
        latest = self.clients[-1] if self.clients else None
        # QEMU prints a line a queue, with growing numbers; a backend that is not plugged in shows them all as 0.
        same = latest is not None and (latest.id, latest.type) == (match["id"], match["type"])
        if latest is not None and same and (match["index"] != "0" or match["info"] == latest.info):
            latest.queues += 1
        else:
            latest = _Open(match["id"], match["type"], match["info"])
            self.clients.append(latest)
        self._latest = latest


def parse_network(text: str) -> NetworkText:
    """Read the text of `info network`."""
    reader = _NetworkReader()
    for line in _lines(text):
        reader.line(line)
    hubs = tuple(
        HubText(
            hub.number, tuple(HubPortText(port, one.closed() if one else None) for port, one in hub.ports)
        )
        for hub in reader.hubs
    )
    return NetworkText(tuple(one.closed() for one in reader.clients), hubs, tuple(reader.strange))


def parse_usernet(text: str) -> tuple[UsernetStack, ...]:
    """Read the text of `info usernet`; lines before the first stack belong to one without a name."""
    stacks: list[tuple[str, int | None, list[UsernetConnection], list[str]]] = []
    for line in _lines(text):
        if match := _STACK.fullmatch(line):
            hub = int(match["hub"])
            stacks.append((match["id"], None if hub < 0 else hub, [], []))
            continue
        if not stacks:
            stacks.append(("", None, [], []))
        if match := _ROW.fullmatch(line):
            stacks[-1][2].append(_connection(match))
        elif not line.startswith(_HEADING):
            stacks[-1][3].append(line)
    return tuple(UsernetStack(id_, hub, tuple(rows), tuple(strange)) for id_, hub, rows, strange in stacks)


def _connection(match: re.Match[str]) -> UsernetConnection:
    seconds = _SECONDS.fullmatch(match["state"])
    return UsernetConnection(
        protocol=match["protocol"],
        state=match["state"],
        expires_s=int(seconds[1]) if seconds else None,
        fd=int(match["fd"]),
        source=_endpoint(match["source"], match["source_port"]),
        destination=_endpoint(match["destination"], match["destination_port"]),
        recv_queue=int(match["received"]),
        send_queue=int(match["sent"]),
    )


def _endpoint(address: str, port: str) -> Endpoint:
    return Endpoint(address, None if port == "-" else int(port))


def _lines(text: str) -> Iterator[str]:
    return (line for line in text.replace("\r\n", "\n").split("\n") if line.strip())


def is_failure(reply: str) -> bool:
    """Tell whether an HMP reply is known to report a failure; HMP itself has no sign for it."""
    lines = [line for line in _lines(reply) if not line.startswith("warning: ")]
    return bool(lines) and bool(_FAILURES.match(lines[0]) or _ADVICE.fullmatch(lines[-1]))
