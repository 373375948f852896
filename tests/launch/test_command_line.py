"""What qmon makes of the user's QEMU command line."""

from pathlib import Path

import pytest

from qmon.errors import Refused, UsageError
from qmon.launch.command_line import configuration, plan

FILE = Path("/run/x/monitor.cfg")
ADDED = ("-S", "-readconfig", "/run/x/monitor.cfg")


def planned(*words: str, dashboard: bool = False) -> tuple[str, ...]:
    made = plan(("qemu", *words), FILE, dashboard=dashboard).words
    assert made[0] == "qemu"
    assert made[-3:] == ADDED
    return made[1:-3]


@pytest.mark.parametrize(
    "words",
    [
        ("-nographic",),
        ("-serial", "mon:stdio"),
        ("-qmp", "unix:/tmp/q,server=on,wait=off", "-monitor", "none"),
        ("disk.img",),
    ],
)
def test_without_the_dashboard_the_users_words_stay(words: tuple[str, ...]) -> None:
    assert planned(*words) == words


@pytest.mark.parametrize(("word", "paused"), [("-S", True), ("--S", True), ("-s", False)])
def test_the_users_own_pause_is_known(word: str, paused: bool) -> None:
    assert plan(("qemu", word), FILE, dashboard=False).starts_paused is paused


@pytest.mark.parametrize("word", ["-daemonize", "--daemonize"])
def test_daemonize_is_refused_with_the_reason(word: str) -> None:
    with pytest.raises(Refused, match="status"):
        plan(("qemu", word), FILE, dashboard=False)


def test_preconfig_is_refused_with_the_reason() -> None:
    with pytest.raises(Refused, match="x-exit-preconfig"):
        plan(("qemu", "-preconfig"), FILE, dashboard=False)


def test_no_command_is_wrong_usage() -> None:
    with pytest.raises(UsageError):
        plan((), FILE, dashboard=False)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("-nographic",), ("-nographic", "-serial", "mon:pty")),
        (("--nographic",), ("--nographic", "-serial", "mon:pty")),
        (("-nographic", "-nodefaults"), ("-nographic", "-nodefaults")),
        (("-nographic", "-monitor", "none"), ("-nographic", "-monitor", "none", "-serial", "pty")),
        (("-nographic", "-serial", "null"), ("-nographic", "-serial", "null", "-monitor", "pty")),
        (("-nographic", "-serial", "mon:stdio"), ("-nographic", "-serial", "mon:pty")),
        (
            ("-nographic", "-serial", "null", "-qmp", "stdio"),
            ("-nographic", "-serial", "null", "-qmp", "pty"),
        ),
        (("-serial", "stdio"), ("-serial", "pty")),
        (("-monitor", "stdio"), ("-monitor", "pty")),
        (("-serial", "file:stdio"), ("-serial", "file:stdio")),
        (("-append", "stdio"), ("-append", "stdio")),
        (("-chardev", "stdio,id=c,mux=on,signal=off"), ("-chardev", "pty,id=c,mux=on")),
        (("-chardev", "socket,id=stdio"), ("-chardev", "socket,id=stdio")),
        (("-display", "none"), ("-display", "none")),
    ],
)
def test_with_the_dashboard_the_terminal_is_a_pty(words: tuple[str, ...], expected: tuple[str, ...]) -> None:
    assert planned(*words, dashboard=True) == expected


@pytest.mark.parametrize("words", [("-curses",), ("-display", "curses"), ("-display", "curses,charset=x")])
def test_curses_and_the_dashboard_do_not_go_together(words: tuple[str, ...]) -> None:
    with pytest.raises(Refused, match="terminal"):
        planned(*words, dashboard=True)
    assert planned(*words) == words


def test_the_configuration_names_the_socket() -> None:
    assert 'path = "/run/x/qmp.sock"' in configuration(Path("/run/x/qmp.sock"))
