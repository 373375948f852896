"""A VM's files read in a thread of their own, whatever the rest of the program does.

A terminal that takes no output, a slow disk or a long computation can hold the event loop up; QEMU goes on writing
meanwhile, into memory that has a bound. So a thread reads, dates and orders what comes, and keeps it on a shelf until
the consumer takes it. After each turn the thread is

  eager    the VM's clock is not known yet: it turns again as soon as the kernel tells of a write
  busy     frames came in this turn: a short pause, so that the next turn takes many at once. No write is told of, for
           that would cost the VM
  behind   not all that is there could be read in one turn: no pause
  full     the consumer has not taken what there is: nothing is read until it does, and QEMU's memory fills to its
           bound. What becomes of the channels is looked for all the same
  idle     it waits for a write, or a moment

`_lock` guards the intake and all else the thread works on; who waits for it gets it after the present turn. The shelf
has a lock of its own, held only while a reference moves, so that taking never waits for reading. Public methods are for
the event loop's thread. Must never talk to a monitor.
"""

from __future__ import annotations

import asyncio
import os
import select
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from qmon.capture.reading.channel import Channel
from qmon.capture.reading.host_frames import HostChannel, HostFrames
from qmon.capture.reading.intake import Intake
from qmon.capture.reading.kernel import WriteWatch
from qmon.packets.batch import FrameBatch

PACE_S, SOON_S, HOST_S, IDLE_S = 0.02, 0.02, 0.05, 0.25
# So long a new tap has the processor to itself.
_AWAY_S = 0.1
# What `take` gives at once: who is busy with more is deaf for too long to a tap that has to be made again.
_TAKE_BYTES = 8 << 20
# How far behind the moment of a turn frames may be that the next one hands out: QEMU may be put aside between the
# stamp and the write, its events are heard a little after they happened, an epoch's first frames are held.
_SETTLED_NS, _UNSETTLED_NS = 150_000_000, 400_000_000


class FairLock:
    """A lock that goes to who waits for it: one that works in turns without a pause gives way after each."""

    def __init__(self) -> None:
        self._next = threading.Lock()
        self._now = threading.Lock()

    def __enter__(self) -> None:
        with self._next:
            self._now.acquire()

    def __exit__(self, *_: object) -> None:
        self._now.release()


class Reader:
    """Reads every channel of one VM: `start` begins, `take` hands out what came, `close` ends it.

    `on_arrival` and `on_trouble` are called in the event loop: frames have come, or a channel has ended or grown
    long. At most about `shelf_bytes` of frames wait for the consumer.
    """

    def __init__(
        self,
        intake: Intake,
        *,
        shelf_bytes: int,
        on_arrival: Callable[[], None],
        on_trouble: Callable[[], None],
    ) -> None:
        self._intake = intake
        self._shelf_bytes = shelf_bytes
        self._on_arrival = on_arrival
        self._on_trouble = on_trouble
        self._host_frames = HostFrames()
        self._lock = FairLock()
        self._writes = WriteWatch()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._ending = False
        self._retiring: list[tuple[Channel, asyncio.Future[int | None]]] = []
        self._troubles: set[tuple[int, str]] = set()
        self._failure: Exception | None = None
        # The shelf, its lock, and up to when (UTC ns) it is complete: as filled, and as taken.
        self._shelf: list[FrameBatch] = []
        self._shelf_lock = threading.Lock()
        self._filled_bytes = 0
        self._filled_until = self._taken_until = 0
        self._told = False

    def __repr__(self) -> str:
        return f"<Reader of {len(self._intake.channels)} channels, {self._filled_bytes} bytes wait>"

    # Its life

    def start(self) -> None:
        """Begin to read."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="read the VM's packets", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread; what is left in the files is read by `retire` and `finish`."""
        if self._thread is None:
            return
        self._ending = True
        self.stir()
        self._thread.join()
        self._thread = None
        for channel, done in self._retiring:
            _resolve(done, self._forget(channel))
        self._retiring.clear()

    def finish(self) -> None:
        """Read everything to its end, with no thread any more; `take` hands it out."""
        assert self._thread is None
        batches = self._intake.finish()
        self._put(self._host_frames.join(batches, complete_until=time.time_ns(), last=True), time.time_ns())
        self._writes.close()
        os.close(self._wake)

    # What the consumer asks for

    def take(self) -> list[FrameBatch]:
        """Return frames that came since the last call, in true-time order; never waits.

        Not more than a good piece at once; `on_arrival` tells that there is more. All of it where the reader has ended.
        """
        if self._failure is not None:
            raise self._failure
        with self._shelf_lock:
            was_full = self._filled_bytes > self._shelf_bytes
            count = self._count_to_take()
            batches, self._shelf = self._shelf[:count], self._shelf[count:]
            self._filled_bytes -= sum(batch.captured_bytes for batch in batches)
            if not self._shelf:
                self._taken_until = self._filled_until
            self._told = bool(self._shelf)
        if was_full:
            self.stir()
        if self._told:
            self._on_arrival()
        return batches

    def _count_to_take(self) -> int:
        size = 0
        for count, batch in enumerate(self._shelf, 1):
            size += batch.captured_bytes
            if size >= _TAKE_BYTES and self._thread is not None:
                return count
        return len(self._shelf)

    @property
    def complete_until(self) -> int:
        """The time (UTC ns) up to which `take` has handed out everything; where that is not known, long ago."""
        return self._taken_until

    # Channels

    def add(self, channels: Sequence[Channel]) -> None:
        """Read these channels from now on; OSError where the kernel lets no more files be watched, and none is read."""
        with self._lock:
            watched: list[Channel] = []
            try:
                for channel in channels:
                    self._writes.add(channel.follower.fd)
                    watched.append(channel)
            except OSError:
                for channel in watched:
                    self._writes.remove(channel.follower.fd)
                raise
            for channel in channels:
                self._intake.add(channel)
        self.stir()

    async def retire(self, channels: Sequence[Channel]) -> int | None:
        """Read what is left in channels that QEMU writes to no longer, and forget them; the caller closes them.

        Return when the last frame of them was (UTC ns), None where there was none.
        """
        if self._thread is None:
            return _latest([self._forget(channel) for channel in channels])
        loop = asyncio.get_running_loop()
        waiting = [(channel, loop.create_future()) for channel in channels]
        with self._lock:
            self._retiring += waiting
        self.stir()
        return _latest([await done for _, done in waiting])

    def add_host(self, channel: HostChannel) -> None:
        """Read an interface of the host from now on."""
        with self._lock:
            self._host_frames.add(channel)
        self.stir()

    def remove_host(self, channel: HostChannel) -> None:
        """Read what the host's interface still has, and forget it."""
        with self._lock:
            self._host_frames.remove(channel)
        self.stir()

    def begin_change(self, channels: Sequence[Channel]) -> None:
        """These channels' packets are about to go to other files too (`Intake.begin_change`)."""
        with self._lock:
            self._intake.begin_change(channels)

    def cancel_change(self) -> None:
        """It has come to nothing."""
        with self._lock:
            self._intake.cancel_change()

    def end_change(self, changed: Sequence[tuple[Channel, Channel]]) -> None:
        """Go on from each old channel, written to no longer, to its new one (`Intake.end_change`)."""
        with self._lock:
            for old, new in changed:
                self._writes.remove(old.follower.fd)
                self._writes.add(new.follower.fd)
            self._intake.end_change(changed)
        self.stir()

    def hear(self, event: str, time_ns: int) -> None:
        """Take one of QMP's events, by its name and time (UTC ns)."""
        with self._lock:
            self._intake.hear(event, time_ns)
        self.stir()

    def stir(self) -> None:
        """Have the thread turn now."""
        with suppress(BlockingIOError):
            os.eventfd_write(self._wake, 1)

    # The thread's side

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        while not self._ending:
            try:
                pause_s, wakes_on_write = self._turn()
            except Exception as problem:  # noqa: BLE001 - told by `take`; a thread has nobody else to tell.
                self._failure = problem
                self._call(self._on_arrival)
                return
            if wakes_on_write:
                poll.register(self._writes.fd, select.POLLIN)
            poll.poll(pause_s * 1000)
            if wakes_on_write:
                poll.unregister(self._writes.fd)
            with suppress(BlockingIOError):
                os.eventfd_read(self._wake)

    def _turn(self) -> tuple[float, bool]:
        """Read once; return how long to wait then (s), and whether a write ends the waiting."""
        if self._filled_bytes > self._shelf_bytes and not self._retiring:
            with self._lock:
                troubled = self._look_for_trouble()
            if troubled:
                self._call(self._on_trouble)
            return SOON_S, False
        with self._lock:
            self._writes.clear()
            began = time.time_ns()
            intake = self._intake
            ready = intake.poll()
            settled = _UNSETTLED_NS if intake.pending or intake.stopped else _SETTLED_NS
            batches = self._host_frames.join(ready, complete_until=began - settled)
            self._retire_read()
            troubled = self._look_for_trouble()
            behind, eager = intake.behind, intake.clock.current.offset is None
            busy = behind or (bool(batches) and not eager)
            wakes = not busy and self._watch_again()
            if busy:
                self._writes.pause()
            pause_s = SOON_S if intake.pending else HOST_S if self._host_frames.in_use else IDLE_S
        if self._put(batches, None if behind else began - settled):
            self._call(self._on_arrival)
        if troubled:
            self._call(self._on_trouble)
            # What is left in a channel that has ended can wait, the making of a new one cannot. Adding that wakes us.
            return _AWAY_S, False
        if busy:
            return (0.0 if behind else PACE_S), False
        return (pause_s, True) if wakes else (SOON_S, False)

    def _watch_again(self) -> bool:
        """Say whether every write is told of from now on; not yet where one may just have been missed."""
        try:
            return not self._writes.resume()
        except OSError:
            return False  # Others watch as many files as the kernel allows. It is looked for writes often instead.

    def _put(self, batches: Sequence[FrameBatch], complete_until: int | None) -> bool:
        """Lay frames on the shelf; return whether the consumer must be told."""
        with self._shelf_lock:
            self._shelf += batches
            self._filled_bytes += sum(batch.captured_bytes for batch in batches)
            if complete_until is not None:
                self._filled_until = complete_until
            tell = bool(batches) and not self._told
            self._told = self._told or tell
        return tell

    def _retire_read(self) -> None:
        for channel, done in [one for one in self._retiring if one[0].follower.at_end]:
            self._retiring.remove((channel, done))
            self._call(_resolve, done, self._forget(channel))

    def _forget(self, channel: Channel) -> int | None:
        self._writes.remove(channel.follower.fd)
        return self._intake.remove(channel)

    def _look_for_trouble(self) -> bool:
        """Say whether there is a channel in need of care that was not told of yet."""
        retiring = {id(channel) for channel, _ in self._retiring}
        found = set()
        for channel in self._intake.channels:
            if id(channel) not in retiring:
                if channel.has_ended:
                    found.add((id(channel), "ended"))
                if channel.is_long:
                    found.add((id(channel), "long"))
        new = found - self._troubles
        self._troubles = found
        return bool(new)

    def _call(self, what: Callable[..., None], *arguments: object) -> None:
        """Have something done in the event loop, if it still runs."""
        assert self._loop is not None
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(what, *arguments)


def _resolve(done: asyncio.Future[int | None], last: int | None) -> None:
    if not done.done():
        done.set_result(last)


def _latest(times: Sequence[int | None]) -> int | None:
    return max((time_ns for time_ns in times if time_ns is not None), default=None)
