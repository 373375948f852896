"""A host of a test's own: its interfaces, its `/run`, its `/sys`. It is gone with the process that holds it."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lab.cache import LabError

_ROOT = Path(__file__).parents[2]
# Nothing of what is mounted here is seen outside.
_SET_UP = (
    "mount --make-rprivate / && mount -t tmpfs none /run && mount -t sysfs none /sys && ip link set lo up && "
    "echo stands && exec cat"
)
# An uplink with two addresses and routes of several kinds, and the outer world at its other end.
_UPLINK = """
ip link add up0 type veth peer name world
ip address add 192.0.2.10/24 broadcast 192.0.2.255 dev up0
ip address add 198.51.100.7/25 dev up0
ip -6 address add 2001:db8::10/64 dev up0 nodad
ip link set up0 up
ip link set world up
ip route add default via 192.0.2.1 dev up0 metric 50
ip route add 203.0.113.0/24 via 192.0.2.2 dev up0 src 192.0.2.10
ip -6 route add default via 2001:db8::1 dev up0
ip rule show >/dev/null
"""


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str


class Box:
    """A host; `state` is all of it that a change might leave different."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.inside = ("nsenter", "--net", "--mount", f"--target={pid}", "--")

    def run(self, *words: str) -> str:
        """Run a command on this host; its output. CalledProcessError if it fails."""
        return subprocess.run([*self.inside, *words], check=True, capture_output=True, text=True).stdout

    def python(self, module: str, *words: str) -> list[str]:
        """The words that run a module of the project's on this host."""
        return [*self.inside, "env", "-C", str(_ROOT), sys.executable, "-m", module, *words]

    def qmon(self, *words: str) -> Ended:
        """Run qmon on this host."""
        done = subprocess.run(
            self.python("qmon", *words), capture_output=True, text=True, input="", timeout=60
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Ended(done.returncode, done.stdout, done.stderr)

    async def broken_off(self, how: str, count: int, *words: str) -> AsyncIterator[int]:
        """Break qmon off at each of its `count` steps in turn; how each ended, when nothing is under way any more."""
        started = await asyncio.create_subprocess_exec(
            *self.python("tests.host.breaking", how, str(count), *words), stdin=-1, stdout=-1, stderr=-1
        )
        assert started.stdin is not None
        assert started.stdout is not None
        try:
            for _ in range(count):
                async with asyncio.timeout(30):
                    code = int(await started.stdout.readline())
                await self.settled()
                yield code
                started.stdin.write(b"\n")
        finally:
            if started.returncode is None:
                started.terminate()
            await started.communicate()

    async def settled(self) -> None:
        """Wait until no change is under way: every journal is gone or kept."""
        async with asyncio.timeout(30):
            while self.run("sh", "-c", "ls /run/qmon/host 2>/dev/null | grep -v '^made$' || true"):  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    def state(self) -> dict[str, Any]:
        """Interfaces with their addresses, routes, sysctls and nftables."""
        links = [
            (
                link["ifname"],
                link.get("master"),
                link["address"],
                [
                    (one["local"], one["prefixlen"], one.get("broadcast"))
                    for one in link["addr_info"]
                    if one["scope"] == "global"
                ],
            )
            for link in json.loads(self.run("ip", "-j", "address"))
        ]
        routes = [
            json.loads(self.run("ip", "-j", family, "route", "show", "table", "all"))
            for family in ("-4", "-6")
        ]
        kept = [
            sorted(
                json.dumps(
                    {key: value for key, value in route.items() if key not in ("flags", "pref")},
                    sort_keys=True,
                )
                for route in some
                # A link's own address and its neighbours' groups come and go with the link.
                if not route["dst"].startswith(("fe80", "ff00", "multicast"))
                and route.get("protocol") != "kernel"
            )
            for some in routes
        ]
        forwarding = self.run(
            "sh", "-c", "grep -H . /proc/sys/net/ipv4/conf/*/forwarding /proc/sys/net/ipv4/ip_forward"
        )
        return {
            "links": links,
            "routes": kept,
            "forwarding": forwarding,
            "nft": self.run("nft", "list", "ruleset"),
        }


@asynccontextmanager
async def box(*, uplink: bool = False) -> AsyncIterator[Box]:
    """A host for the length of the block, with an uplink `up0` where that is asked for."""
    process = await asyncio.create_subprocess_exec(
        *("setpriv", "--pdeathsig", "KILL", "--", "unshare", "--net", "--mount", "--", "sh", "-c", _SET_UP),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        async with asyncio.timeout(20):
            if not await process.stdout.readline():
                raise LabError(
                    f"no host of its own can be made here: {(await process.stderr.read()).decode()}"
                )
        held = Box(process.pid)
        if uplink:
            held.run("sh", "-ec", _UPLINK)
        yield held
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
