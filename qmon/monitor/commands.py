"""Typed wrappers of the QMP commands qmon sends, each with the QEMU version that brought it.

Owns names, argument spelling and result shapes (qapi/*.json). Must never judge whether a command is wise: that
is for those who send it. All raise what `Monitor.execute` raises.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qmon.text import plain

if TYPE_CHECKING:
    from qmon.monitor.protocol import Monitor

_HMP = "human-monitor-command"


@dataclass(frozen=True, slots=True)
class Property:
    """A property of a QOM object; a `type` of ``child<X>`` or ``link<X>`` leads to another object.

    `default` is known only of a device's properties, and not of all; with a few comes a `description`.
    """

    name: str
    type: str
    default: object = None
    description: str | None = None


@dataclass(frozen=True, slots=True)
class FdSet:
    """A set of descriptors that QEMU holds for its clients: (number, opaque text) each."""

    id: int
    descriptors: tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True)
class AddedDescriptor:
    """A descriptor that QEMU now holds: `fd` is its number in the QEMU process, `fdset_id` names it."""

    fdset_id: int
    fd: int


@dataclass(frozen=True, slots=True)
class ChardevInfo:
    """A character device; `filename` says what is behind it, as QEMU words it (``pty:/dev/pts/3``)."""

    label: str
    filename: str


# Changes of the network: commands that are shown before they are sent


@dataclass(frozen=True, slots=True)
class Command:
    """A QMP command with its arguments; as text, a line for people."""

    name: str
    arguments: Mapping[str, object]

    def __str__(self) -> str:
        if self.name == _HMP:
            return f"hmp: {plain(str(self.arguments['command-line']))}"
        return f"{self.name} {plain(json.dumps(self.arguments, ensure_ascii=False))}"

    def as_qmp(self) -> dict[str, object]:
        """Return the message that QMP carries."""
        return {"execute": self.name, "arguments": dict(self.arguments)}

    async def send(self, monitor: Monitor, *, fd: int | None = None) -> Any:
        """Send it, with a descriptor of ours where it takes one, and return the result.

        That of a line of the human monitor is its text, with plain line ends.
        """
        if self.name == _HMP:
            return await monitor.hmp(str(self.arguments["command-line"]))
        return await monitor.execute(self.name, self.arguments, fd=fd)


def netdev_add(arguments: Mapping[str, object]) -> Command:
    """Add a netdev; `arguments` are those of its type, and `type` and `id` (0.14)."""
    return Command("netdev_add", arguments)


def netdev_del(netdev: str) -> Command:
    """Remove a netdev, in use or not (0.14)."""
    return Command("netdev_del", {"id": netdev})


def device_add(arguments: Mapping[str, object]) -> Command:
    """Plug a device in; `arguments` are its properties, and `driver` (0.13)."""
    return Command("device_add", arguments)


def device_del(device: str) -> Command:
    """Ask the guest to release a device, which is an id or a path in the object tree (0.14)."""
    return Command("device_del", {"id": device})


def set_link(name: str, up: bool) -> Command:
    """Plug the cable of a NIC or a netdev in, or pull it out (0.14)."""
    return Command("set_link", {"name": name, "up": up})


def getfd(name: str) -> Command:
    """Hand QEMU a copy of the descriptor that is sent with it, named for the next command that takes one (0.14)."""
    return Command("getfd", {"fdname": name})


def hostfwd_add(netdev: str, rule: str) -> Command:
    """Forward a port of the host, as ``PROTOCOL:HOST:PORT-GUEST:PORT`` says; the reply is empty, or why not (HMP)."""
    return _line(f"hostfwd_add {netdev} {rule}")


def hostfwd_remove(netdev: str, rule: str) -> Command:
    """Forward the port ``PROTOCOL:HOST:PORT`` no more; the reply says what came of it (HMP)."""
    return _line(f"hostfwd_remove {netdev} {rule}")


def _line(line: str) -> Command:
    return Command(_HMP, {"command-line": line})


# QEMU


async def query_commands(monitor: Monitor) -> frozenset[str]:
    """Return the names of the commands this QEMU has (0.14)."""
    return frozenset(str(entry["name"]) for entry in await monitor.execute("query-commands"))


async def query_qmp_schema(monitor: Monitor) -> list[dict[str, Any]]:
    """Return what `schema.Schema` reads (2.5): some 250 kB."""
    schema: list[dict[str, Any]] = await monitor.execute("query-qmp-schema")
    return schema


async def human_monitor_command(monitor: Monitor, line: str, *, timeout_s: float | None = None) -> str:
    """Run a line of the human monitor; its text with plain line ends (0.14)."""
    reply = await monitor.execute(_HMP, {"command-line": line}, timeout_s=timeout_s)
    return str(reply).replace("\r\n", "\n")


# The VM


async def query_status(monitor: Monitor) -> str:
    """Return the run state: `running`, `paused`, `prelaunch`, `shutdown`, … (0.14)."""
    return str((await monitor.execute("query-status"))["status"])


async def query_name(monitor: Monitor) -> str | None:
    """Return what `-name` gave, or None (0.14)."""
    name = (await monitor.execute("query-name")).get("name")
    return None if name is None else str(name)


async def cont(monitor: Monitor) -> None:
    """Have the VM go on (0.14)."""
    await monitor.execute("cont")


# The network


async def x_query_network(monitor: Monitor) -> str:
    """Return the text of `info network` (after 11.1)."""
    return _text(await monitor.execute("x-query-network"))


async def x_query_usernet(monitor: Monitor) -> str:
    """Return the text of `info usernet` (after 11.1)."""
    return _text(await monitor.execute("x-query-usernet"))


def _text(reply: dict[str, str]) -> str:
    return reply["human-readable-text"].replace("\r\n", "\n")


async def device_list_properties(monitor: Monitor, model: str) -> tuple[Property, ...]:
    """Return the properties of a model of devices (1.2)."""
    return _properties(await monitor.execute("device-list-properties", {"typename": model}))


# The object tree


async def qom_list(monitor: Monitor, path: str) -> tuple[Property, ...]:
    """Return the properties of the object at `path` (1.2)."""
    return _properties(await monitor.execute("qom-list", {"path": path}))


def _properties(listed: list[dict[str, Any]]) -> tuple[Property, ...]:
    return tuple(
        Property(
            entry["name"], entry["type"], entry.get("default-value"), _text_or_none(entry.get("description"))
        )
        for entry in listed
    )


def _text_or_none(value: object) -> str | None:
    return None if value is None else str(value)


async def qom_get(monitor: Monitor, path: str, name: str) -> Any:
    """Return the value of a property (1.2)."""
    return await monitor.execute("qom-get", {"path": path, "property": name})


async def object_del(monitor: Monitor, name: str, *, timeout_s: float | None = None) -> None:
    """Remove an object that was added by `object-add` or `-object` (2.0)."""
    await monitor.execute("object-del", {"id": name}, timeout_s=timeout_s)


async def add_dump(monitor: Monitor, name: str, *, netdev: str, queue: str, file: str, maxlen: int) -> None:
    """Add a filter that writes a netdev's frames to a file as pcap, of each at most `maxlen` bytes (2.5).

    With `queue` ``rx`` what the NIC sends, with ``tx`` what it receives.
    """
    properties = {"netdev": netdev, "queue": queue, "file": file, "maxlen": maxlen}
    await monitor.execute("object-add", {"qom-type": "filter-dump", "id": name, **properties})


async def add_mirror(
    monitor: Monitor, name: str, *, netdev: str, outdev: str, queue: str | None = None
) -> None:
    """Add a filter that copies a netdev's frames, both ways or those of one `queue`, to the chardev `outdev` (2.6)."""
    properties = {"netdev": netdev, "outdev": outdev} | ({} if queue is None else {"queue": queue})
    await monitor.execute("object-add", {"qom-type": "filter-mirror", "id": name, **properties})


async def add_redirector(
    monitor: Monitor, name: str, *, netdev: str, indev: str, queue: str, position: str
) -> None:
    """Add a filter that puts what comes from the chardev `indev` on a netdev's wire, and takes nothing away (2.6).

    With `queue` ``tx`` it goes to the NIC, with ``rx`` to the netdev; `position`: ``head``, ``tail`` (5.0).
    """
    properties = {"netdev": netdev, "indev": indev, "queue": queue, "position": position}
    await monitor.execute("object-add", {"qom-type": "filter-redirector", "id": name, **properties})


# What QEMU writes to and reads from


async def chardev_remove(monitor: Monitor, chardev_id: str, *, timeout_s: float | None = None) -> None:
    """Remove a chardev that nothing uses (1.4)."""
    await monitor.execute("chardev-remove", {"id": chardev_id}, timeout_s=timeout_s)


async def query_chardev(monitor: Monitor) -> tuple[ChardevInfo, ...]:
    """Return the character devices (0.14)."""
    listed = await monitor.execute("query-chardev")
    return tuple(ChardevInfo(str(entry["label"]), str(entry["filename"])) for entry in listed)


async def chardev_add_file(monitor: Monitor, chardev_id: str, path: str) -> None:
    """Make a chardev of a file, which QEMU opens for writing (1.4)."""
    await monitor.execute(
        "chardev-add", {"id": chardev_id, "backend": {"type": "file", "data": {"out": path}}}
    )


async def chardev_add_listener(monitor: Monitor, chardev_id: str, host: str) -> None:
    """Make a chardev that listens on a TCP port of the kernel's choice, and waits for nobody (1.4)."""
    where = {"type": "inet", "data": {"host": host, "port": "0"}}
    backend = {"type": "socket", "data": {"addr": where, "server": True, "wait": False}}
    await monitor.execute("chardev-add", {"id": chardev_id, "backend": backend})


async def chardev_add_descriptor(monitor: Monitor, chardev_id: str, fd_name: str) -> None:
    """Make a chardev of a connected socket that was passed by `getfd` under that name (1.4)."""
    await _chardev_add_socket(monitor, chardev_id, {"type": "fd", "data": {"str": fd_name}})


async def chardev_add_unix(monitor: Monitor, chardev_id: str, path: str) -> None:
    """Make a chardev that connects to the unix socket at `path` now, and never again (1.4)."""
    await _chardev_add_socket(monitor, chardev_id, {"type": "unix", "data": {"path": path}})


async def closefd(monitor: Monitor, name: str) -> None:
    """Have QEMU close a descriptor that was passed by `getfd` and not taken by any command (0.14)."""
    await monitor.execute("closefd", {"fdname": name})


async def add_fd(
    monitor: Monitor, fd: int, *, opaque: str, timeout_s: float | None = None
) -> AddedDescriptor:
    """Hand QEMU a copy of our descriptor `fd`, with a text to know it by (1.2)."""
    added = await monitor.execute("add-fd", {"opaque": opaque}, timeout_s=timeout_s, fd=fd)
    return AddedDescriptor(int(added["fdset-id"]), int(added["fd"]))


async def query_fdsets(monitor: Monitor) -> tuple[FdSet, ...]:
    """Return the descriptors that QEMU holds for its clients (1.2)."""
    sets = await monitor.execute("query-fdsets")
    return tuple(
        FdSet(entry["fdset-id"], tuple((int(fd["fd"]), str(fd.get("opaque", ""))) for fd in entry["fds"]))
        for entry in sets
    )


async def remove_fd(monitor: Monitor, fdset_id: int, fd: int | None = None) -> None:
    """Close a descriptor of a set, or all of them; what was opened from it by name goes on (1.2)."""
    one = {} if fd is None else {"fd": fd}
    await monitor.execute("remove-fd", {"fdset-id": fdset_id, **one})


async def _chardev_add_socket(monitor: Monitor, chardev_id: str, address: dict[str, object]) -> None:
    backend = {"type": "socket", "data": {"addr": address, "server": False}}
    await monitor.execute("chardev-add", {"id": chardev_id, "backend": backend})
