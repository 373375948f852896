"""Typed wrappers of the QMP commands qmon sends, each with the QEMU version that brought it.

Owns names, argument spelling and result shapes (qapi/*.json). Must never judge whether a command is wise: that
is for those who send it. All raise what `Session.execute` raises.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qmon.monitor.session import Session


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


async def cont(session: Session) -> None:
    """Have the VM go on (0.14)."""
    await session.execute("cont")


# The object tree


async def qom_list(session: Session, path: str) -> tuple[Property, ...]:
    """Return the properties of the object at `path` (1.2)."""
    listed = await session.execute("qom-list", {"path": path})
    return tuple(Property(str(entry["name"]), str(entry["type"])) for entry in listed)


async def qom_get(session: Session, path: str, name: str) -> Any:
    """Return the value of a property (1.2)."""
    return await session.execute("qom-get", {"path": path, "property": name})


async def object_del(session: Session, name: str, *, timeout_s: float | None = None) -> None:
    """Remove an object that was added by `object-add` or `-object` (2.0)."""
    await session.execute("object-del", {"id": name}, timeout_s=timeout_s)


async def add_redirector(
    session: Session, name: str, *, netdev: str, indev: str, queue: str, position: str
) -> None:
    """Add a filter that puts what comes from the chardev `indev` on a netdev's wire, and takes nothing away (2.6).

    With `queue` ``tx`` it goes to the NIC, with ``rx`` to the netdev; `position`: ``head``, ``tail`` (5.0).
    """
    properties = {"netdev": netdev, "indev": indev, "queue": queue, "position": position}
    await session.execute("object-add", {"qom-type": "filter-redirector", "id": name, **properties})


# What QEMU writes to and reads from


async def chardev_remove(session: Session, chardev_id: str, *, timeout_s: float | None = None) -> None:
    """Remove a chardev that nothing uses (1.4)."""
    await session.execute("chardev-remove", {"id": chardev_id}, timeout_s=timeout_s)


async def chardev_add_descriptor(session: Session, chardev_id: str, fd_name: str) -> None:
    """Make a chardev of a connected socket that was passed by `getfd` under that name (1.4)."""
    await _chardev_add_socket(session, chardev_id, {"type": "fd", "data": {"str": fd_name}})


async def chardev_add_unix(session: Session, chardev_id: str, path: str) -> None:
    """Make a chardev that connects to the unix socket at `path` now, and never again (1.4)."""
    await _chardev_add_socket(session, chardev_id, {"type": "unix", "data": {"path": path}})


async def getfd(session: Session, fd: int, name: str) -> None:
    """Hand QEMU a copy of our descriptor `fd` under a name, for the next command that takes one (0.14)."""
    await session.execute("getfd", {"fdname": name}, fd=fd)


async def closefd(session: Session, name: str) -> None:
    """Have QEMU close a descriptor that was passed by `getfd` and not taken by any command (0.14)."""
    await session.execute("closefd", {"fdname": name})


async def query_fdsets(session: Session) -> tuple[FdSet, ...]:
    """Return the descriptors that QEMU holds for its clients (1.2)."""
    sets = await session.execute("query-fdsets")
    return tuple(
        FdSet(entry["fdset-id"], tuple((int(fd["fd"]), str(fd.get("opaque", ""))) for fd in entry["fds"]))
        for entry in sets
    )


async def remove_fd(session: Session, fdset_id: int, fd: int) -> None:
    """Close a descriptor of a set; what was opened from it by name goes on (1.2)."""
    await session.execute("remove-fd", {"fdset-id": fdset_id, "fd": fd})


async def _chardev_add_socket(session: Session, chardev_id: str, address: dict[str, object]) -> None:
    backend = {"type": "socket", "data": {"addr": address, "server": False}}
    await session.execute("chardev-add", {"id": chardev_id, "backend": backend})
