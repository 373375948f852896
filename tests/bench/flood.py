"""`python -m tests.bench.flood [--rate N] [--size N] [--seconds N]`: a flood through a VM's netdev while qmon records.

A sender of our own writes numbered frames to a stream netdev at a steady rate; the NIC behind it has no driver and
takes everything. `qmon dump -w` writes to a file in memory, which is read at the end: what is missing is counted by
the numbers. Says the rate that was reached, the CPU time of each process a frame, and what qmon said. Not part of the
tests.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import struct
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from qmon.packets.files.source import CaptureFile
from tests.lab import start_vm
from tests.lab.qemus import get
from tests.lab.vm import LabVm

ROUND_S = 0.01
QMON = (sys.executable, "-m", "qmon")


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be measured."""

    rate: int
    size: int
    seconds: float
    qemu: str
    words: tuple[str, ...]


def send(path: str, asked: Asked) -> None:
    """Connect to the netdev and send at the rate; a process of its own. Prints how many frames went in what time."""
    count = max(1, round(asked.rate * ROUND_S))
    rows = np.zeros((count, 4 + asked.size), np.uint8)
    rows[:, :4] = np.frombuffer(struct.pack(">I", asked.size), np.uint8)
    rows[:, 4:18] = np.frombuffer(bytes.fromhex("525400000002525400000001") + b"\x88\xb5", np.uint8)
    numbers = np.arange(count, dtype=">u8")
    sent = 0
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(path)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
        began = time.monotonic()
        while (passed := time.monotonic() - began) < asked.seconds:
            due = sent / asked.rate
            if due > passed:
                time.sleep(due - passed)
            rows[:, 18:26] = (numbers + sent).astype(">u8").view(np.uint8).reshape(-1, 8)
            peer.sendall(rows.data)
            sent += count
        print(sent, time.monotonic() - began, flush=True)
        sys.stdin.read()


def cpu_s(pid: int) -> float:
    """User and system time of a process, its threads included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def numbers_in(path: Path) -> tuple[int, int]:
    """Return how many frames of ours a capture holds, and how many of them in the order they were sent."""
    count = ordered = 0
    last = -1
    with CaptureFile(path) as file:
        while (batch := file.read_batch()) is not None:
            at = batch.offset[:, None] + np.arange(18, 26)
            got = batch.data[at].view(">u8").reshape(-1).astype(np.int64)
            steps = np.diff(np.concatenate(([last], got)))
            count, ordered, last = count + len(got), ordered + int((steps > 0).sum()), int(got[-1])
    return count, ordered


async def measure(vm: LabVm, asked: Asked, folder: Path) -> None:
    """Record one flood and print what came of it."""
    file = folder / "flood.pcapng"
    dump = await asyncio.create_subprocess_exec(
        *QMON, "--vm", vm.qmp[0], "dump", "--netdev", "d1", "-w", str(file), *asked.words,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert dump.stderr is not None
    said = [(await dump.stderr.readline()).decode()]
    ours = ("--send", f"{vm.directory}/net", "--rate", str(asked.rate), "--size", str(asked.size))
    before = cpu_s(vm.pid), cpu_s(dump.pid)
    sender = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.flood", *ours, "--seconds", str(asked.seconds),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert sender.stdout is not None
    sent_text, took_text = (await sender.stdout.readline()).split()
    sent, took_s = int(sent_text), float(took_text)
    vm_s, qmon_s = cpu_s(vm.pid) - before[0], cpu_s(dump.pid) - before[1]
    await asyncio.sleep(1.0)
    await sender.communicate(b"")
    dump.terminate()
    said += (await dump.stderr.read()).decode().splitlines(keepends=True)
    await dump.wait()
    count, ordered = numbers_in(file)
    print(f"asked {asked.rate}/s of {asked.size} B, sent {sent} in {took_s:.2f} s: {sent / took_s:.0f}/s")
    print(f"in the file {count} ({ordered} in order), lost {sent - count} ({(sent - count) / sent:.2%})")
    print(f"CPU a frame: QEMU {vm_s / sent * 1e6:.2f} us, qmon {qmon_s / sent * 1e6:.2f} us")
    print("".join(f"  {line}" for line in said))


async def run(asked: Asked) -> None:
    """Start the VM and measure."""
    net = "stream,id=d1,server=on,addr.type=unix,addr.path={directory}/net"
    words = ("-netdev", net, "-device", "rtl8139,netdev=d1,id=nic1,romfile=")
    # The recording is kept in memory: a disk would be measured otherwise.
    with tempfile.TemporaryDirectory(prefix="qmon-flood-", dir="/dev/shm") as folder:
        async with start_vm(get(asked.qemu), *words) as vm:
            await measure(vm, asked, Path(folder))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=150_000)
    parser.add_argument("--size", type=int, default=1514)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--qemu", default="7.2")
    parser.add_argument("--send", help=argparse.SUPPRESS)
    parser.add_argument("words", nargs="*", help="more words for qmon dump")
    given = parser.parse_args()
    asked = Asked(given.rate, given.size, given.seconds, given.qemu, tuple(given.words))
    if given.send:
        send(given.send, asked)
    else:
        asyncio.run(run(asked))


if __name__ == "__main__":
    main()
