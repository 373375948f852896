"""QEMU's filters on one netdev: two of them, each writing to a memfd of ours.

Owns the order of commands that never harms the VM: probe the netdev, probe the path, then add the filters; remove
them on every way out. Must never send a `filter-dump` that can be foreseen to fail: QEMU then closes its descriptor
0, whatever that is by then (net/dump.c, up to 11.1).
"""

from __future__ import annotations

import os
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from qmon.capture.reading import kernel
from qmon.capture.reading.channel import Channel
from qmon.capture.reading.follower import FileFollower, Follower
from qmon.capture.taps import sink
from qmon.capture.taps.guardian import guardian
from qmon.errors import Interrupted, QmonError, Refused, TimedOut
from qmon.monitor import commands
from qmon.monitor.protocol import Monitor
from qmon.network.ids import Purpose, new_id
from qmon.network.probe import why_unfilterable
from qmon.packets.batch import Direction

REMOVAL_S = 3.0
# QEMU's rx is what the netdev receives: what the guest sent.
QUEUES = (("rx", Direction.OUT), ("tx", Direction.IN))
# The longest header virtio-net puts before a frame; it must not cost bytes of the frame.
_VIRTIO_HEADER = 12

_UNFILTERABLE = ("multiqueue is not supported", "vhost is not supported")
_WHY_NOT = (
    (
        "multiqueue is not supported",
        "QEMU cannot filter a netdev with several queues",
        "Start the VM without queues=, or capture the host's interface.",
    ),
    (
        "vhost is not supported",
        "with vhost=on packets never pass through QEMU",
        "Start the VM with vhost=off, or capture the host's interface.",
    ),
    ("expects a network backend id", "there is no such netdev", "`qmon netdev ls` lists them."),
)


@dataclass(frozen=True, slots=True)
class TapContext:
    """The VM that taps are made in: how to reach it, its process where known, and the limits its taps share.

    `key` names the VM to the guardian; `folder` is where QEMU shall write plain files (None: to memory of ours).
    """

    session: Monitor
    pid: int | None
    key: int
    limit_bytes: int
    snaplen: int
    folder: Path | None = None


async def add_filters(context: TapContext, netdev: str, interface: int) -> tuple[Channel, Channel]:
    """Add the two filters of a netdev; return their channels. `Refused` says why not and what would help."""
    await probe_netdev(context, netdev)
    async with AsyncExitStack() as undo:
        channels = []
        for queue, direction in QUEUES:
            channel = await _open_channel(context, netdev, interface, queue, direction, undo)
            channels.append(channel)
        undo.pop_all()
    return channels[0], channels[1]


async def _open_channel(
    context: TapContext, netdev: str, interface: int, queue: str, direction: Direction, undo: AsyncExitStack
) -> Channel:
    name = new_id(Purpose(queue))
    if context.folder is None:
        follower = Follower(kernel.memory_file(f"qmon {netdev[:100]} {queue}"))
    else:
        follower = sink.plain_file(context.folder, name, context.pid, context.limit_bytes // len(QUEUES))
    channel = Channel(netdev, interface, name, direction, follower)
    undo.callback(channel.close)
    channel.largest_bytes = sink.largest_file(context.pid) // 4 * 3
    channel.guard = guardian().hold(
        follower.fd,
        vm=context.key,
        pid=context.pid,
        limit_bytes=context.limit_bytes,
        largest_bytes=channel.largest_bytes,
    )
    async with sink.as_path(
        context.session, follower, opaque=new_id(Purpose.FD), qemu_pid=context.pid
    ) as path:
        await probe_path(context, path)
        undo.push_async_callback(remove_filter, context.session, channel)
        await _add_filter(context, channel, queue, path)
    if isinstance(follower, FileFollower):
        await sink.wait_for_header(follower)
    return channel


async def probe_netdev(context: TapContext, netdev: str) -> None:
    """Find out whether QEMU can filter a netdev; `Refused` says why not."""
    problem = await why_unfilterable(context.session, netdev)
    if problem is not None:
        raise explained(netdev, problem) from problem


def is_unfilterable(problem: Refused) -> bool:
    """Say whether a netdev was refused because QEMU has no filters for its kind."""
    return any(sign in problem.reason.lower() for sign in _UNFILTERABLE)


def explained(netdev: str, problem: Refused) -> Refused:
    """Return why a netdev cannot be filtered in words for people, from QEMU's own."""
    for sign, why, help_text in _WHY_NOT:
        if sign in problem.reason.lower():
            return Refused(
                f"cannot tap {netdev}: {why}",
                hint=help_text,
                qmp_class=problem.qmp_class,
                reason=problem.reason,
            )
    return Refused(
        f"cannot tap {netdev}: QEMU says: {problem.reason}",
        qmp_class=problem.qmp_class,
        reason=problem.reason,
    )


async def probe_path(context: TapContext, path: str) -> None:
    """Find out whether QEMU may open a path for writing, with its own rights, by a chardev: harmless in any case."""
    name = new_id(Purpose.PATH)
    try:
        await commands.chardev_add_file(context.session, name, path)
    except TimedOut:
        # It may have been added all the same.
        with suppress(Refused):
            await commands.chardev_remove(context.session, name)
        raise
    except Refused as problem:
        raise sink.explained(f"QEMU cannot open {path}", problem) from problem
    await commands.chardev_remove(context.session, name)


async def _add_filter(context: TapContext, channel: Channel, queue: str, path: str) -> None:
    maxlen = context.snaplen + _VIRTIO_HEADER
    try:
        await commands.add_dump(
            context.session, channel.filter_id, netdev=channel.netdev, queue=queue, file=path, maxlen=maxlen
        )
    except Refused as problem:
        await heal_descriptor_0(context.session, opaque=new_id(Purpose.FD))
        raise Refused(
            f"cannot tap {channel.netdev}: QEMU passed the probe and then said: {problem.reason}",
            qmp_class=problem.qmp_class,
            reason=problem.reason,
        ) from problem


async def heal_descriptor_0(session: Monitor, *, opaque: str) -> bool:
    """Fill QEMU's descriptor 0 with /dev/null if it is free; return whether it was.

    A descriptor that is passed takes the lowest free number, so it lands on 0 exactly if 0 was closed.
    """
    if not session.can_pass_descriptors:
        return False
    nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        added = await commands.add_fd(session, nothing, opaque=opaque)
        if added.fd == 0:
            return True
        await commands.remove_fd(session, added.fdset_id)
        return False
    finally:
        os.close(nothing)


async def remove_filter(session: Monitor, channel: Channel) -> str | None:
    """Remove a filter from QEMU; where that cannot be done, stop its writing by the seal and return why."""
    try:
        await commands.object_del(session, channel.filter_id, timeout_s=REMOVAL_S)
    except Refused:
        return None  # Its netdev was deleted, and the filter with it.
    except (Interrupted, TimedOut) as problem:
        channel.follower.seal()
        return problem.message
    return None


async def remove_object(session: Monitor, name: str) -> bool:
    """Remove somebody's filter by its id; return whether that was done."""
    try:
        await commands.object_del(session, name, timeout_s=REMOVAL_S)
    except QmonError:
        return False
    return True
