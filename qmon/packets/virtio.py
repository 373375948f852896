"""virtio-net headers in front of frames: finding and removing them.

Before version 8.0 QEMU wrote the frames of a tap or bridge netdev with the header that virtio-net and the tap share,
10 or 12 bytes, as if it were part of an Ethernet frame (seen on 7.2). The header's layout is that of struct
virtio_net_hdr in the VIRTIO specification, 5.1.6. Owns the judgement of frames; the caller knows the VM.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from qmon.packets.batch import FrameBatch, Offload
from qmon.packets.copying import I64, U8, Mask, clipped_items_at

SIZES = (10, 12)
# Frames that make sense one way or another, before anything is said; and the share that must agree.
LEAST_FRAMES, AGREEMENT = 3, 0.9
NEEDS_CHECKSUM = 1
_KNOWN_FLAGS = 0x07
# none, TCPv4, UDP, TCPv6, UDP_L4; the uppermost bit may mark ECN, the next two UDP tunnels.
_SEGMENTATION_KINDS = np.isin(np.arange(32), (0, 1, 3, 4, 5))
_WINDOW = 12 + 14 + 4 + 8


def detect(batch: FrameBatch, *, least: int = LEAST_FRAMES) -> int | None:
    """Return how many bytes of header every frame of one interface carries: 0, 10 or 12; None: too few to tell.

    A header is believed if behind it nearly all frames are sound IP or ARP, and without it nearly none is: so frames
    of a loopback interface, or with addresses of zeros, are left alone.
    """
    if not len(batch):
        return None
    sound = {size: _sound(batch, size) for size in (0, *SIZES)}
    judged = sound[0] | sound[10] | sound[12]
    count = int(judged.sum())
    if count < least:
        return None
    share = {size: float(mask.sum()) / count for size, mask in sound.items()}
    for size in SIZES:
        if share[size] >= AGREEMENT and share[0] <= 1 - AGREEMENT:
            return size
    return 0


def strip(batch: FrameBatch, size: int, which: Mask | None = None) -> FrameBatch:
    """Return the frames without their headers; what these say of work left to hardware becomes `offload`.

    `which` says which frames have one (None: all).
    """
    if not size or not len(batch):
        return batch
    header = clipped_items_at(batch.data, 2, batch.offset).reshape(-1, 2)
    offload = np.where(header[:, 0] & NEEDS_CHECKSUM, np.uint8(Offload.PARTIAL_CHECKSUM), np.uint8(0))
    offload |= np.where(header[:, 1] & 0x7F, np.uint8(Offload.SEGMENTATION), np.uint8(0))
    there = batch.captured >= size
    if which is not None:
        there &= which
    # A frame cut off within its header has nothing left.
    cut = np.minimum(batch.captured, np.uint32(size))
    on_wire = np.minimum(batch.length, np.uint32(size))
    if which is not None:
        cut, on_wire = cut * which, on_wire * which
    before = np.zeros(len(batch), np.uint8) if batch.offload is None else batch.offload
    return replace(
        batch,
        offset=batch.offset + cut,
        captured=batch.captured - cut,
        length=batch.length - on_wire,
        position=None if batch.position is None else batch.position + cut,
        offload=before | np.where(there, offload, np.uint8(0)),
    )


def _sound(batch: FrameBatch, size: int) -> Mask:
    """For each frame: does it make sense as Ethernet with IP or ARP behind `size` bytes of header?"""
    window = clipped_items_at(batch.data, _WINDOW, batch.offset).reshape(-1, _WINDOW)
    kind = _be16(window, size + 12)
    tagged = (kind == 0x8100) | (kind == 0x88A8)
    rest = batch.length.astype(np.int64) - size - 14
    plain = _sound_payload(window[:, size + 14 :], kind, rest)
    behind_tag = _sound_payload(window[:, size + 18 :], _be16(window, size + 16), rest - 4)
    mask: Mask = np.where(tagged, behind_tag, plain) & (batch.captured >= size + 14 + 8)
    if size:
        mask &= (window[:, 0] & ~np.uint8(_KNOWN_FLAGS)) == 0
        mask &= _SEGMENTATION_KINDS[window[:, 1] & 0x1F]
        # Without segmentation there is no size of segments.
        mask &= (window[:, 1] != 0) | ((window[:, 4] == 0) & (window[:, 5] == 0))
    return mask


def _sound_payload(payload: U8, kind: I64, rest: I64) -> Mask:
    first, total = payload[:, 0], _be16(payload, 2)
    ipv4 = (kind == 0x0800) & (first >= 0x45) & (first <= 0x4F) & (total >= 20) & (total <= rest)
    ipv6 = (kind == 0x86DD) & (first >> 4 == 6) & (_be16(payload, 4) + 40 <= rest)
    arp = (kind == 0x0806) & (_be16(payload, 0) == 1) & (total == 0x0800)
    result: Mask = ipv4 | ipv6 | arp
    return result


def _be16(window: U8, at: int) -> I64:
    result: I64 = window[:, at].astype(np.int64) << 8 | window[:, at + 1]
    return result
