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
    assert any(found.name == "mac" for found in await commands.device_list_properties(session, "e1000"))
    assert (await commands.query_rx_filter(session, "nic1"))["name"] == "nic1"
    assert await commands.query_fdsets(session) == ()


async def change(session: Session) -> None:
    """Plug, forward, set a link, pause; two refusals."""
    forwards = [{"str": "tcp:127.0.0.1:9022-:22"}]
    await commands.netdev_add(session, {"type": "user", "id": "u2", "hostfwd": forwards, "restrict": True})
    with suppress(Refused):
        await commands.netdev_add(session, {"type": "user", "id": "u2"})
    await commands.device_add(session, {"driver": "e1000", "id": "nic2", "netdev": "u2"})
    with suppress(Refused):
        await commands.device_add(session, {"driver": "no-such-nic", "id": "nic3"})
    await commands.set_link(session, "nic2", False)
    await commands.set_link(session, "nic2", True)
    assert await session.hmp("hostfwd_add u1 tcp:127.0.0.1:9023-:23") == ""
    assert "removed" in await session.hmp("hostfwd_remove u1 tcp:127.0.0.1:9023")
    await commands.device_del(session, "nic2")
    await commands.netdev_del(session, "u2")
    await commands.announce_self(session)
    events = session.events()
    await commands.stop(session)
    await commands.cont(session)
    assert [(await anext(events)).name for _ in range(2)] == ["STOP", "RESUME"]


async def capture(session: Session) -> None:
    """Probe a netdev, pass a memfd, have it written to, leave nothing behind."""
    with suppress(Refused):
        await commands.object_add(
            session, "filter-mirror", "probe", {"netdev": "u1", "outdev": "no-such-chardev"}
        )
    fd = os.memfd_create("qmon")
    try:
        added = await session.pass_descriptor(fd, opaque="a story")
    finally:
        os.close(fd)
    file = f"/proc/self/fd/{added.fd}"
    await commands.object_add(session, "filter-dump", "tap", {"netdev": "u1", "file": file, "maxlen": 65536})
    await commands.remove_fd(session, added.fdset_id)
    assert await commands.qom_get(session, "/objects/tap", "status") == "on"
    await commands.qom_set(session, "/objects/tap", "status", "off")
    await commands.chardev_add_file(session, "try", "/dev/null")
    await commands.chardev_remove(session, "try")
    await commands.object_del(session, "tap")


async def end(session: Session) -> None:
    """The VM is told to end."""
    events = session.events()
    await commands.quit_vm(session)
    assert [event.name async for event in events] == ["SHUTDOWN"]


STORIES: dict[str, Story] = {"look": look, "change": change, "capture": capture, "end": end}
