"""What is known of commands by their names alone: which only ask, and which qmons tell each other of.

Owns the two lists and the message that tells of a change. Must never say what a change means for the network.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from qmon.monitor.connection import RawMessage
from qmon.text import cut, plain

# The event, of a relay and not of QEMU, by which a qmon hears that one changed the network.
CHANGE_EVENT = "QMON_CHANGE"
# The command, of a relay and not of QEMU, by which a qmon tells of frames it is about to send; and its event.
SENT_COMMAND, SENT_EVENT = "qmon-sent", "QMON_SENT"
RELAY_EVENTS = frozenset({CHANGE_EVENT, SENT_EVENT})

_QUESTIONS = frozenset({"qom-list", "qom-get", "qom-list-properties", "device-list-properties"})
_CHANGES = frozenset({"set_link", "netdev_add", "netdev_del", "device_add", "device_del"})
_HMP_CHANGES = _CHANGES | {"hostfwd_add", "hostfwd_remove"}
_REPLY_CHARACTERS = 200


def only_asks(command: str, arguments: Mapping[str, object]) -> bool:
    """Tell whether a command leaves the VM as it is, so that it can be sent twice."""
    if command == "human-monitor-command":
        return _hmp_name(arguments) == "info"
    return command.startswith(("query-", "x-query-")) or command in _QUESTIONS


def link_set(command: object, arguments: object, reply: str) -> tuple[str, bool | None] | None:
    """Return the NIC or netdev whose link a command that was carried out has set, and whether it is up now.

    None for its state: it was made anew. `reply` is the text of HMP, which tells of a failure in no other way.
    """
    if not isinstance(arguments, Mapping):
        return None
    if command == "set_link":
        return str(arguments.get("name")), arguments.get("up") is True
    if command in ("device_add", "netdev_add") and "id" in arguments:
        return str(arguments["id"]), None
    words = str(arguments.get("command-line")).split()
    if command != "human-monitor-command" or words[:1] != ["set_link"] or len(words) != 3 or reply.strip():
        return None
    return words[1], words[2] == "on"


def change_message(
    command: str, arguments: Mapping[str, object], reply: RawMessage
) -> dict[str, object] | None:
    """Return the event that tells of a command that was carried out now; None if it failed or changes no network.

    `SENT_COMMAND` has an event of its own, whose data are its arguments.

    Its data are the `command`, its `arguments`, and the `reply` as text: HMP tells of a failure in no other way.
    """
    if "return" not in reply:
        return None
    if command == SENT_COMMAND:
        return {"event": SENT_EVENT, "data": dict(arguments)}
    hmp = command == "human-monitor-command"
    if command not in _CHANGES and not (hmp and _hmp_name(arguments) in _HMP_CHANGES):
        return None
    seconds, microseconds = divmod(time.time_ns() // 1000, 1_000_000)
    said = cut(plain(str(reply["return"]).strip()), _REPLY_CHARACTERS) if hmp else ""
    return {
        "event": CHANGE_EVENT,
        "data": {"command": command, "arguments": dict(arguments), "reply": said},
        "timestamp": {"seconds": seconds, "microseconds": microseconds},
    }


def _hmp_name(arguments: Mapping[str, object]) -> str:
    return next(iter(str(arguments.get("command-line")).split()), "")
