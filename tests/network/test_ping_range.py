"""Who may ping, looked at and changed in a network namespace of the test's own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from qmon.errors import Refused
from qmon.network.ping_range import let_ping, ping_rights, set_words
from tests.lab.namespace import Namespace, namespace

GROUP = 4242


@asynccontextmanager
async def process(place: Namespace, *rights: str) -> AsyncIterator[int]:
    """A process in that network, with the rights that setpriv's words leave it."""
    started = await asyncio.create_subprocess_exec(
        *place.inside, "setpriv", *rights, "sh", "-c", "echo up; exec cat", stdin=-1, stdout=-1
    )
    assert started.stdout is not None
    try:
        await started.stdout.readline()
        yield started.pid
    finally:
        started.kill()
        await started.communicate()


async def test_a_group_is_let_ping() -> None:
    async with (
        namespace() as place,
        process(place, f"--regid={GROUP}", "--clear-groups", "--bounding-set=-all", "--reuid=4242") as pid,
    ):
        rights = ping_rights(pid)
        assert (rights.group, rights.groups, rights.raw, rights.allowed) == (GROUP, (), False, False)
        assert (rights.low, rights.high) == (1, 0)  # The kernel's own: nobody.
        assert set_words(rights)[-1] == f"net.ipv4.ping_group_range={GROUP} {GROUP}"
        after = let_ping(rights)
        assert (after.low, after.high, after.allowed) == (GROUP, GROUP, True)
        assert place.run("cat", "/proc/sys/net/ipv4/ping_group_range").split() == [str(GROUP)] * 2


async def test_a_range_is_only_widened() -> None:
    async with namespace() as place:
        place.run("sh", "-c", "echo 10 20 > /proc/sys/net/ipv4/ping_group_range")
        async with process(
            place, f"--regid={GROUP}", "--groups=15", "--bounding-set=-all", "--reuid=4242"
        ) as pid:
            rights = ping_rights(pid)
            assert (rights.allowed, rights.wanted) == (True, f"10 {GROUP}")
        async with process(place) as pid:
            assert ping_rights(pid).raw


async def test_a_process_that_is_gone() -> None:
    with pytest.raises(Refused, match="cannot be looked at"):
        ping_rights(2**22 + 1)
