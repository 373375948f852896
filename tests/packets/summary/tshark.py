"""tshark's columns of a capture beside ours."""

from __future__ import annotations

import subprocess
from pathlib import Path

from qmon.packets.files.source import CaptureFile
from qmon.packets.summary import Summary, summarise


def tshark(path: Path) -> list[Summary]:
    """Return what tshark's list shows of each packet."""
    columns = ("Source", "Destination", "Protocol", "Info")
    told = subprocess.run(
        ["tshark", "-n", "-r", path, "-T", "fields", "-E", "separator=\x01"]
        + [word for column in columns for word in ("-e", f"_ws.col.{column}")],
        capture_output=True,
        timeout=60,
        check=True,
    )
    lines = told.stdout.decode("utf-8", "backslashreplace").splitlines()
    return [Summary(*line.split("\x01", 3)) for line in lines]


def ours(path: Path) -> list[Summary]:
    """Return what qmon's list shows of each packet."""
    summaries = []
    with CaptureFile(path) as capture:
        while (batch := capture.read_batch()) is not None:
            link_types = [interface.link_type for interface in capture.interfaces]
            for i in range(len(batch)):
                length = int(batch.length[i])
                summaries.append(summarise(batch.frame(i), link_types[batch.interface[i]], length=length))
    return summaries


def columns(summary: Summary) -> tuple[str, str, str]:
    """Return both addresses and the protocol, as tshark spells them."""
    ends = [end.replace("Broadcast", "ff:ff:ff:ff:ff:ff") for end in (summary.source, summary.destination)]
    return ends[0], ends[1], summary.protocol
