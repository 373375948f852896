"""Running a classic BPF program over many frames at once.

The idea: a filter program is a graph that every frame enters at the top and leaves by a `ret`. Instead of walking it
once per frame, a group of frames walks it together: a load gathers one number from each frame of the group, a jump
splits the group in two, and where ways meet again the groups are joined. Jumps of a compiled filter only go forward
(but for `protochain`, see `is_loop`), so taking the instructions in their order sees every group once.

What each instruction means: "The BSD Packet Filter" (McCanne, Jacobson, 1992) and bpf(4); a load outside of the frame
rejects it. Owns nothing but the running: must never compile, and never looks at what the bytes mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from qmon.packets.batch import Direction, FrameBatch
from qmon.packets.copying import I64, U32, Mask, items_at

# So many frames at a time: their columns stay in the processor's cache.
BLOCK_FRAMES = 8192

# Linux's ancillary loads (linux/filter.h, SKF_AD_OFF) lie at "negative" offsets.
ANCILLARY = 0xFFFF_F000
PACKET_TYPE = ANCILLARY + 4
PACKET_OUTGOING = 4

_LD, _LDX, _ST, _STX, _ALU, _JMP, _RET, _MISC = range(8)
_IMM, _ABS, _IND, _MEM, _LEN, _MSH = range(0, 0xC0, 0x20)
_SIZES = {0x00: 4, 0x08: 2, 0x10: 1}
_ALWAYS, _EQUAL, _GREATER, _GREATER_OR_EQUAL, _ANY_BIT = range(0, 0x50, 0x10)
_USES_X = 0x08
_RETURN_A = 0x10
_TXA = 0x80


class Instruction(NamedTuple):
    """One instruction as libpcap hands it out."""

    code: int
    jump_true: int
    jump_false: int
    k: int


@dataclass(frozen=True, slots=True)
class _Group:
    """Frames at the same place of the program: which they are, and their registers (None: 0)."""

    index: I64
    a: U32
    x: U32
    memory: dict[int, U32] = field(default_factory=dict)

    def part(self, mask: Mask) -> _Group:
        memory = {slot: values[mask] for slot, values in self.memory.items()}
        return _Group(self.index[mask], self.a[mask], self.x[mask], memory)


def is_loop(program: Sequence[Instruction]) -> bool:
    """Whether the program can go backwards; `run` does not take such a one."""
    return any(i.code & 7 == _JMP and i.code & 0xF0 == _ALWAYS and i.k >= 1 << 31 for i in program)


def ancillary_loads(program: Iterable[Instruction]) -> set[int]:
    """Return which of Linux's ancillary offsets the program loads: what a file does not hold."""
    return {i.k for i in program if i.code & 7 == _LD and i.code & 0xE0 == _ABS and i.k >= ANCILLARY}


def run(program: Sequence[Instruction], batch: FrameBatch) -> Mask:
    """Return which frames of the batch the program accepts, as a mask of shape (n,)."""
    accepted = np.zeros(len(batch), np.bool_)
    for start in range(0, len(batch), BLOCK_FRAMES):
        stop = start + BLOCK_FRAMES
        _Block(batch, start, min(stop, len(batch)), accepted[start:stop]).run(program)
    return accepted


class _Block:
    def __init__(self, batch: FrameBatch, start: int, stop: int, accepted: Mask) -> None:
        self._data = batch.data
        self._offset = batch.offset[start:stop]
        self._captured = batch.captured[start:stop].astype(np.int64)
        self._length = batch.length[start:stop]
        self._direction = batch.direction[start:stop]
        self._accepted = accepted
        self._shortest = int(self._captured.min())

    def run(self, program: Sequence[Instruction]) -> None:
        n = len(self._offset)
        waiting: list[list[_Group]] = [[] for _ in program]
        zero = np.zeros(n, np.uint32)
        waiting[0].append(_Group(np.arange(n), zero, zero))
        for place, instruction in enumerate(program):
            group = _joined(waiting[place])
            waiting[place].clear()
            if group is not None:
                for target, rest in self._step(instruction, group):
                    if len(rest.index):
                        waiting[place + 1 + target].append(rest)

    def _step(self, instruction: Instruction, group: _Group) -> list[tuple[int, _Group]]:
        """Return where the group goes from here, as (instructions to skip, group)."""
        kind = instruction.code & 7
        if kind == _RET:
            value = group.a if instruction.code & 0x18 == _RETURN_A else instruction.k
            self._accepted[group.index] = np.not_equal(value, 0)
            return []
        if kind == _JMP:
            return _jump(instruction, group)
        if kind in (_LD, _LDX):
            return [(0, self._load(instruction, group))]
        if kind == _ALU:
            return [(0, _calculate(instruction, group))]
        if kind in (_ST, _STX):
            value = group.a if kind == _ST else group.x
            return [(0, replace(group, memory={**group.memory, instruction.k: value}))]
        if instruction.code & 0xF8 == _TXA:
            return [(0, replace(group, a=group.x))]
        return [(0, replace(group, x=group.a))]

    def _load(self, instruction: Instruction, group: _Group) -> _Group:
        """Load A or X; frames that end too early leave the group (and so are not accepted)."""
        mode, k = instruction.code & 0xE0, instruction.k
        to_x = instruction.code & 7 == _LDX
        value: U32
        if mode == _IMM:
            value = np.full(len(group.index), k, np.uint32)
        elif mode == _LEN:
            value = self._length[group.index]
        elif mode == _MEM:
            value = group.memory[k] if k in group.memory else np.zeros(len(group.index), np.uint32)
        elif mode == _MSH:
            group, value = self._gather(group, k, 1, indirect=False)
            value = (value & np.uint32(0xF)) << np.uint32(2)
        elif mode == _ABS and k == PACKET_TYPE:
            group, value = self._packet_type(group)
        else:
            group, value = self._gather(group, k, _SIZES[instruction.code & 0x18], indirect=mode == _IND)
        return replace(group, x=value) if to_x else replace(group, a=value)

    def _gather(self, group: _Group, k: int, size: int, *, indirect: bool) -> tuple[_Group, U32]:
        place: I64
        if indirect:
            place = group.x.astype(np.int64) + k
            inside = place + size <= self._captured[group.index]
            if not inside.all():
                group, place = group.part(inside), place[inside]
        else:
            if k + size > self._shortest:
                inside = self._captured[group.index] >= k + size
                group = group if inside.all() else group.part(inside)
            place = np.full(1, k, np.int64)
        if not len(group.index):
            return group, group.a
        start = self._offset[group.index] + place
        if size == 1:
            return group, self._data[start].astype(np.uint32)
        number: U32 = items_at(self._data, size, start).view(f">u{size}").astype(np.uint32)
        return group, number

    def _packet_type(self, group: _Group) -> tuple[_Group, U32]:
        """Linux's packet type, as far as `inbound` and `outbound` need it; a frame of unknown direction has none."""
        group = group.part(self._direction[group.index] != Direction.UNKNOWN)
        out = self._direction[group.index] == Direction.OUT
        return group, np.where(out, PACKET_OUTGOING, 0).astype(np.uint32)


def _joined(groups: list[_Group]) -> _Group | None:
    if len(groups) < 2:
        return groups[0] if groups else None
    slots = set.intersection(*(set(group.memory) for group in groups))
    return _Group(
        np.concatenate([group.index for group in groups]),
        np.concatenate([group.a for group in groups]),
        np.concatenate([group.x for group in groups]),
        {slot: np.concatenate([group.memory[slot] for group in groups]) for slot in slots},
    )


def _operand(instruction: Instruction, group: _Group) -> U32:
    return group.x if instruction.code & _USES_X else np.full(1, instruction.k, np.uint32)


def _jump(instruction: Instruction, group: _Group) -> list[tuple[int, _Group]]:
    condition, other = instruction.code & 0xF0, _operand(instruction, group)
    if condition == _ALWAYS:
        return [(instruction.k, group)]
    if condition == _EQUAL:
        true = group.a == other
    elif condition == _GREATER:
        true = group.a > other
    elif condition == _GREATER_OR_EQUAL:
        true = group.a >= other
    else:
        assert condition == _ANY_BIT
        true = (group.a & other) != 0
    count = int(np.count_nonzero(true))
    if count == len(true):
        return [(instruction.jump_true, group)]
    if not count:
        return [(instruction.jump_false, group)]
    return [(instruction.jump_true, group.part(true)), (instruction.jump_false, group.part(~true))]


def _calculate(instruction: Instruction, group: _Group) -> _Group:
    operation, other, a = instruction.code & 0xF0, _operand(instruction, group), group.a
    if operation in (0x30, 0x90) and instruction.code & _USES_X:
        group = group.part(other != 0)
        other, a = group.x, group.a
    match operation:
        case 0x00:
            a = a + other
        case 0x10:
            a = a - other
        case 0x20:
            a = a * other
        case 0x30:
            a = a // other
        case 0x40:
            a = a | other
        case 0x50:
            a = a & other
        case 0x60:
            a = a << other
        case 0x70:
            a = a >> other
        case 0x80:
            a = np.uint32(0) - a
        case 0x90:
            a = a % other
        case _:
            a = a ^ other
    return replace(group, a=a)
