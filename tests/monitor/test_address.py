"""The spellings of a VM."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmon.errors import UsageError
from qmon.monitor.address import Name, Pid, TcpAddress, UnixAddress, parse_target


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("/run/vm.qmp", UnixAddress("/run/vm.qmp")),
        ("unix:/run/vm.qmp", UnixAddress("/run/vm.qmp")),
        ("unix:@abstract", UnixAddress("@abstract")),
        ("127.0.0.1:4444", TcpAddress("127.0.0.1", 4444)),
        ("tcp:localhost:4444", TcpAddress("localhost", 4444)),
        ("[::1]:4444", TcpAddress("::1", 4444)),
        ("pid:42", Pid(42)),
        ("web", Name("web")),
        ("my vm, really", Name("my vm, really")),
    ],
)
def test_spellings(text: str, target: object) -> None:
    assert parse_target(text) == target


def test_relative_paths_start_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert parse_target("./vm.qmp") == UnixAddress(f"{tmp_path}/vm.qmp")
    assert parse_target("unix:vm.qmp") == UnixAddress(f"{tmp_path}/vm.qmp")


@pytest.mark.parametrize("text", ["", "unix:", "localhost:0", "localhost:70000", "a\0b", "/a\0b"])
def test_what_names_nothing(text: str) -> None:
    with pytest.raises(UsageError):
        parse_target(text)


@pytest.mark.parametrize(
    "target", [UnixAddress("/x y"), UnixAddress("@a"), TcpAddress("::1", 1), TcpAddress("h", 65535)]
)
def test_addresses_are_read_back_as_printed(target: object) -> None:
    assert parse_target(str(target)) == target


@given(st.text())
def test_any_text_is_a_target_or_wrong_usage(text: str) -> None:
    try:
        parse_target(text)
    except UsageError:
        return


def test_a_pid_longer_than_any_is_only_a_name() -> None:
    assert parse_target("pid:" + "9" * 5000) == Name("pid:" + "9" * 5000)
    assert parse_target("pid:\u0663") == Name("pid:\u0663")
