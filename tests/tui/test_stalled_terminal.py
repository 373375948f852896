"""A dashboard whose terminal nobody reads, on a VM that gets many packets: nothing is lost, and nothing waits."""

from __future__ import annotations

import asyncio
import os
import re
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lab import Qemu, start_vm
from tests.lab.vm import LabVm
from tests.tui.tmux import terminal

pytestmark = pytest.mark.terminal
QMON = str(Path(sys.executable).with_name("qmon"))
FRAMES, FRAME_BYTES, BURST = 20_000, 1400, 50
PCAP_HEADER, RECORD_HEADER = 24, 16
PATIENCE_S = 60.0


async def _until(fact: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not fact():
        assert time.monotonic() < deadline, fact
        await asyncio.sleep(0.002)


def _free_ports() -> tuple[int, int]:
    with socket.socket(type=socket.SOCK_DGRAM) as one, socket.socket(type=socket.SOCK_DGRAM) as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]


def _takes_output(tty: int) -> bool:
    return bool(select.select((), (tty,), (), 0)[1])


def _read_to_the_end(vm: LabVm, size: int) -> bool:
    """Tell whether QEMU wrote that much into one of qmon's memfds, and qmon gave nearly all of it back."""
    for link in Path(f"/proc/{vm.pid}/fd").iterdir():
        try:
            if not os.readlink(link).startswith("/memfd:"):
                continue
            found = link.stat()
        except OSError:
            continue
        if found.st_size >= size and found.st_blocks * 512 < size // 4:
            return True
    return False


async def test_nothing_is_lost_while_the_terminal_takes_nothing(qemu: Qemu, runtime_directory: Path) -> None:
    ours, theirs = _free_ports()
    options = (
        *("-netdev", f"socket,id=wire,udp=127.0.0.1:{ours},localaddr=127.0.0.1:{theirs}"),
        *("-netdev", "hubport,id=port1,hubid=0,netdev=wire", "-netdev", "hubport,id=port2,hubid=0"),
        *("-object", "filter-dump,id=other,netdev=wire,file={directory}/other.pcap"),
    )
    frame = bytes.fromhex("525400123456 525400abcdef 88b5") + bytes(FRAME_BYTES - 14)
    async with (
        start_vm(qemu, *options) as vm,
        terminal(
            runtime_directory, [QMON, "--no-confirm", "--netdev", "wire", "--vm", str(vm.qmp[0])]
        ) as pane,
    ):
        await pane.shows("● 1 tap", "0 packets")
        tty = os.open((await pane.tmux("display", "-p", "#{pane_tty}")).strip(), os.O_WRONLY | os.O_NOCTTY)
        server = int(await pane.tmux("display", "-p", "#{pid}"))
        other = vm.directory / "other.pcap"
        os.kill(server, signal.SIGSTOP)
        try:
            with socket.socket(type=socket.SOCK_DGRAM) as wire:
                wire.bind(("127.0.0.1", ours))
                for sent in range(BURST, FRAMES + BURST, BURST):
                    for _ in range(BURST):
                        wire.sendto(frame, ("127.0.0.1", theirs))
                    # A datagram more than the socket holds would be lost on its way to QEMU.
                    size = PCAP_HEADER + sent * (RECORD_HEADER + FRAME_BYTES)
                    await _until(lambda size=size: other.stat().st_size == size)
            await _until(lambda: _read_to_the_end(vm, FRAMES * FRAME_BYTES))
            assert not _takes_output(tty)
        finally:
            os.kill(server, signal.SIGCONT)
            os.close(tty)
        screen = await pane.shows(f"{FRAMES:,} packets", "0 dropped")
        assert re.search(rf"Packet {FRAMES} ", screen) or "follow" in screen
        await pane.keys("4")
        screen = await pane.shows("wire is captured")
        assert "gap" not in screen
        await pane.keys("q")
        assert await pane.status() == 0
