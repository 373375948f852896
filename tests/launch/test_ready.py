"""Attaching to a QEMU that was just started, or that fails instead."""

import os
import sys
from pathlib import Path

import pytest

from qmon.errors import CannotAttach
from qmon.launch.command_line import configuration, plan
from qmon.launch.process import OwnedQemu
from qmon.launch.ready import EndedEarly, attach_when_ready, ptys
from qmon.monitor.session import Session
from tests.lab.qemus import Qemu


def start(owned: OwnedQemu, qemu: Qemu, *words: str, dashboard: bool = True) -> None:
    added = owned.directory / "monitor.cfg"
    added.write_text(configuration(owned.monitor))
    base = (*qemu.argv, "-accel", "tcg", "-m", "16", "-vga", "none", *words)
    owned.start(plan(base, added, dashboard=dashboard).words, quiet=True, env=qemu.env)


async def test_attached_paused_with_the_console_on_a_pty(qemu_one: Qemu) -> None:
    with OwnedQemu() as owned:
        start(owned, qemu_one, "-nographic")
        async with await attach_when_ready(owned) as session:
            assert (await session.execute("query-status"))["status"] == "prelaunch"
            consoles = await ptys(session)
            assert [Path(path).is_char_device() for _, path in consoles] == [True]
            console = os.open(consoles[0][1], os.O_RDWR | os.O_NOCTTY)
            try:
                await session.execute("cont")
                heard = b""
                while b"SeaBIOS" not in heard:
                    heard += os.read(console, 4096)
            finally:
                os.close(console)
        assert owned.last_words().count("\n") == 0  # QEMU itself names the pty, and nothing else.


async def test_the_users_monitors_stay(qemu_one: Qemu, runtime_directory: Path) -> None:
    own = f"unix:{runtime_directory / 'own'},server=on,wait=off"
    with OwnedQemu() as owned:
        start(owned, qemu_one, "-display", "none", "-qmp", own, dashboard=False)
        async with await attach_when_ready(owned) as session:
            labels = [device["label"] for device in await session.execute("query-chardev")]
    assert {"compat_monitor0", "qmon"} <= set(labels)


async def test_the_default_monitor_stays_too(qemu_one: Qemu) -> None:
    with OwnedQemu() as owned:
        start(owned, qemu_one, "-display", "none", dashboard=False)
        async with await attach_when_ready(owned) as session:
            devices = await session.execute("query-chardev")
    assert ("compat_monitor0", "vc") in [(one["label"], one["filename"][:2]) for one in devices]


@pytest.mark.parametrize("words", [("-netdev", "bogus,id=x"), ("-device", "bogus"), ("-bogus",)])
async def test_a_qemu_that_fails(qemu_one: Qemu, words: tuple[str, ...]) -> None:
    with OwnedQemu() as owned:
        start(owned, qemu_one, *words)
        with pytest.raises(EndedEarly):
            await attach_when_ready(owned)
        assert owned.status == 1
        assert "bogus" in owned.last_words()


SLOW_TO_LISTEN = """
import pathlib, socket, sys, time
path, refused = sys.argv[1:]
with socket.socket(socket.AF_UNIX) as listener:
    listener.bind(path)
    while not pathlib.Path(refused).exists():
        time.sleep(0.01)
    listener.listen()
    client = listener.accept()[0]
    client.sendall(
        b'{"QMP": {"version": {"qemu": {"major": 10, "minor": 0, "micro": 2}, "package": ""}, '
        b'"capabilities": []}}\\r\\n'
    )
    client.makefile().readline()
    client.sendall(b'{"return": {}}\\r\\n')
    client.recv(1)
"""


async def test_a_socket_with_a_name_at_which_nobody_listens_yet(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    refused = tmp_path / "refused"
    attach = Session.attach

    async def attach_noting(*arguments: object, **options: object) -> Session:
        try:
            return await attach(*arguments, **options)  # type: ignore[arg-type]
        except CannotAttach as problem:
            if isinstance(problem.__cause__, ConnectionRefusedError):
                refused.touch()
            raise

    monkeypatch.setattr(Session, "attach", attach_noting)
    with OwnedQemu() as owned:
        words = [sys.executable, "-c", SLOW_TO_LISTEN, str(owned.monitor), str(refused)]
        owned.start(words, quiet=True)
        async with await attach_when_ready(owned, share=False) as session:
            assert refused.exists()
            assert session.version.major == 10


async def test_a_program_that_is_no_qemu() -> None:
    with OwnedQemu() as owned:
        owned.start(["true"], quiet=True)
        with pytest.raises(EndedEarly):
            await attach_when_ready(owned)
        assert owned.status == 0
