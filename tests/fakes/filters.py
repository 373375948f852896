"""Netdevs and dump filters of a fake monitor: they write to the memory that qmon passes, as QEMU's do.

network = FakeNetwork(fake_monitor, "u1")
network.write("u1", Direction.OUT, b"frame")   a frame that the guest sends: every filter on it writes a record
network.remove(id)                             as when another client removes a filter
network.add("u2"); network.delete("u1")        netdevs come and go
"""

import os
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from qmon.packets.batch import Direction
from tests.fakes.monitor import FakeMonitor, Refusal

FILE_HEADER = struct.pack("=IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65536, 1)
_QUEUES = {Direction.OUT: "rx", Direction.IN: "tx"}


@dataclass
class FakeFilter:
    """A filter-dump: `fd` is QEMU's own descriptor; `stopped` after a write that failed, as QEMU stops for good."""

    netdev: str
    queue: str
    fd: int
    stopped: bool = False


@dataclass
class FakeNetwork:
    """What the VM of a fake monitor has; `clock_ns` is what its stamps are behind the host's time."""

    monitor: FakeMonitor
    netdevs: list[str] = field(default_factory=list)
    clock_ns: int = 3 * 86_400 * 10**9
    filters: dict[str, FakeFilter] = field(default_factory=dict)
    chardevs: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        answers = {
            "object-add": self._object_add,
            "object-del": self._object_del,
            "chardev-add": self._chardev_add,
            "chardev-remove": lambda arguments: self.chardevs.discard(arguments["id"]) or {},
            "query-chardev": lambda _: [
                {"label": one, "filename": "", "frontend-open": True} for one in self.chardevs
            ],
            "qom-list": self._qom_list,
            "qom-get": lambda _: "",
        }
        for command, answer in answers.items():
            self.monitor.answer(command, answer)
        self._tell()

    def add(self, netdev: str) -> None:
        """A netdev appears."""
        self.netdevs.append(netdev)
        self._tell()

    def delete(self, netdev: str) -> None:
        """A netdev goes, and its filters with it."""
        self.netdevs.remove(netdev)
        for name in [name for name, one in self.filters.items() if one.netdev == netdev]:
            self.remove(name)
        self._tell()

    def remove(self, name: str) -> None:
        """A filter is removed by somebody."""
        os.close(self.filters.pop(name).fd)
        self._tell()

    def write(self, netdev: str, direction: Direction, *frames: bytes) -> None:
        """Frames pass: every filter on that way writes them at once."""
        for one in self.filters.values():
            if one.netdev == netdev and one.queue == _QUEUES[direction] and not one.stopped:
                self._write(one, frames)

    def _write(self, one: FakeFilter, frames: tuple[bytes, ...]) -> None:
        for frame in frames:
            stamp = time.time_ns() - self.clock_ns
            record = struct.pack("=IIII", stamp // 10**9, stamp % 10**9 // 1000, len(frame), len(frame))
            try:
                os.write(one.fd, record + frame)
            except PermissionError:
                one.stopped = True
                return

    def close(self) -> None:
        """End, as QEMU does: its descriptors are closed."""
        for one in self.filters.values():
            os.close(one.fd)
        self.filters.clear()

    def _tell(self) -> None:
        lines = []
        for netdev in self.netdevs:
            lines.append(f"{netdev}: index=0,type=user,net=10.0.2.0,restrict=off")
            mine = [
                f"  - {name}: type=filter-dump" for name, one in self.filters.items() if one.netdev == netdev
            ]
            lines += ["filters:", *mine] if mine else []
        self.monitor.hmp("info network", "".join(line + "\n" for line in lines))
        self.monitor.hmp("info usernet", "")

    def _object_add(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        if arguments["netdev"] not in self.netdevs:
            raise Refusal("Parameter 'netdev' expects a network backend id")
        if arguments["qom-type"] == "filter-mirror":
            raise Refusal(f"Device '{arguments['outdev']}' not found", "DeviceNotFound")
        fd = os.open(arguments["file"], os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
        os.write(fd, FILE_HEADER)
        self.filters[arguments["id"]] = FakeFilter(arguments["netdev"], arguments["queue"], fd)
        self._tell()
        return {}

    def _object_del(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        if arguments["id"] not in self.filters:
            raise Refusal(f"object '{arguments['id']}' not found")
        self.remove(arguments["id"])
        return {}

    def _chardev_add(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        os.close(os.open(arguments["backend"]["data"]["out"], os.O_WRONLY | os.O_CLOEXEC))
        self.chardevs.add(arguments["id"])
        return {}

    def _qom_list(self, arguments: Mapping[str, Any]) -> list[dict[str, str]]:
        if arguments["path"] != "/objects":
            return []
        return [{"name": name, "type": "child<filter-dump>"} for name in self.filters]
