"""scapy's layers, loaded with the first use: frames are built and read with them.

Owns the reading of frames from outside: hostile bytes give None or an odd packet, never an error.
"""

from __future__ import annotations

import functools
import importlib
import threading
from types import SimpleNamespace
from typing import Any

from qmon.packets.dissect import loading

# The least an Ethernet frame has without its check sum (IEEE 802.3): some NICs drop what is shorter.
LEAST_FRAME_BYTES = 60
BROADCAST = "ff:ff:ff:ff:ff:ff"

_LOADING = threading.Lock()
_MODULES = ("layers.l2", "layers.inet", "layers.inet6", "layers.dns", "layers.dhcp", "packet")


def layers() -> Any:
    """Return a namespace with every name of the layers that are used here (`Ether`, `ARP`, `IP`, …)."""
    with _LOADING:
        return _loaded()


def load_early() -> None:
    """Begin to load them, for those who will soon need them: it takes some 0.3 s, and attaching to a VM waits."""
    threading.Thread(target=layers, daemon=True, name="load scapy").start()


@functools.cache
def _loaded() -> Any:
    loading.library()
    found: dict[str, Any] = {}
    for name in _MODULES:
        found |= vars(importlib.import_module(f"scapy.{name}"))
    return SimpleNamespace(**found)


def frame_of(packet: Any) -> bytes:
    """Return a packet's bytes, padded to what a wire carries at least."""
    return bytes(packet).ljust(LEAST_FRAME_BYTES, b"\0")


def read(frame: bytes) -> Any | None:
    """Return scapy's packet for an Ethernet frame; None for bytes that it cannot read."""
    try:
        return layers().Ether(frame)
    except Exception:  # noqa: BLE001  scapy raises whatever comes to its mind on hostile bytes.
        return None


def mac_bytes(mac: str) -> bytes:
    """Return the 6 bytes of a MAC address; ValueError for what is none."""
    data = bytes.fromhex(mac.replace(":", "").replace("-", ""))
    if len(data) != 6:
        raise ValueError(f"{mac} is not a MAC address")
    return data
