"""Processes of another user that only look like a QEMU: what they name is not opened, and nothing waits for them."""

import asyncio
import os
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from qmon.monitor import discovery, strangers
from qmon.monitor.address import UnixAddress
from qmon.monitor.discovery import Vm
from tests.cli.program import qmon

_NOBODY = 65534


@pytest.fixture
def den() -> Iterator[Path]:
    """A directory that everybody may use."""
    path = Path(tempfile.mkdtemp(prefix="qmon-stranger-", dir="/tmp"))
    path.chmod(0o777)
    yield path
    shutil.rmtree(path)


@asynccontextmanager
async def pretender(den: Path, *words: str, stdin: int = asyncio.subprocess.PIPE) -> AsyncIterator[int]:
    """A shell under the name of a QEMU, with these words, of another user where this one may start such."""
    program = den / "qemu-system-x86_64"
    shutil.copy("/bin/sh", program)
    program.chmod(0o755)
    process = await asyncio.create_subprocess_exec(
        program,
        *("-c", "kill -STOP $$"),
        *words,
        stdin=stdin,
        user=_NOBODY if os.geteuid() == 0 else None,
    )
    try:
        yield process.pid
    finally:
        process.kill()
        await process.communicate()


def seen(pid: int) -> Vm:
    found = discovery.read_vm(pid)
    assert found is not None
    return found


@pytest.mark.parametrize("what", ["a FIFO", "/dev/zero", "its own input", "a file without end", "a folder"])
async def test_what_a_pretender_names_harms_nobody(what: str, den: Path) -> None:
    path = {"/dev/zero": "/dev/zero", "its own input": "/dev/stdin"}.get(what, str(den / "config"))
    if what == "a FIFO":
        os.mkfifo(path, 0o666)
    elif what == "a folder":
        os.mkdir(path)
    elif what == "a file without end":
        with open(path, "wb") as file:
            file.truncate(1 << 40)
    async with pretender(den, "-readconfig", path) as pid:
        listed = await qmon("ls", "-o", "json")
        one = next(vm for vm in listed.json["vms"] if vm["pid"] == pid)
        assert one["state"] == "none"
        if what != "a file without end":
            assert "cannot be read from here" in one["reason"]
        assert (await qmon("info", "network", vm=f"pid:{pid}")).code == 3


async def test_a_fifo_is_not_even_opened(den: Path) -> None:
    # Opening it would let somebody go on who waits to write to it.
    os.mkfifo(den / "config", 0o666)
    async with pretender(den, "-readconfig", str(den / "config")) as pid:
        seen(pid)
        with pytest.raises(OSError, match="No such device"):
            os.open(den / "config", os.O_WRONLY | os.O_NONBLOCK)


async def test_more_files_than_anybody_needs_are_left_unread(den: Path) -> None:
    (den / "config").write_text('[name]\n guest = "one of many"\n')
    words = ("-readconfig", str(den / "config")) * 50
    async with pretender(den, *words) as pid:
        assert seen(pid).name == "one of many"
        assert len(seen(pid).unread) == 42


async def test_a_configuration_on_standard_input_is_its_own_and_not_ours(den: Path) -> None:
    (den / "config").write_text('[name]\n guest = "from its input"\n')
    with open(den / "config", "rb") as config:
        async with pretender(den, "-readconfig", "/dev/stdin", stdin=config.fileno()) as pid:
            assert seen(pid).name == "from its input"
            assert seen(pid).unread == ()


async def test_a_hundred_thousand_monitors_are_not_all_looked_at(den: Path) -> None:
    words = ("-qmp", "unix:q.sock,server") * 10_000
    async with pretender(den, *words) as pid:
        assert len(seen(pid).monitors) == 16


async def test_a_name_that_is_no_text_is_still_json(den: Path) -> None:
    async with pretender(den, "-name", os.fsdecode(b"caf\xe9")) as pid:
        listed = await qmon("ls", "-o", "json")
        assert next(vm["name"] for vm in listed.json["vms"] if vm["pid"] == pid) == "caf\\xe9"
        assert "\\udc" not in listed.out


async def test_the_event_loop_goes_on_while_a_vm_is_looked_for(den: Path) -> None:
    async with pretender(den, "-qmp", "unix:q.sock,server=on,wait=off") as pid:
        turns = 0
        finding = asyncio.create_task(discovery.seen(pid))
        while not finding.done():
            await asyncio.sleep(0)
            turns += 1
        assert turns > 1
        found = await finding
        assert found is not None
        assert found.pid == pid


def test_only_regular_files_are_opened(den: Path) -> None:
    with closing(socket.socket(socket.AF_UNIX)) as listener:
        listener.bind(str(den / "socket"))
        for path in (den, den / "socket", Path("/dev/null"), den / "nothing"):
            with pytest.raises(OSError, match=r"not a regular file|No such file"):
                strangers.read_start(str(path), 10)
    (den / "file").write_bytes(b"0123456789")
    assert strangers.read_start(str(den / "file"), 4) == b"0123"
    assert strangers.read_start(str(den / "file"), 40) == b"0123456789"


def test_what_lies_across_two_pieces_is_found(den: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strangers, "_CHUNK_BYTES", 4)
    (den / "file").write_bytes(b"..abcdefgh..")
    for wanted in (b"bcde", b"fg", b"cdef", b"..ab", b"gh.."):
        assert strangers.holds(str(den / "file"), wanted, 100)
    assert not strangers.holds(str(den / "file"), b"gh..", 8)
    assert not strangers.holds(str(den / "file"), b"acd", 100)


def test_a_padded_name_is_spelt_so_that_it_can_be_given_back() -> None:
    from qmon.monitor.address import parse_target

    for address in (UnixAddress("@vm"), UnixAddress("@vm", padded=True)):
        assert parse_target(str(address)) == address
