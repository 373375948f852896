"""A capture file written anew: its packets into another file, its notes where their times are.

Owns the loop, which gives way to signals also while a pipe is idle. Must never hold more of
a file than it has just read.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from qmon.export.byte_sink import FAREWELL_S, ReaderLeft
from qmon.export.capture_file import CaptureFileOutput
from qmon.packets.batch import NO_TIME, FrameBatch, Note
from qmon.packets.files.source import CaptureFile

_PUSH_S = 0.01

T = TypeVar("T")


async def rewrite(capture: CaptureFile, batches: Iterator[FrameBatch], output: CaptureFileOutput) -> None:
    """Write all batches (made of `capture`'s) and the notes between them, and close the output, however this ends.

    That the reader of the output has left is a normal end; QmonError where reading or writing fails.
    """
    empty = FrameBatch.empty()
    try:
        while (batch := await _in_thread(lambda: next(batches, None))) is not None:
            output.packets(batch, tuple(capture.interfaces), _placed(capture, batch))
            while output.congested:
                output.push()
                await asyncio.sleep(_PUSH_S)
        output.packets(empty, tuple(capture.interfaces), _placed(capture, empty))
        while output.sink.waiting_bytes:
            output.push()
            await asyncio.sleep(_PUSH_S)
    except ReaderLeft:
        pass
    finally:
        with suppress(ReaderLeft):
            await output.close(tuple(capture.interfaces), capture.statistics, FAREWELL_S)


def _placed(capture: CaptureFile, batch: FrameBatch) -> list[tuple[int, Note]]:
    """Take the notes read so far, each with the row before which its time is; those without a time come first."""
    notes = sorted(capture.notes, key=lambda note: note.time_ns)
    capture.notes.clear()
    if not notes:
        return []
    first = int(batch.time_ns[0]) if len(batch) else 0
    notes = [replace(note, time_ns=first) if note.time_ns == NO_TIME else note for note in notes]
    reached = np.maximum.accumulate(batch.time_ns)
    rows = np.searchsorted(reached, [note.time_ns for note in notes], side="right").tolist()
    return list(zip(np.maximum.accumulate(rows).tolist(), notes, strict=True))


async def _in_thread(step: Callable[[], T]) -> T:
    """Await a step that may block for ever; a cancellation leaves it behind, and the program can end all the same."""
    loop = asyncio.get_running_loop()
    result: asyncio.Future[T] = loop.create_future()

    def deliver(set_it: Callable[[Any], None], value: object) -> None:
        if not result.done():
            set_it(value)

    def work() -> None:
        told: tuple[Callable[[Any], None], object]
        try:
            told = (result.set_result, step())
        except BaseException as problem:  # noqa: BLE001 - raised where it is awaited.
            told = (result.set_exception, problem)
        with suppress(RuntimeError):  # The loop has ended meanwhile.
            loop.call_soon_threadsafe(deliver, *told)

    threading.Thread(target=work, daemon=True, name="reading").start()
    return await result
