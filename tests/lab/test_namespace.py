"""A network of a test's own leaves nothing behind, however the test ends."""

import os
from pathlib import Path

import pytest

from tests.lab import namespace as module
from tests.lab.cache import LabError
from tests.lab.namespace import namespace


async def test_what_is_made_inside_is_not_seen_outside() -> None:
    async with namespace() as network:
        network.run("ip", "tuntap", "add", "qmon-inside", "mode", "tap")
        network.give("qmon-inside", "192.0.2.1/24")
        assert "192.0.2.1/24" in network.run("ip", "address", "show", "qmon-inside")
        assert "qmon-inside" not in Path("/proc/net/dev").read_text()


async def test_it_goes_with_a_test_that_fails() -> None:
    with pytest.raises(RuntimeError, match="so"):
        async with namespace() as network:
            inode = os.stat(f"/proc/{network.pid}/ns/net").st_ino
            raise RuntimeError("so")
    assert not Path(f"/proc/{network.pid}").exists()
    held = {os.stat(path).st_ino for path in Path("/proc/self/task").glob("*/ns/net")}
    assert inode not in held


async def test_one_that_cannot_be_made_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_HOLDER", ("sh", "-c", "echo not allowed >&2; exit 1"))
    with pytest.raises(LabError, match="not allowed"):
        async with namespace():
            raise AssertionError("it was made")
