"""A `Watch` of fixed data for tests: nothing is attached to anything, and every call is written down."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from qmon.capture.following import MonitorState
from qmon.capture.vm import TapState
from qmon.monitor.hmp import Endpoint, UsernetConnection, UsernetStack
from qmon.network.model import Filter, Netdev, Network, Nic
from qmon.packets.batch import Interface
from qmon.packets.store.packet_store import PacketStore
from qmon.snapshot import Snapshot, TimelineEntry
from tests.tui.frames import START_NS, Frame, batch, demo_traffic

NETWORK = Network(
    netdevs=(
        Netdev("u1", "user", "net=10.0.2.0,restrict=off", nic="nic1"),
        Netdev(
            "t0", "tap", "ifname=tap0,script=no", nic="nic2", filters=(Filter("f0", "filter-buffer", "t0"),)
        ),
        Netdev("spare", "user", "net=10.0.3.0,restrict=off"),
    ),
    nics=(
        Nic("nic1", "virtio-net-pci", "52:54:00:12:34:56", "u1", path="/machine/peripheral/nic1"),
        Nic("nic2", "e1000", "52:54:00:12:34:57", "t0", path="/machine/peripheral/nic2", link_up=False),
    ),
)
USERNET = (
    UsernetStack(
        "u1",
        None,
        (
            UsernetConnection(
                "TCP", "HOST_FORWARD", None, 14, Endpoint("127.0.0.1", 2222), Endpoint("10.0.2.15", 22), 0, 0
            ),
            UsernetConnection(
                "TCP",
                "ESTABLISHED",
                None,
                21,
                Endpoint("10.0.2.15", 40003),
                Endpoint("10.0.2.2", 8080),
                0,
                120,
            ),
            UsernetConnection(
                "UDP", "239 sec", 239, 22, Endpoint("10.0.2.15", 50001), Endpoint("10.0.2.3", 53), 0, 0
            ),
        ),
    ),
)
TIMELINE = (
    TimelineEntry(0, START_NS, "tap", "u1 is captured"),
    TimelineEntry(1, START_NS + 2_000_000, "tap", "t0 is captured"),
    TimelineEntry(2, START_NS + 1_250_000_000, "event", "RESUME"),
    TimelineEntry(3, START_NS + 4_250_000_000, "change", "set_link nic2 down"),
    TimelineEntry(4, START_NS + 4_260_000_000, "event", "NIC_RX_FILTER_CHANGED name=nic1, path=/machine/…"),
)
SNAPSHOT = Snapshot(
    version=1,
    name="demo",
    pid=4711,
    address="unix:/run/user/1000/demo.sock",
    qemu_version="10.0.2",
    monitor=MonitorState.CONNECTED,
    monitor_note="",
    run_state="running",
    network=NETWORK,
    usernet=USERNET,
    taps=(TapState("u1", 0), TapState("t0", 1)),
    not_tapped=(("spare", "the netdev is plugged into nothing"),),
    timeline=TIMELINE,
    packets=0,
    bytes=0,
    dropped=0,
)


@dataclass
class ScriptedSession:
    """Answers what it was told to; remembers what it was asked."""

    replies: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    async def hmp(self, line: str, *, timeout_s: float | None = None) -> str:
        self.asked.append(line)
        return self.replies.get(line, "")

    async def execute(
        self,
        command: str,
        arguments: dict[str, Any] | None = None,
        *,
        timeout_s: float | None = None,
        fd: int | None = None,
    ) -> Any:
        self.asked.append(f"{command} {arguments}" if arguments else command)
        return {"status": "running"} if command == "query-status" else {}

    async def commands(self) -> frozenset[str]:
        return frozenset({"query-status", "netdev_add", "netdev_del"})


class ScriptedWatch:
    """Has what the dashboard asks of a `Watch`. `arrive` puts packets in, `change` changes the snapshot."""

    def __init__(self, snapshot: Snapshot = SNAPSHOT, *, interfaces: tuple[str, ...] = ("u1", "t0")) -> None:
        self.store = PacketStore()
        for name in interfaces:
            self.store.add_interface(Interface(name))
        self.session: Any = ScriptedSession({"info status": "VM status: running\r\n"})
        self.calls: list[tuple[Any, ...]] = []
        self._snapshot = snapshot
        self._coming: list[Any] = []

    def arrive(self, frames: tuple[Frame, ...] | None = None, interface: int = 0) -> None:
        self._coming.append(batch(demo_traffic() if frames is None else frames, interface))

    def change(self, **fields: Any) -> None:
        self._snapshot = replace(self._snapshot, version=self._snapshot.version + 1, **fields)

    def poll(self) -> int:
        count = sum(len(one) for one in self._coming)
        for one in self._coming:
            self.store.append(one)
        self._coming.clear()
        return count

    def snapshot(self) -> Snapshot:
        return replace(self._snapshot, packets=self.store.packets, bytes=self.store.bytes)

    async def tap(self, netdev: str) -> None:
        self.calls.append(("tap", netdev))

    async def untap(self, netdev: str) -> None:
        self.calls.append(("untap", netdev))

    def refresh(self) -> None:
        self.calls.append(("refresh",))

    def log(self, kind: str, text: str, *, time_ns: int | None = None) -> None:
        self.calls.append(("log", kind, text))

    def note_link(self, nic: str, up: bool) -> None:
        self.calls.append(("note_link", nic, up))
