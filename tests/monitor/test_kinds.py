import time

import pytest

from qmon.monitor.events import Event
from qmon.monitor.kinds import change_message, only_asks

DONE = {"return": {}}


@pytest.mark.parametrize(
    ("command", "line", "asks"),
    [
        ("query-status", None, True),
        ("qom-get", None, True),
        ("set_link", None, False),
        ("human-monitor-command", " info network", True),
        ("human-monitor-command", "set_link nic1 off", False),
        ("human-monitor-command", "", False),
        ("human-monitor-command", None, False),
    ],
)
def test_questions_are_known_by_their_names(command: str, line: str | None, asks: bool) -> None:
    assert only_asks(command, {} if line is None else {"command-line": line}) is asks


def test_a_change_is_told_with_its_arguments_and_the_time() -> None:
    before = time.time_ns()
    message = change_message("set_link", {"name": "nic1", "up": False}, DONE)
    assert message is not None
    event = Event.from_message(message)
    assert event.name == "QMON_CHANGE"
    assert event.data == {"command": "set_link", "arguments": {"name": "nic1", "up": False}, "reply": ""}
    assert before - 1000 <= event.time_ns <= time.time_ns()


def test_of_the_human_monitor_the_reply_is_told_too() -> None:
    line = {"command-line": "hostfwd_remove u1 tcp::1"}
    message = change_message(
        "human-monitor-command", line, {"return": "rule\x1b[2J removed\r\n" + "x" * 9999}
    )
    assert message is not None
    reply = Event.from_message(message).data["reply"]
    assert reply.startswith("rule")
    assert "\x1b" not in reply
    assert len(reply) <= 200


@pytest.mark.parametrize(
    ("command", "arguments", "reply"),
    [
        ("set_link", {"name": "x"}, {"error": {"class": "DeviceNotFound"}}),
        ("query-status", {}, DONE),
        ("set_password", {"password": "secret"}, DONE),
        ("human-monitor-command", {"command-line": "set_password vnc secret"}, {"return": ""}),
        ("human-monitor-command", {}, {"return": ""}),
    ],
)
def test_other_commands_are_nobodys_business(
    command: str, arguments: dict[str, object], reply: dict[str, object]
) -> None:
    assert change_message(command, arguments, reply) is None
