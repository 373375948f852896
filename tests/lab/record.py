"""`python -m tests.lab.record [PART…]`: record the fixtures from the lab's QEMUs, by qmon's own session.

Owns what lies under `fixtures/<version>/`. Texts and captures must never hold this machine's paths or names.
"""

import asyncio
import gzip
import json
import sys
from dataclasses import replace
from pathlib import Path

from qmon.monitor.address import UnixAddress
from qmon.monitor.session import Session
from tests.fakes.conversation import dump
from tests.lab.conversations import STORIES, VM_ARGUMENTS, Story
from tests.lab.proxy import proxied
from tests.lab.qemus import Qemu, found
from tests.lab.scenes import SCENES, Scene
from tests.lab.traffic import CAPTURES
from tests.lab.vm import LabVm, start_vm

FIXTURES = Path(__file__).parents[2] / "fixtures"
# The loopback gets a route for multicast, and one to a world from which nobody answers.
_LOOPBACK = """ip link set lo up multicast on
ip route add 224.0.0.0/4 dev lo
ip route add 192.0.2.0/24 dev lo
echo 0 2147483647 > /proc/sys/net/ipv4/ping_group_range
exec "$@"
"""
_NAMESPACE = ("unshare", "--net", "sh", "-c", _LOOPBACK, "sh")


def namespaced(qemu: Qemu) -> Qemu:
    """The same QEMU, run in a network namespace of its own whose loopback is up."""
    return replace(qemu, argv=(*_NAMESPACE, *qemu.argv))


def scrubbed(text: str, vm: LabVm) -> str:
    """The text without the VM's directory, which is another one each time."""
    return text.replace(str(vm.directory), "/tmp/vm")


async def _take_texts(session: Session, vm: LabVm, directory: Path, name: str) -> None:
    for about in ("network", "usernet"):
        text = await session.hmp(f"info {about}")
        path = directory / about / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(scrubbed(text, vm))


async def record_scene(qemu: Qemu, scene: Scene, directory: Path) -> None:
    """Start the scene's VM and take its texts at each of its moments."""
    async with (
        start_vm(namespaced(qemu), *scene.words, guest=scene.guest, machine=scene.machine) as vm,
        await Session.attach(UnixAddress(vm.qmp[0]), share=False) as session,
    ):
        if scene.act is None:
            await _take_texts(session, vm, directory, scene.name)
            return
        async for moment in scene.act(vm, session):
            await _take_texts(session, vm, directory, f"{scene.name}-{moment}")


async def record_story(qemu: Qemu, name: str, story: Story, directory: Path) -> None:
    """Have qmon tell a story to a VM, and write down what was said."""
    async with start_vm(namespaced(qemu), *VM_ARGUMENTS) as vm:
        path = vm.directory / "proxy.sock"
        async with (
            proxied(path, vm.qmp[0]) as proxy,
            await Session.attach(UnixAddress(str(path)), share=False) as session,
        ):
            await story(session)
    target = directory / "monitor" / f"{name}.jsonl"
    target.parent.mkdir(parents=True, exist_ok=True)
    dump(proxy.lines, target)


async def record_schema(qemu: Qemu, directory: Path) -> None:
    """Keep the reply to query-qmp-schema, packed."""
    async with (
        start_vm(qemu) as vm,
        await Session.attach(UnixAddress(vm.qmp[0]), share=False) as session,
    ):
        schema = await session.execute("query-qmp-schema")
    text = json.dumps(schema, separators=(",", ":")).encode()
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "schema.json.gz").write_bytes(gzip.compress(text, 9, mtime=0))


async def record(qemu: Qemu, directory: Path, wanted: list[str]) -> None:
    """Record one QEMU into `directory`: everything, or the parts whose names begin with one that is wanted."""

    def now(part: str) -> bool:
        if wanted and not part.startswith(tuple(wanted)):
            return False
        print(f"{qemu.full}: {part}", file=sys.stderr)
        return True

    if now("schema"):
        await record_schema(qemu, directory)
    for name, story in STORIES.items():
        if now(f"monitor/{name}"):
            await record_story(qemu, name, story, directory)
    for name, capture in CAPTURES.items():
        if now(f"captures/{name}"):
            await capture(namespaced(qemu), directory / "captures" / f"{name}.pcap")
    for scene in SCENES:
        if qemu.number >= scene.since and now(f"network/{scene.name}"):
            await record_scene(qemu, scene, directory)


async def _main(wanted: list[str]) -> None:
    for qemu in found():
        await record(qemu, FIXTURES / qemu.full, wanted)


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1:]))
