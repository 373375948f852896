"""scapy on a guest's wire: the shell, the socket in Python, and the examples of the page."""

import asyncio
import re
import sys
from pathlib import Path

import pytest

from tests.lab import start_vm
from tests.lab.qemus import Qemu
from tests.lab.vm import LabVm
from tests.wire.places import descriptor_0, left, user

PAGE = Path(__file__).parents[2] / "docs/wire.md"
PYTHON = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
SHELL = re.findall(r"^>>> (.*)$", PAGE.read_text(), re.MULTILINE)


async def run(vm: LabVm, *words: str, stdin: str = "") -> tuple[int | None, str]:
    """Run Python with words and an input; its status, and all it said."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *words,
        cwd=vm.directory,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(110):
        out, _ = await process.communicate(stdin.encode())
    return process.returncode, out.decode()


async def test_the_shells_functions_are_on_the_wire(qemu: Qemu) -> None:
    assert len(SHELL) >= 4
    async with start_vm(qemu, *user(), guest="linux") as vm:
        await vm.wait_lease()
        before = descriptor_0(vm)
        lines = [
            *SHELL,
            "print('answered', sr1(IP(dst='10.0.2.15')/TCP(dport=80), timeout=5)[TCP].flags)",
            "exit()",
        ]
        code, said = await run(
            vm,
            "-m",
            "qmon",
            "--vm",
            vm.qmp[0],
            "scapy",
            "--netdev",
            "u1",
            "--pps",
            "1000",
            stdin="\n".join(lines) + "\n",
        )
        assert "Traceback" not in said, said
        assert "answered SA" in said, said
        assert code == 0, said
        assert await left(vm) == []
        assert descriptor_0(vm) == before


@pytest.mark.parametrize("number", range(len(PYTHON)))
async def test_an_example_of_the_page_runs(qemu: Qemu, number: int) -> None:
    async with start_vm(qemu, *user(), guest="linux", name="web") as vm:
        await vm.wait_lease()
        code = PYTHON[number].replace('"web"', repr(vm.qmp[0]))
        status, said = await run(vm, "-c", code)
        assert status == 0, said
        assert await left(vm) == []
        # The guest lives.
        assert "up" in await vm.shell("cat /sys/class/net/eth0/operstate")
