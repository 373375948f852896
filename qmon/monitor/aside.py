"""Looks that may never end, taken in threads that nobody has to wait for.

A process of a stranger can make any look at it last for ever: what the kernel shows of it may lie on a file system
that the stranger serves. Owns the threads, and how long they are waited for. Must never be given anything that
changes the world: a look that was given up may still go on.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    import asyncio

T = TypeVar("T")
Found = TypeVar("Found")

# How long one look of several may take. Each one that took longer halves the patience with the following.
PATIENCE_S = 1.0
_LEAST_PATIENCE_S = 0.01


def in_turn(
    look: Callable[[T], Found],
    things: Sequence[T],
    *,
    patience_s: float = PATIENCE_S,
    limit_s: float = float("inf"),
) -> Iterator[Found]:
    """Yield what `look` finds at each thing, in order, without those whose look does not end in time.

    When looking has taken `limit_s` it ends.

    An error that `look` raises is raised here. A signal is heard while this waits.
    """
    at, deadline = 0, time.monotonic() + limit_s
    while at < len(things) and time.monotonic() < deadline:
        found: queue.SimpleQueue[_Outcome[Found]] = queue.SimpleQueue()
        given_up = threading.Event()
        _start(partial(_look, look, things[at:], found, given_up))
        try:
            while at < len(things) and time.monotonic() < deadline:
                one = found.get(timeout=patience_s)
                at += 1
                yield one.result()
        except queue.Empty:
            at += 1
            patience_s = max(patience_s / 2, _LEAST_PATIENCE_S)
        finally:
            given_up.set()


def _look(
    look: Callable[[T], Found],
    things: Sequence[T],
    found: queue.SimpleQueue[_Outcome[Found]],
    given_up: threading.Event,
) -> None:
    for thing in things:
        found.put(_Outcome(partial(look, thing)))
        if given_up.is_set():
            return


async def aside(look: Callable[[], Found], *, timeout_s: float | None) -> Found:
    """Return what `look` finds, without holding up the event loop; TimeoutError if that takes too long."""
    import asyncio  # Not for those who have no event loop: they are quick.

    loop = asyncio.get_running_loop()
    found: asyncio.Future[_Outcome[Found]] = loop.create_future()

    def settle(outcome: _Outcome[Found]) -> None:
        if not found.done():
            found.set_result(outcome)

    def run() -> None:
        outcome = _Outcome(look)
        try:
            loop.call_soon_threadsafe(settle, outcome)
        except RuntimeError:
            return  # The loop is closed: nobody waits any more.

    _start(run)
    async with asyncio.timeout(timeout_s):
        return (await found).result()


class _Outcome(Generic[Found]):
    """What a look found, or the error it raised: `result` returns the one or raises the other."""

    def __init__(self, look: Callable[[], Found]) -> None:
        self._problem: BaseException | None = None
        try:
            self._found = look()
        except BaseException as problem:  # noqa: BLE001 (raised again by whoever waits)
            self._problem = problem

    def __repr__(self) -> str:
        return f"<outcome of a look: {self._problem!r}>" if self._problem else "<outcome of a look>"

    def result(self) -> Found:
        if self._problem is not None:
            raise self._problem
        return self._found


def _start(run: Callable[[], None]) -> None:
    # Not an executor's threads: the interpreter waits for those before it ends.
    threading.Thread(target=run, daemon=True, name="a look aside").start()
