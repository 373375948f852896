"""A network of a test's own: taps, bridges and addresses that nobody else sees.

It is held by a process and goes with it, however the test ends: nothing has to be undone, and a run that is killed
leaves nothing. It must never change the network that the tests run in.
"""

import asyncio
import dataclasses
import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.lab.cache import LabError
from tests.lab.qemus import Qemu

# Says that it stands, then waits until it is killed or nobody reads it any more.
_HOLDER = ("unshare", "--net", "--", "sh", "-c", "ip link set lo up && echo stands && exec cat")


@dataclass(frozen=True, slots=True)
class Namespace:
    """A network namespace, named by the process that holds it."""

    pid: int

    @property
    def inside(self) -> tuple[str, ...]:
        """The words before a command that run it in this network."""
        return ("nsenter", f"--net=/proc/{self.pid}/ns/net", "--")

    def run(self, *argv: str) -> str:
        """Run a command in this network; its output. CalledProcessError if it fails."""
        return subprocess.run([*self.inside, *argv], check=True, stdout=subprocess.PIPE, text=True).stdout

    def give(self, interface: str, address: str) -> None:
        """Give an interface an address ("192.0.2.1/24") and switch it on."""
        self.run("ip", "address", "add", address, "dev", interface)
        self.run("ip", "link", "set", interface, "up")

    def qemu(self, qemu: Qemu) -> Qemu:
        """The same QEMU, started in this network."""
        return dataclasses.replace(qemu, argv=(*self.inside, *qemu.argv))


@asynccontextmanager
async def namespace() -> AsyncIterator[Namespace]:
    """A network of its own for the length of the block; LabError where this user may not make one."""
    process = await asyncio.create_subprocess_exec(
        *("setpriv", "--pdeathsig", "KILL", "--", *_HOLDER),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        async with asyncio.timeout(20):
            if not await process.stdout.readline():
                said = (await process.stderr.read()).decode(errors="replace").strip()
                raise LabError(f"no network namespace can be made here: {said}")
        held = Namespace(process.pid)
        assert os.readlink(Path(f"/proc/{held.pid}/ns/net")) != os.readlink("/proc/self/ns/net")
        yield held
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
