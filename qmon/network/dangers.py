"""Monitor commands that end a VM or hold it up, known by what they did to a QEMU; looked up before one is sent.

Owns the table, each row with where it is known from. What a netdev's options may do is `hazards`' to say. Must never
send a command that changes anything, and never refuse: whoever sends decides, and asks first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qmon.errors import QmonError, Refused
from qmon.monitor.hmp import parse_network
from qmon.network import hazards
from qmon.network.inspect import build, network_text
from qmon.network.options import parse_netdev
from qmon.network.surroundings import surroundings

if TYPE_CHECKING:
    from qmon.monitor.protocol import Monitor

_PASSED_ON = "human-monitor-command"


@dataclass(frozen=True, slots=True)
class Danger:
    """A row: `qmp` is a QMP command, `hmp` the words a line of the human monitor begins with, in all spellings.

    `effect` continues a sentence that begins with the command. `source` is where it is known from. `since` and
    `before` are the versions, (major, minor), between which it holds.
    """

    qmp: str
    hmp: tuple[str, ...]
    effect: str
    source: str
    since: tuple[int, int] = (0, 0)
    before: tuple[int, int] = (1000, 0)


TABLE = (
    Danger("quit", ("quit", "q"), "ends the VM at once, as if its power were cut", "qapi/control.json"),
    Danger("system_reset", ("system_reset",), "resets the VM: its guest starts anew", "qapi/machine.json"),
    Danger(
        "system_powerdown",
        ("system_powerdown",),
        "asks the guest to shut down and to end the VM",
        "qapi/machine.json",
    ),
    Danger("stop", ("stop", "s"), "stops the VM: its guest stands still until `cont`", "qapi/misc.json"),
    Danger(
        "qom-list-types",
        ("device_add help", "device_add ?"),
        "loads every module of QEMU's on disk: one of another build, after an upgrade of the package, ends the VM",
        "module_load_qom_all() (util/module.c); 10.0.2 and 11.1.3 ended so",
    ),
    Danger(
        "x-query-virtio-status",
        ("info virtio-status",),
        "ends this QEMU, by an assertion in qapi/qapi-visit-core.c",
        "11.1.3 ended so; 7.2.22 and 10.0.2 answer",
        since=(11, 0),
    ),
)


async def danger_of(session: Monitor, command: str, arguments: Mapping[str, object] | None) -> str | None:
    """Say what a QMP command would do to this VM that should be asked first, None if nothing is known of it."""
    given = arguments or {}
    if command == _PASSED_ON:
        return await danger_of_line(session, str(given.get("command-line", "")))
    row = next((row for row in TABLE if row.qmp == command and _holds(row, session)), None)
    if row is not None:
        return f"{command} {row.effect}"
    if command == "netdev_del":
        return await _of_removal(session, str(given.get("id", "")))
    return await _of_netdev(session, given) if command == "netdev_add" else None


async def danger_of_line(session: Monitor, line: str) -> str | None:
    """Say what a line of the human monitor would do to this VM that should be asked first, None if nothing is known."""
    words = line.split()
    for row in TABLE:
        for spelling in row.hmp:
            if words[: spelling.count(" ") + 1] == spelling.split() and _holds(row, session):
                return f"{spelling} {row.effect}"
    if words[:1] == ["netdev_del"] and len(words) > 1:
        return await _of_removal(session, words[1])
    if words[:1] == ["netdev_add"] and len(words) > 1:
        try:
            return await _of_netdev(session, parse_netdev(words[1], await session.schema()))
        except QmonError:  # QEMU will complain of it in its own words.
            return None
    return None


def _holds(row: Danger, session: Monitor) -> bool:
    version = (session.version.major, session.version.minor)
    return row.since <= version < row.before


async def _of_netdev(session: Monitor, arguments: Mapping[str, object]) -> str | None:
    try:
        hazards.check_netdev(arguments, session.version, await surroundings(session.peer_pid))
    except Refused as refused:
        return refused.message.removeprefix("not sent: ")
    return None


async def _of_removal(session: Monitor, id_: str) -> str | None:
    netdev = build(parse_network(await network_text(session))).netdev(id_)
    return None if netdev is None else hazards.lasting(netdev.type)
