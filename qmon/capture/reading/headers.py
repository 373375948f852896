"""virtio-net headers in front of the frames of one netdev, found and removed while frames come.

Before 8.0 QEMU writes them into its dumps where a tap feeds a virtio NIC. Their size depends on what the guest's driver
agreed on: none before there is a driver, 10 bytes for a boot ROM, 12 for Linux after it. Owns what is believed at
the moment. Must never cut a frame on a guess alone: the frames must agree.
"""

from __future__ import annotations

import numpy as np

from qmon.packets import virtio
from qmon.packets.batch import FrameBatch
from qmon.packets.copying import I64, U8, clipped_items_at

_SIZES = (0, *virtio.SIZES)
_ADDRESSES = 12


class HeaderFinder:
    """Knows a netdev's header size from frame to frame; `mac` is its NIC's (None: not known)."""

    def __init__(self, mac: bytes | None) -> None:
        self._mac = None if mac is None else np.frombuffer(mac, np.uint8)
        self._size = 0

    def __repr__(self) -> str:
        return f"<HeaderFinder {self._size} bytes>"

    def strip(self, batch: FrameBatch) -> FrameBatch:
        """Return the frames without headers; what these said of offloads is kept."""
        sizes = self._sizes(batch)
        for size in virtio.SIZES:
            which = sizes == size
            if which.all():
                return virtio.strip(batch, size)
            if which.any():
                batch = virtio.strip(batch, size, which)
        return batch

    def _sizes(self, batch: FrameBatch) -> U8:
        """Return each frame's header size: where it cannot be told, the one of the frame before."""
        told = self._told(batch)
        known = np.flatnonzero(told >= 0)
        if not len(known):
            # Too little to go by, for instance a lone strange frame: all together may tell.
            self._size = virtio.detect(batch, least=1) or self._size
            return np.full(len(batch), self._size, np.uint8)
        before = np.searchsorted(known, np.arange(len(batch)), side="right") - 1
        sizes = np.where(before >= 0, told[known[np.maximum(before, 0)]], told[known[0]])
        self._size = int(sizes[-1])
        return sizes.astype(np.uint8)

    def _told(self, batch: FrameBatch) -> I64:
        """Return for each frame the size at which its addresses are those of this NIC, or -1.

        Exactly one size must fit: the NIC's own address as source or destination, behind a header that can be one.
        """
        told = np.full(len(batch), -1, np.int64)
        if self._mac is None:
            return told
        window = virtio_window(batch)
        fits = np.zeros((len(_SIZES), len(batch)), np.bool_)
        for number, size in enumerate(_SIZES):
            addresses = window[:, size : size + _ADDRESSES].reshape(-1, 2, 6)
            fits[number] = (addresses == self._mac).all(axis=2).any(axis=1)
        clear = fits.sum(axis=0) == 1
        told[clear] = np.array(_SIZES)[fits[:, clear].argmax(axis=0)]
        return told


def virtio_window(batch: FrameBatch) -> U8:
    """Return the first bytes of every frame, enough for the longest header and two addresses, as rows."""
    width = max(_SIZES) + _ADDRESSES
    rows: U8 = clipped_items_at(batch.data, width, batch.offset).reshape(-1, width)
    return rows
