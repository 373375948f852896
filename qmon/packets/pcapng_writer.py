"""Writing pcapng. Does no I/O."""

from __future__ import annotations

from collections.abc import Mapping

from qmon.packets.batch import FrameBatch, Interface, Note, Statistics


class PcapngWriter:
    """Encodes one section. `header()` first; `interface()` before that interface's frames; the rest in any order."""

    def __init__(self, *, application: str = "", hardware: str = "", operating_system: str = "") -> None:
        self._application = application
        self._interfaces: list[Interface] = []

    def header(self, comment: str = "") -> bytes:
        """Return the section header block."""
        raise NotImplementedError

    def interface(self, interface: Interface) -> bytes:
        """Return an interface description block; its index is how many came before."""
        raise NotImplementedError

    def encode(self, batch: FrameBatch) -> bytes:
        """Return enhanced packet blocks, with directions and comments."""
        raise NotImplementedError

    def note(self, note: Note) -> bytes:
        """Return a note as a packet of link type 252 (a syslog message) on an interface made for notes.

        The first one is preceded by that interface's description, which takes the next index.
        """
        raise NotImplementedError

    def names(self, names: Mapping[str, str]) -> bytes:
        """Return a name resolution block: address (IPv4 or IPv6, as text) to name."""
        raise NotImplementedError

    def statistics(self, statistics: Statistics) -> bytes:
        """Return an interface statistics block."""
        raise NotImplementedError
