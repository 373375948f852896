"""What qmon says to a monitor, one story each: recorded from every QEMU, and told again to the recordings.

A story must send the same each time it gets the same answers. Its VM has netdev `u1` (user) and NIC `nic1`.
"""

import os
from collections.abc import Awaitable, Callable
from contextlib import suppress

from qmon.errors import Refused
from qmon.monitor import commands
from qmon.monitor.session import Session

Story = Callable[[Session], Awaitable[None]]
VM_ARGUMENTS = ("-netdev", "user,id=u1", "-device", "virtio-net-pci,id=nic1,netdev=u1")


async def look(session: Session) -> None:
    """Only questions."""
    assert await commands.query_status(session) == "running"
    assert await commands.query_name(session) == "lab"
    assert "netdev_add" in await session.commands()
    assert "nic1" in await session.hmp("info network")
    assert "u1" in await session.hmp("info usernet")
    assert "unknown command" in await session.hmp("bogus")
    assert any(found.name == "nic1" for found in await commands.qom_list(session, "/machine/peripheral"))
    assert await commands.qom_get(session, "/machine/peripheral/nic1", "netdev") == "u1"
    listed = await session.execute("device-list-properties", {"typename": "e1000"})
    assert any(found["name"] == "mac" for found in listed)
    assert (await session.execute("query-rx-filter", {"name": "nic1"}))[0]["name"] == "nic1"
    assert await commands.query_fdsets(session) == ()


async def change(session: Session) -> None:
    """Plug, forward, set a link, pause; two refusals."""
    forwards = [{"str": "tcp:127.0.0.1:9022-:22"}]
    await session.execute("netdev_add", {"type": "user", "id": "u2", "hostfwd": forwards, "restrict": True})
    with suppress(Refused):
        await session.execute("netdev_add", {"type": "user", "id": "u2"})
    await session.execute("device_add", {"driver": "e1000", "id": "nic2", "netdev": "u2"})
    with suppress(Refused):
        await session.execute("device_add", {"driver": "no-such-nic", "id": "nic3"})
    await session.execute("set_link", {"name": "nic2", "up": False})
    await session.execute("set_link", {"name": "nic2", "up": True})
    assert await session.hmp("hostfwd_add u1 tcp:127.0.0.1:9023-:23") == ""
    assert "removed" in await session.hmp("hostfwd_remove u1 tcp:127.0.0.1:9023")
    await session.execute("device_del", {"id": "nic2"})
    await session.execute("netdev_del", {"id": "u2"})
    times = {"initial": 50, "max": 50, "rounds": 1, "step": 50}
    await session.execute("announce-self", times)
    events = session.events()
    await session.execute("stop")
    await session.execute("cont")
    assert [(await anext(events)).name for _ in range(2)] == ["STOP", "RESUME"]


async def capture(session: Session) -> None:
    """Probe a netdev, pass a memfd, have it written to, leave nothing behind."""
    with suppress(Refused):
        probe = {"qom-type": "filter-mirror", "id": "probe", "netdev": "u1", "outdev": "no-such-chardev"}
        await session.execute("object-add", probe)
    fd = os.memfd_create("qmon")
    try:
        added = await commands.add_fd(session, fd, opaque="a story")
    finally:
        os.close(fd)
    file = f"/proc/self/fd/{added.fd}"
    tap = {"qom-type": "filter-dump", "id": "tap", "netdev": "u1", "file": file, "maxlen": 65536}
    await session.execute("object-add", tap)
    await session.execute("remove-fd", {"fdset-id": added.fdset_id})
    assert await commands.qom_get(session, "/objects/tap", "status") == "on"
    off = {"path": "/objects/tap", "property": "status", "value": "off"}
    await session.execute("qom-set", off)
    backend = {"type": "file", "data": {"out": "/dev/null"}}
    await session.execute("chardev-add", {"id": "try", "backend": backend})
    await commands.chardev_remove(session, "try")
    await session.execute("object-del", {"id": "tap"})


async def end(session: Session) -> None:
    """The VM is told to end."""
    events = session.events()
    await session.execute("quit")
    assert [event.name async for event in events] == ["SHUTDOWN"]


STORIES: dict[str, Story] = {"look": look, "change": change, "capture": capture, "end": end}
