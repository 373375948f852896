"""Frames of the user's choice put on a wire: in the rhythm of a capture, at a rate, or as fast as QEMU takes them.

Owns the pace and the exchange of addresses. Must never change a frame in any other way.
"""

from __future__ import annotations

import asyncio
import importlib
import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from qmon.errors import UsageError
from qmon.wire.injection import Toward
from qmon.wire.layers import layers, mac_bytes, read
from qmon.wire.wire import Wire

# So many frames go with one announcement.
_CHUNK = 64
_MAC = re.compile(r"[0-9a-fA-F]{2}(?::[0-9a-fA-F]{2}){5}")
_ADDRESS_FIELDS = ("src", "dst", "hwsrc", "hwdst", "psrc", "pdst", "tgt", "lladdr")
_SUMS = ("chksum", "cksum")


@dataclass(frozen=True, slots=True)
class Timed:
    """A frame, and when it went in the capture it is from (ns; None: at once)."""

    frame: bytes
    time_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Pace:
    """`speed` is how often faster than in the capture (None: its times do not matter); the rate is the wire's."""

    speed: float | None = 1.0


async def send_frames(
    wire: Wire, toward: Toward, frames: Iterable[Timed], pace: Pace, on_sent: Callable[[int], None]
) -> int:
    """Send frames at a pace; return how many. `on_sent` hears how many have gone so far."""
    loop = asyncio.get_running_loop()
    # The way is there before the first frame's time runs.
    await wire.open(toward)
    began, first, count = 0.0, None, 0
    chunk: list[bytes] = []
    for one in frames:
        if pace.speed is not None and one.time_ns is not None:
            if first is None:
                began, first = loop.time(), one.time_ns
            wait_s = began + max(one.time_ns - first, 0) / 1e9 / pace.speed - loop.time()
            if wait_s > 0:
                count += await _flush(wire, toward, chunk, on_sent, count)
                await asyncio.sleep(wait_s)
        chunk.append(one.frame)
        if len(chunk) >= _CHUNK:
            count += await _flush(wire, toward, chunk, on_sent, count)
    return count + await _flush(wire, toward, chunk, on_sent, count)


async def _flush(
    wire: Wire, toward: Toward, chunk: list[bytes], on_sent: Callable[[int], None], before: int
) -> int:
    frames, chunk[:] = list(chunk), []
    if frames:
        await wire.send_all(toward, frames)
        on_sent(before + len(frames))
    return len(frames)


def parse_map(words: Sequence[str]) -> dict[str, str]:
    """Read ``OLD=NEW`` pairs of MACs, of IPv4 or of IPv6 addresses."""
    found = {}
    for word in words:
        old, _, new = word.partition("=")
        kinds = [_kind(one) for one in (old, new)]
        if None in kinds or kinds[0] != kinds[1]:
            raise UsageError(
                f"--map {word}: not OLD=NEW of two MACs, two IPv4 or two IPv6 addresses",
                hint="As in --map 10.0.2.15=10.0.2.16",
            )
        found[_canonical(old)] = _canonical(new)
    return found


def _kind(text: str) -> int | None:
    if _MAC.fullmatch(text):
        return 0
    try:
        return ipaddress.ip_address(text).version
    except ValueError:
        return None


def _canonical(text: str) -> str:
    return mac_bytes(text).hex(":") if _MAC.fullmatch(text) else str(ipaddress.ip_address(text))


def mapped(frame: bytes, exchange: Mapping[str, str]) -> bytes:
    """Return a frame with its addresses exchanged and its check sums made anew; one without them as it is."""
    packet = read(frame) if exchange else None
    if packet is None or not _exchange(packet, exchange):
        return frame
    return bytes(packet)


def _exchange(packet: Any, exchange: Mapping[str, str]) -> bool:
    changed, lib = False, layers()
    layer = packet
    chain = []
    while layer is not None and not isinstance(layer, lib.NoPayload):
        chain.append(layer)
        for name in _ADDRESS_FIELDS:
            value = layer.fields.get(name)
            new = exchange.get(str(value).lower()) if value is not None else None
            if new is not None:
                layer.setfieldval(name, new)
                changed = True
        layer = layer.payload
    if changed:
        for one in chain:
            # Without a value, scapy computes it.
            for name in _SUMS:
                one.fields.pop(name, None)
            one.raw_packet_cache = None
    return changed


def parse_hex(text: str) -> bytes:
    """Read a frame's bytes as hexadecimal digits, with spaces or colons between them or none."""
    try:
        return bytes.fromhex(re.sub(r"[\s:]", "", text))
    except ValueError:
        raise UsageError("--hex wants the frame's bytes as hexadecimal digits") from None


def evaluate(expression: str, names: Mapping[str, Any]) -> list[bytes]:
    """Return the frames of scapy's packets that an expression gives: one packet, or several."""
    try:
        with _asking_nobody():
            return _evaluate(expression, names)
    except UsageError:
        raise
    except Exception as problem:
        raise UsageError(f"--scapy: {type(problem).__name__}: {problem}") from problem


@contextmanager
def _asking_nobody() -> Iterator[None]:
    """Keep scapy from asking the host's own network, by ARP, for a MAC address that an `Ether` lacks."""
    conf = importlib.import_module("scapy.config").conf
    theirs = conf.neighbor

    class Neighbours:
        def resolve(self, link: Any, network: Any) -> Any:
            if _needs_no_question(network):
                return theirs.resolve(link, network)
            raise UsageError(
                "--scapy: an Ether() to one host needs dst=",
                hint="The guest's MAC address is shown by 'qmon addr'; the router's by 'qmon ask arp'.",
            )

    conf.neighbor = Neighbours()
    try:
        yield
    finally:
        conf.neighbor = theirs


def _needs_no_question(network: Any) -> bool:
    if isinstance(network, layers().ARP):
        return bool(network.op == 1)
    if not isinstance(network, layers().IP | layers().IPv6):
        return True
    try:
        address = ipaddress.ip_address(str(network.dst))
    except ValueError:
        return False
    return address.is_multicast or address.is_loopback or str(address) == "255.255.255.255"


def _evaluate(expression: str, names: Mapping[str, Any]) -> list[bytes]:
    result = eval(expression, dict(names))  # The user's own words, on the user's own command line.
    packets = [result] if isinstance(result, bytes) or hasattr(result, "layers") else list(result)
    return [frame for one in packets for frame in _frames(one)]


def _frames(packet: Any) -> list[bytes]:
    if isinstance(packet, bytes):
        return [packet]
    # A packet may stand for many: a field may have several values.
    return [bytes(one) for one in packet]
