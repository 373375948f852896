"""Replies that qmon reads: QEMU's own fit, others are told from them."""

import gzip
import json
from pathlib import Path

import pytest

from qmon.errors import Interrupted
from qmon.monitor.connection import result
from qmon.monitor.shapes import is_as_expected

SCHEMAS = sorted(Path("fixtures").glob("*/schema.json.gz"))
GARBAGE: list[object] = [None, "text", 7, True, [1, "x", None], {"a": 1}, [{"name": 3}], [{}]]


@pytest.mark.parametrize("path", SCHEMAS, ids=lambda path: path.parent.name)
def test_every_qemus_schema_fits(path: Path) -> None:
    assert is_as_expected("query-qmp-schema", json.loads(gzip.decompress(path.read_bytes())))


@pytest.mark.parametrize(
    ("command", "reply"),
    [
        ("query-name", {}),
        ("query-name", {"name": "vm"}),
        ("query-status", {"status": "running", "running": True}),
        ("add-fd", {"fdset-id": 0, "fd": 12}),
        ("query-fdsets", [{"fdset-id": 0, "fds": [{"fd": 12}, {"fd": 13, "opaque": "x"}]}]),
        ("qom-list", []),
        ("human-monitor-command", ""),
        ("some-command-of-the-users", [1, None]),
    ],
)
def test_what_qemu_says_fits(command: str, reply: object) -> None:
    assert is_as_expected(command, reply)


@pytest.mark.parametrize(
    "command", ["query-commands", "query-qmp-schema", "qom-list", "query-chardev", "add-fd"]
)
@pytest.mark.parametrize("reply", GARBAGE, ids=repr)
def test_garbage_does_not_fit(command: str, reply: object) -> None:
    assert not is_as_expected(command, reply)


def test_a_boolean_is_no_number() -> None:
    assert not is_as_expected("add-fd", {"fdset-id": True, "fd": 1})


def test_garbage_is_not_read_and_what_the_user_asked_for_is() -> None:
    with pytest.raises(Interrupted, match="query-commands: the answer is not what QEMU would say"):
        result("query-commands", {"return": "garbage"})
    assert result("query-version", {"return": "garbage"}) == "garbage"
