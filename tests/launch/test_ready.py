"""Attaching to a QEMU that was just started, or that fails instead."""

import os
from pathlib import Path

import pytest

from qmon.launch.command_line import configuration, plan
from qmon.launch.process import OwnedQemu
from qmon.launch.ready import EndedEarly, attach_when_ready, ptys
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


async def test_a_program_that_is_no_qemu() -> None:
    with OwnedQemu() as owned:
        owned.start(["true"], quiet=True)
        with pytest.raises(EndedEarly):
            await attach_when_ready(owned)
        assert owned.status == 0
