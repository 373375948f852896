"""docs/networks.md is true: every command on it runs, in its order, on a host and VMs of the test's own."""

import asyncio
import os
import re
import shlex
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.host.box import Box, box
from tests.lab import start_vm
from tests.lab.qemus import Qemu

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "networks.md"
VM = ("-netdev", "user,id=u1", "-device", "virtio-net-pci,id=nic1,netdev=u1")
# Whether guests may ping is the machine's affair; both answers are right.
MAY_FAIL = ("ping-range",)


def commands() -> list[list[str]]:
    """The words of every command on the page, without sudo."""
    blocks = re.findall(r"^```\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    lines = [line.removeprefix("sudo ") for block in blocks for line in block.splitlines()]
    return [shlex.split(line) for line in lines if line.startswith("qmon ")]


def test_the_page_has_its_commands() -> None:
    first_words = {words[1] for words in commands()}
    assert first_words >= {
        "info",
        "forward",
        "ssh",
        "ping-range",
        "bridge",
        "tap",
        "plug",
        "replace",
        "cable",
    }


async def _run(host: Box, words: list[str], env: dict[str, str]) -> None:
    process = await asyncio.create_subprocess_exec(
        *(*host.inside, "env", "-C", str(ROOT), sys.executable, "-m", "qmon", *words),
        env=env,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(60):
        said, _ = await process.communicate()
    assert process.returncode == 0 or words[0] in MAY_FAIL, f"{words}: {said.decode()}"


@pytest.mark.timeout(300)
async def test_every_command_on_the_page_runs(qemu: Qemu, tmp_path: Path) -> None:
    (tmp_path / "ssh").write_text("#!/bin/sh\n")
    (tmp_path / "ssh").chmod(0o755)
    # Other VMs of this machine may have these names.
    names = {name: f"{name}-{os.getpid()}" for name in ("web", "db")}
    env = {
        **os.environ,
        "QMON_VM": names["web"],
        "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
        "XDG_STATE_HOME": str(tmp_path),
    }
    async with box(uplink=True) as host:
        inside = replace(qemu, argv=(*host.inside, *qemu.argv))
        before = host.state()
        async with (
            start_vm(inside, *VM, guest="linux", name=names["web"]) as web,
            start_vm(inside, guest="linux", name=names["db"]) as db,
        ):
            await web.wait_lease()
            await web.shell("httpd -p 22 -h /www")
            await db.shell("true")
            for words in commands():
                await _run(host, [_here(word, names) for word in words[1:]], env)
            assert "virtio-net-pci" in await web.hmp_raw("info network")
        assert host.state() == before


def _here(word: str, names: dict[str, str]) -> str:
    return names.get(word, "up0" if word == "eth0" else word)
