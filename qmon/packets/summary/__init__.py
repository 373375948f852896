"""One packet as one line: source, destination, protocol and info, as Wireshark's packet list words them.

Owns the way of a frame from its link type to the words; a module for each level says what that level's headers mean.
Works on one frame alone (no state: sequence numbers are as on the wire, unless they are given), costs some 5 µs, never
raises on any bytes, and everything it returns is plain text. Must never import scapy: that is for the one packet looked
at in full.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from qmon.packets.summary import link
from qmon.packets.summary.line import Line
from qmon.text import plain

# Few frames have a header behind these many bytes; for those that do, this is the most that is looked at.
LOOK_BYTES = 4096
_MOST_BYTES = 1 << 18


@dataclass(frozen=True, slots=True)
class Summary:
    """A packet's columns; `protocol` is named as by Wireshark.

    `ports` are the source's and the destination's, None where there are none. `payload_bytes` is the length of what
    the innermost header known carries, as tcpdump gives it: of TCP and UDP their data, of IP what is in the packet.
    """

    source: str
    destination: str
    protocol: str
    info: str
    ports: tuple[int, int] | None = None
    payload_bytes: int = 0


def summarise(
    frame: bytes | memoryview,
    link_type: int,
    *,
    length: int | None = None,
    tcp: tuple[int, int, int] | None = None,
) -> Summary:
    """Word one frame; `length` is what it had on the wire, where more than was captured.

    `tcp` is how its sequence number, acknowledgement and window are to be read; without it they are as on the wire.
    """
    size = len(frame) if length is None else length

    def begin(line: Line) -> None:
        line.tcp = tcp
        link.begin(line, link_type)

    return worded(frame, size, begin)


def worded(frame: bytes | memoryview, length: int, begin: Callable[[Line], None]) -> Summary:
    """Word a frame that had `length` bytes on the wire; `begin` words what it begins with."""
    line = _word(frame, length, begin, LOOK_BYTES)
    # Names and text from the packet were made plain where they were read; this is the net below.
    info = line.info.strip()
    return Summary(
        line.source if line.source.isprintable() else plain(line.source),
        line.destination if line.destination.isprintable() else plain(line.destination),
        line.protocol if line.protocol.isprintable() else plain(line.protocol),
        info if info.isprintable() else plain(info),
        line.ports,
        line.payload,
    )


def _word(frame: bytes | memoryview, length: int, begin: Callable[[Line], None], look: int) -> Line:
    line = Line(bytes(frame[:look]), length)
    try:
        begin(line)
    except (IndexError, struct.error):
        if look < len(frame):
            if look < _MOST_BYTES:
                return _word(frame, length, begin, _MOST_BYTES)
            line.info += " [too long to be read]"
        else:
            line.info += " [cut short by the capture]" if length > len(frame) else " [malformed]"
    except Exception:  # noqa: BLE001  A mistake of ours in wording one packet must not end the list of all.
        line.info += " [could not be read]"
    return line
