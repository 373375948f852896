"""Interface numbers that never change, whatever capture the frames come from.

A VM that is started again is captured anew, and its netdevs are counted from zero again; for those who show or write
its frames a netdev keeps its number. Owns the list of interfaces. Must never forget one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from qmon.capture.taps.tap import TapState
from qmon.capture.vm import Polled, VmCapture
from qmon.packets.batch import Interface, Note


class Numbering:
    """Maps each capture's interfaces to one list, by their names."""

    def __init__(self) -> None:
        self.interfaces: list[Interface] = []
        self._of: dict[str, int] = {}
        self._map = np.empty(0, np.uint16)

    def __repr__(self) -> str:
        return f"<Numbering of {sorted(self._of)}>"

    def learn(self, capture: VmCapture) -> None:
        """Number what a capture tells of now, and take over what it knows better since."""
        interfaces = capture.interfaces
        for interface in interfaces:
            number = self._of.setdefault(interface.name, len(self.interfaces))
            if number == len(self.interfaces):
                self.interfaces.append(interface)
            else:
                self.interfaces[number] = interface
        self._map = np.array([self._of[interface.name] for interface in interfaces], np.uint16)

    def poll(self, capture: VmCapture) -> Polled:
        """Return what a capture has, renumbered."""
        polled = capture.poll()
        if not polled.batches and not polled.notes:
            return polled
        self.learn(capture)
        return Polled(
            tuple(replace(batch, interface=self._map[batch.interface]) for batch in polled.batches),
            tuple(self._note(note) for note in polled.notes),
        )

    def taps(self, capture: VmCapture) -> tuple[TapState, ...]:
        """Return all taps a capture ever had, renumbered."""
        self.learn(capture)
        return self._taps(capture.totals)

    def _taps(self, taps: Sequence[TapState]) -> tuple[TapState, ...]:
        return tuple(replace(tap, interface=int(self._map[tap.interface])) for tap in taps)

    def _note(self, note: Note) -> Note:
        return note if note.interface is None else replace(note, interface=int(self._map[note.interface]))
