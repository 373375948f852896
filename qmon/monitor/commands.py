"""Typed wrappers of the QMP commands qmon sends, each with the QEMU version that brought it.

Owns names, argument spelling and result shapes (qapi/*.json). Must never judge whether a command is wise: that
is for those who send it. All raise what `Session.execute` raises.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qmon.monitor.session import Session

Arguments = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Property:
    """A property of a QOM object; a `type` of ``child<X>`` or ``link<X>`` leads to another object."""

    name: str
    type: str


@dataclass(frozen=True, slots=True)
class FdSet:
    """A set of descriptors that QEMU holds for its clients: (number, opaque text) each."""

    id: int
    descriptors: tuple[tuple[int, str], ...]


# The VM


async def query_status(session: Session) -> str:
    """Return the run state: `running`, `paused`, `prelaunch`, `shutdown`, … (0.14)."""
    return str((await session.execute("query-status"))["status"])


async def query_name(session: Session) -> str | None:
    """Return what `-name` gave, or None (0.14)."""
    name = (await session.execute("query-name")).get("name")
    return None if name is None else str(name)


async def stop(session: Session) -> None:
    """Pause the VM's processors and its virtual clock (0.14)."""
    await session.execute("stop")


async def cont(session: Session) -> None:
    """Let the VM go on, or start when it was begun with -S (0.14)."""
    await session.execute("cont")


async def announce_self(session: Session) -> None:
    """Have every NIC send a packet that says where it is; needs no guest (4.0)."""
    times = {"initial": 50, "max": 50, "rounds": 1, "step": 50}
    await session.execute("announce-self", times)


async def quit_vm(session: Session) -> None:
    """End QEMU at once; its SHUTDOWN event comes before the reply (0.14)."""
    await session.execute("quit")


# The object tree


async def qom_list(session: Session, path: str) -> tuple[Property, ...]:
    """Return the properties of the object at `path` (1.2)."""
    listed = await session.execute("qom-list", {"path": path})
    return tuple(Property(str(entry["name"]), str(entry["type"])) for entry in listed)


async def qom_get(session: Session, path: str, name: str) -> Any:
    """Return the value of a property (1.2)."""
    return await session.execute("qom-get", {"path": path, "property": name})


async def qom_set(session: Session, path: str, name: str, value: object) -> None:
    """Set a property (1.2)."""
    await session.execute("qom-set", {"path": path, "property": name, "value": value})


async def object_add(session: Session, qom_type: str, object_id: str, properties: Arguments) -> None:
    """Make an object at ``/objects/ID``; properties beside `qom-type` and `id`, as since 6.0 (2.0)."""
    await session.execute("object-add", {"qom-type": qom_type, "id": object_id, **properties})


async def object_del(session: Session, object_id: str) -> None:
    """Remove an object made by `object_add` or `-object` (2.0)."""
    await session.execute("object-del", {"id": object_id})


async def device_list_properties(session: Session, driver: str) -> tuple[Property, ...]:
    """Return the properties of a device model; loads that model's module only (1.2)."""
    listed = await session.execute("device-list-properties", {"typename": driver})
    return tuple(Property(str(entry["name"]), str(entry["type"])) for entry in listed)


# The network


async def netdev_add(session: Session, arguments: Arguments) -> None:
    """Add a backend: `type`, `id` and what its type takes, typed as the schema says (0.14)."""
    await session.execute("netdev_add", arguments)


async def netdev_del(session: Session, netdev_id: str) -> None:
    """Remove a backend; one in use goes too, and its NIC stays behind dead (0.14)."""
    await session.execute("netdev_del", {"id": netdev_id})


async def device_add(session: Session, arguments: Arguments) -> None:
    """Plug in a device: `driver`, `id`, `bus` and the device's own properties (0.13)."""
    await session.execute("device_add", arguments)


async def device_del(session: Session, device: str) -> None:
    """Ask the guest to let a device go, by id or QOM path; DEVICE_DELETED comes when it has (0.14)."""
    await session.execute("device_del", {"id": device})


async def set_link(session: Session, name: str, up: bool) -> None:
    """Set the link of a NIC or a backend; it cannot be read back (0.14)."""
    await session.execute("set_link", {"name": name, "up": up})


async def query_rx_filter(session: Session, nic: str) -> Mapping[str, Any]:
    """Return a NIC's receive filter; only virtio-net has one (1.6)."""
    found = (await session.execute("query-rx-filter", {"name": nic}))[0]
    assert isinstance(found, dict)
    return found


# What QEMU writes to


async def chardev_add_file(session: Session, chardev_id: str, path: str) -> None:
    """Have QEMU open a file for writing, with its own rights (1.4)."""
    backend = {"type": "file", "data": {"out": path}}
    await session.execute("chardev-add", {"id": chardev_id, "backend": backend})


async def chardev_remove(session: Session, chardev_id: str) -> None:
    """Remove a chardev that nothing uses (1.4)."""
    await session.execute("chardev-remove", {"id": chardev_id})


async def query_fdsets(session: Session) -> tuple[FdSet, ...]:
    """Return the descriptors that QEMU holds for its clients (1.2)."""
    sets = await session.execute("query-fdsets")
    return tuple(
        FdSet(entry["fdset-id"], tuple((int(fd["fd"]), str(fd.get("opaque", ""))) for fd in entry["fds"]))
        for entry in sets
    )


async def remove_fd(session: Session, fdset_id: int) -> None:
    """Close the descriptors of a set; what was opened from them by name goes on (1.2)."""
    await session.execute("remove-fd", {"fdset-id": fdset_id})
