"""`python -m tests.bench [--packets N] [--rounds N] [--only NAME…]`: qmon's packet code against others' on one file.

All contenders run in turn, several times, each in a process of its own on the same capture with a warm page cache;
what counts is CPU time (user and system), its median, as a ratio to `tcpdump -n`. The machine may be busy: the ratio is
what stays. Not part of the tests.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import platformdirs

REFERENCE = "tcpdump -n"
# The slowest gets a smaller capture; its times are scaled.
SLOW_SHARE = 20


@dataclass
class Contender:
    """A command on a capture, and what was measured of it."""

    name: str
    command: tuple[str, ...]
    share: int = 1
    cpu_s: list[float] = field(default_factory=list)
    wall_s: list[float] = field(default_factory=list)
    peak_mib: float = 0

    def run(self, path: Path) -> None:
        """Run it once."""
        # Without TZ, tcpdump asks for the zone's file at every packet.
        environment = os.environ | {"TZ": "UTC", "OPENBLAS_NUM_THREADS": "1"}
        words = [str(path) if word == "FILE" else word for word in self.command]
        before = os.times().elapsed
        with subprocess.Popen(
            words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
        ) as child:
            _, status, usage = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            raise SystemExit(f"{self.name} failed: {' '.join(words)}")
        self.wall_s.append((os.times().elapsed - before) * self.share)
        self.cpu_s.append((usage.ru_utime + usage.ru_stime) * self.share)
        self.peak_mib = max(self.peak_mib, usage.ru_maxrss / 1024)


def _ours(name: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "tests.bench.contenders", name, "FILE")


def contenders() -> list[Contender]:
    """List everything there is to measure on this machine."""
    everything = [
        Contender("cat", ("cat", "FILE")),
        Contender(REFERENCE, ("tcpdump", "-n", "-r", "FILE")),
        Contender("tcpdump -w", ("tcpdump", "-r", "FILE", "-w", "/dev/null")),
        Contender("capinfos -c", ("capinfos", "-c", "FILE")),
        Contender("qmon: start only", _ours("nothing")),
        Contender("qmon: full index", _ours("index")),
        Contender("qmon: live, spooled", _ours("live")),
        Contender("qmon: to pcapng", _ours("rewrite")),
        Contender("qmon read", (sys.executable, "-m", "qmon", "read", "FILE")),
        Contender("qmon read -o jsonl", (sys.executable, "-m", "qmon", "read", "-o", "jsonl", "FILE")),
        Contender("tshark", ("tshark", "-n", "-r", "FILE")),
        Contender("dpkt", _ours("dpkt_decode")),
        Contender("scapy", _ours("scapy_read"), share=SLOW_SHARE),
    ]
    return [one for one in everything if shutil.which(one.command[0])]


def capture(packets: int) -> Path:
    """Return the capture of so many packets, made at the first time."""
    folder = Path(platformdirs.user_cache_dir("qmon-bench"))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"mixed-{packets}.pcap"
    if not path.exists():
        # Its own process: one that was large once makes all it starts look large.
        part = path.with_suffix(".part")
        subprocess.run([sys.executable, "-m", "tests.bench.contenders", "make", str(part)], check=True)
        part.rename(path)
    return path


def _table(done: list[Contender], packets: int) -> str:
    reference = next(statistics.median(one.cpu_s) for one in done if one.name == REFERENCE)
    lines = [f"{'':22}{'CPU s':>9}{'x ' + REFERENCE:>14}{'ns/packet':>12}{'wall s':>9}{'peak MiB':>10}"]
    for one in done:
        cpu = statistics.median(one.cpu_s)
        wall = statistics.median(one.wall_s)
        lines.append(
            f"{one.name:22}{cpu:9.3f}{cpu / reference:14.3f}{cpu / packets * 1e9:12.0f}{wall:9.3f}{one.peak_mib:10.0f}"
        )
    start, index = (
        next((one for one in done if one.name == f"qmon: {name}"), None)
        for name in ("start only", "full index")
    )
    if start and index:
        memory = index.peak_mib - start.peak_mib
        lines.append(f"memory of the index: {memory:.1f} MiB on top of a process that does nothing")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packets", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="*", help=f"parts of names; {REFERENCE} always runs")
    words = parser.parse_args()
    chosen = [
        one
        for one in contenders()
        if not words.only or one.name == REFERENCE or any(part in one.name for part in words.only)
    ]
    whole, small = capture(words.packets), capture(max(1, words.packets // SLOW_SHARE))
    for _ in range(words.rounds):
        for one in chosen:
            one.run(whole if one.share == 1 else small)
    print(f"{words.packets} packets, {whole.stat().st_size / 1e6:.0f} MB, {words.rounds} rounds, medians")
    print(_table(chosen, words.packets))


if __name__ == "__main__":
    main()
