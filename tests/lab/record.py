"""`python -m tests.lab.record [DIRECTORY]`: record the fixtures from the lab's QEMUs, by qmon's own session.

Owns what lies under `fixtures/<version>/`. Texts and captures must never hold this machine's paths or names.
"""

import asyncio
import sys
from dataclasses import replace
from pathlib import Path

from qmon.monitor.address import UnixAddress
from qmon.monitor.session import Session
from tests.lab.qemus import Qemu, found
from tests.lab.scenes import SCENES, Scene
from tests.lab.vm import LabVm, start_vm

FIXTURES = Path(__file__).parents[2] / "fixtures"
# The loopback gets a route for multicast, and an address that the user-mode stack takes for the world.
_LOOPBACK = """ip link set lo up multicast on
ip route add 224.0.0.0/4 dev lo
ip addr add 192.0.2.1/32 dev lo
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


async def record(qemu: Qemu, directory: Path) -> None:
    """Record everything of one QEMU into `directory`."""
    for scene in SCENES:
        if qemu.number >= scene.since:
            print(f"{qemu.full}: {scene.name}", file=sys.stderr)
            await record_scene(qemu, scene, directory)


async def _main(root: Path) -> None:
    for qemu in found():
        await record(qemu, root / qemu.full)


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1]) if len(sys.argv) > 1 else FIXTURES))
