"""How links were set is known to other qmons, as long as that VM lives."""

import os

import pytest

from qmon.monitor import links
from qmon.monitor.kinds import link_set
from qmon.monitor.sharing import runtime_directory


def test_what_one_qmon_sets_another_knows() -> None:
    me = os.getpid()
    assert links.known(me) == {}
    links.remember(me, "nic1", False)
    links.remember(me, "nic2", True)
    assert links.known(me) == {"nic1": False, "nic2": True}
    links.remember(me, "nic1", None)
    assert links.known(me) == {"nic2": True}
    assert links.known(None) == links.known(1) == {}


def test_a_later_vm_of_the_same_pid_is_another() -> None:
    old = runtime_directory() / f"links-{os.getpid()}-1.json"
    old.write_text('{"nic1": false}')
    assert links.known(os.getpid()) == {}
    links.remember(os.getpid(), "nic9", True)
    assert not old.exists()


@pytest.mark.parametrize("content", ["", "[1]", '{"nic1": 7}', "[" * 100_000])
def test_a_file_that_says_nothing(content: str) -> None:
    links.remember(os.getpid(), "nic1", False)
    (path,) = runtime_directory().glob("links-*")
    path.write_text(content)
    assert links.known(os.getpid()) == {}


@pytest.mark.parametrize(
    ("command", "arguments", "reply", "found"),
    [
        ("set_link", {"name": "n", "up": False}, "{}", ("n", False)),
        ("device_add", {"driver": "e1000", "id": "n"}, "{}", ("n", None)),
        ("human-monitor-command", {"command-line": "set_link n on"}, "", ("n", True)),
        ("human-monitor-command", {"command-line": "set_link n on"}, "Device 'n' not found", None),
        ("human-monitor-command", {"command-line": "info network"}, "", None),
        ("query-status", None, "{}", None),
    ],
)
def test_commands_that_set_a_link(
    command: str, arguments: object, reply: str, found: tuple[str, bool | None] | None
) -> None:
    assert link_set(command, arguments, reply) == found
