"""The files of one VM read, put in order and given true times.

Its states, of which several hold at once:

  open        the clock's constant of the present epoch is not chosen: frames in order lie in `_ready` until it is
  undated     a filter's whole seconds are not known: its frames lie in `_undated` until the clock is sure of them
  stopped     the VM stands still (`stop` to `resume`): frames that may be later than the stop lie in `_parked`
  changing    frames go to other files too (`begin_change` to `end_change`): nothing is handed out

Else frames are read in two passes, wait in the orderer at most until the next, and are handed out.

Owns the channels that are read, the whole seconds by which their stamps differ, and which epoch of the clock a frame
belongs to, also across the VM's stops. Must never talk to the monitor: stops and resumes are told to it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from qmon.capture.reading.channel import Channel
from qmon.capture.reading.clock import Clock, Sighting, whole_seconds
from qmon.capture.reading.host_clock import HostClock
from qmon.capture.reading.order import Key, Orderer, Piece, merged
from qmon.capture.reading.overlap import find_overlap
from qmon.packets.batch import DEFAULT_SNAPLEN, Direction, FrameBatch

_BUDGET_BYTES = 4 << 20
_CATCH_UP_S = 3.0
# A stop that is heard of later than this after it happened may already be over.
_PROMPT_NS = 3_000_000
_RANK = {Direction.OUT: 0, Direction.IN: 1, Direction.UNKNOWN: 2}


@dataclass(slots=True)
class _Stop:
    """The VM stands still: since when, and the stamp it stopped at (None: all read since is later)."""

    time_ns: int
    stamp: int | None


@dataclass(slots=True)
class _Parked:
    """Frames that may have been written after a stop whose end has not been told yet."""

    channel: Channel
    batch: FrameBatch
    sighting: Sighting | None


@dataclass(slots=True)
class _Undated:
    """Frames of a filter whose whole seconds are not known yet, and what was last seen of its file's end."""

    channel: Channel
    batches: list[FrameBatch]
    sighting: Sighting | None = None


class Intake:
    """Reads every channel of a VM; `poll` hands out what is complete, ordered and timed."""

    def __init__(self, clock: Clock, *, snaplen: int = DEFAULT_SNAPLEN, raw_time: bool = False) -> None:
        self.channels: list[Channel] = []
        self.clock = clock
        self._snaplen = snaplen
        self._raw_time = raw_time
        self._orderer = Orderer()
        self._ready: list[Piece] = []
        self._parked: list[_Parked] = []
        self._undated: dict[int, _Undated] = {}
        self._stop: _Stop | None = None
        self._referenced = False
        self._last_key: dict[int, Key] = {}
        self._tails: dict[int, list[FrameBatch]] = {}
        self._host_clock = HostClock()
        self._behind_since = 0.0

    def __repr__(self) -> str:
        return f"<Intake of {len(self.channels)} channels, {self.clock!r}>"

    @property
    def pending(self) -> bool:
        """Whether frames were read that the next polls will hand out."""
        return bool(self._ready or self._tails or self._undated) or len(self._orderer) > 0

    @property
    def behind(self) -> bool:
        """Whether the last poll left something unread."""
        return any(not channel.follower.at_end for channel in self.channels)

    @property
    def stopped(self) -> bool:
        """Whether the VM was said to stand still."""
        return self._stop is not None

    def add(self, channel: Channel) -> None:
        """Read this channel from now on."""
        self.channels.append(channel)

    def remove(self, channel: Channel) -> int | None:
        """Read what is left in a channel that QEMU writes to no longer, then forget it; return its `last_time`."""
        self.drain([channel])
        self._date_anyway(channel)
        last = self.last_time([channel])
        self.channels.remove(channel)
        self._last_key.pop(id(channel), None)
        return last

    def _date_anyway(self, channel: Channel) -> None:
        """Take frames whose whole seconds were never sure, by the file's last write: nothing better will come."""
        undated = self._undated.get(id(channel))
        if undated is not None:
            written = Sighting(int(undated.batches[-1].time_ns[-1]), channel.follower.written_ns())
            self._date(undated, written, self.clock.guess() or 0)

    def _date_where_sure(self) -> None:
        """Take the frames that only waited for the clock: nothing else need be written to their files."""
        offset = self.clock.guess()
        if offset is None or not self.clock.is_sure:
            return
        for undated in list(self._undated.values()):
            if undated.sighting is not None:
                self._date(undated, undated.sighting, offset)

    def _date(self, undated: _Undated, sighting: Sighting, offset: int) -> None:
        channel = undated.channel
        del self._undated[id(channel)]
        channel.seconds = whole_seconds(sighting, offset)
        self._orderer.keep(self._take(channel, FrameBatch.concatenate(undated.batches), None))

    # From one file to another

    def begin_change(self, channels: Sequence[Channel]) -> None:
        """From now on these channels' packets are about to go to other files too; hand out nothing until then."""
        self.drain(channels)
        self._tails = {id(channel): [] for channel in channels}

    def cancel_change(self) -> None:
        """It has come to nothing."""
        self._tails = {}

    def end_change(self, changed: Sequence[tuple[Channel, Channel]]) -> None:
        """Go on from the old channel of each pair, written to no longer, to the new; what both hold counts once."""
        for old, new in changed:
            self.remove(old)
            tail = FrameBatch.concatenate(self._tails.pop(id(old)))
            self.channels.append(new)
            heads: list[tuple[FrameBatch | None, Sighting | None]] = []
            while not (heads and new.follower.at_end):
                heads.append(self._fetch(new))
            batches = [batch for batch, _ in heads if batch is not None]
            if batches:
                self._orderer.keep(
                    self._continued(old, new, tail, FrameBatch.concatenate(batches), heads[-1][1])
                )
        self._tails = {}

    def _continued(
        self, old: Channel, new: Channel, tail: FrameBatch, head: FrameBatch, sighting: Sighting | None
    ) -> list[Piece]:
        common = find_overlap(tail, head)
        if common is not None:
            head = head.select(slice(common.count, None))
            new.seconds = None if old.seconds is None else old.seconds + common.seconds
        return self._accept(new, head, sighting) if len(head) else []

    def last_time(self, channels: Sequence[Channel]) -> int | None:
        """Return when the last frame read from these channels was, as far as that is known yet."""
        keys = [key for channel in channels if (key := self._last_key.get(id(channel))) is not None]
        if not keys:
            return None
        epoch, stamp = max(keys)
        offset = self.clock.epochs[epoch].offset
        return stamp + (offset if offset is not None else self.clock.guess() or 0)

    # Reading

    def poll(self) -> list[FrameBatch]:
        """Return the frames that are complete, in true order and time."""
        self._look_at_the_host()
        if self._tails:
            self.read_now()
            return []
        self._date_where_sure()
        first, behind = self._pass()
        self._behind_since = (self._behind_since or time.monotonic()) if behind else 0.0
        if first or len(self._orderer):
            second, behind = self._pass()
            self._ready += self._orderer.passed(first, second, behind=behind)
        return self._release()

    def read_now(self) -> None:
        """Read out of turn, to see frames as soon as they are written; `poll` hands them out."""
        pieces, _ = self._pass()
        self._orderer.keep(pieces)

    def drain(self, channels: Sequence[Channel]) -> None:
        """Read channels to their present end; `poll` hands the frames out."""
        for channel in channels:
            while True:
                self._orderer.keep(self._read(channel))
                if channel.follower.at_end:
                    break

    def finish(self) -> list[FrameBatch]:
        """Return everything that is still held, at the end of the capture."""
        for channel in list(self.channels):
            self.remove(channel)
        if self._parked:
            self.resume(time.time_ns())
        self._ready += self._orderer.flush()
        self.clock.end()
        return self._release()

    def _pass(self) -> tuple[list[Piece], list[Key]]:
        pieces: list[Piece] = []
        behind = []
        for channel in self.channels:
            pieces += self._read(channel)
            if not channel.follower.at_end:
                behind.append(self._last_key.get(id(channel), (-1, 0)))
        return pieces, behind

    def _read(self, channel: Channel) -> list[Piece]:
        batch, sighting = self._fetch(channel)
        if batch is None:
            return []
        if id(channel) in self._tails:
            self._tails[id(channel)].append(batch)
        return self._accept(channel, batch, sighting)

    def _fetch(self, channel: Channel) -> tuple[FrameBatch | None, Sighting | None]:
        batch, sighting = channel.follower.read(_BUDGET_BYTES)
        return None if batch is None else self._cleaned(channel, batch), sighting

    def _accept(self, channel: Channel, batch: FrameBatch, sighting: Sighting | None) -> list[Piece]:
        channel.packets += len(batch)
        channel.bytes += int(batch.length.sum(dtype=np.int64))
        if self._stop is not None:
            return self._while_stopped(channel, batch, sighting, self._stop)
        return self._take(channel, batch, sighting)

    def _cleaned(self, channel: Channel, batch: FrameBatch) -> FrameBatch:
        """Take off what is not the frame's, and what is more than was asked for."""
        if channel.headers is not None:
            batch = channel.headers.strip(batch)
        if int(batch.captured.max()) > self._snaplen:
            batch = replace(batch, captured=np.minimum(batch.captured, np.uint32(self._snaplen)))
        return batch

    def _take(self, channel: Channel, batch: FrameBatch, sighting: Sighting | None) -> list[Piece]:
        """Turn a channel's frames into pieces: seconds made equal, epoch found, labels put on."""
        batches = [batch]
        if channel.seconds is None:
            undated = self._undated.setdefault(id(channel), _Undated(channel, []))
            undated.batches.append(batch)
            if not self._find_seconds(channel, sighting):
                undated.sighting = sighting if channel.follower.at_end else None
                return []
            batches = self._undated.pop(id(channel)).batches
        assert channel.seconds is not None
        labelled = [_labelled(channel, one, channel.seconds) for one in batches]
        # What was seen of the last frame belongs to its epoch, which begins with these frames if they go back.
        goes_back = any(self._goes_back(channel, one) for one in labelled)
        if not goes_back:
            self._sight(channel, sighting)
        pieces = [piece for one in labelled for piece in self._pieces(channel, one)]
        if goes_back:
            self._sight(channel, sighting)
        self._last_key[id(channel)] = pieces[-1].last
        return pieces

    def _sight(self, channel: Channel, sighting: Sighting | None) -> None:
        if sighting is not None and channel.seconds is not None:
            self.clock.sight(replace(sighting, last_stamp=sighting.last_stamp + channel.seconds))
        else:
            self.clock.notice(time.time_ns())

    def _goes_back(self, channel: Channel, batch: FrameBatch) -> bool:
        return self._starts_earlier(channel, batch) or bool((batch.time_ns[1:] < batch.time_ns[:-1]).any())

    def _starts_earlier(self, channel: Channel, batch: FrameBatch) -> bool:
        last = self._last_key.get(id(channel))
        return last is not None and (self.clock.number, int(batch.time_ns[0])) < last

    def _find_seconds(self, channel: Channel, sighting: Sighting | None) -> bool:
        if not self._referenced:
            channel.seconds, self._referenced = 0, True
            return True
        offset = self.clock.guess()
        if offset is None or not self.clock.is_sure or sighting is None or not channel.follower.at_end:
            return False
        channel.seconds = whole_seconds(sighting, offset)
        return True

    def _pieces(self, channel: Channel, batch: FrameBatch) -> list[Piece]:
        """Cut where stamps go back: there the VM's clock was set back (loadvm)."""
        rank = _RANK[channel.direction]
        cuts = np.flatnonzero(np.diff(batch.time_ns) < 0) + 1
        starts_earlier = self._starts_earlier(channel, batch)
        pieces = []
        for number, (start, stop) in enumerate(
            zip([0, *cuts.tolist()], [*cuts.tolist(), len(batch)], strict=True)
        ):
            if number or starts_earlier:
                self.clock.begin("the VM's clock went back")
            piece = Piece(self.clock.number, rank, batch.select(slice(start, stop)))
            self.clock.contains(piece.first[1], piece.last[1])
            pieces.append(piece)
        return pieces

    # Handing out

    def _release(self) -> list[FrameBatch]:
        if not self._ready:
            return []
        settled = self._raw_time or (not self._is_catching_up() and self.clock.settle(time.time_ns()))
        current = self.clock.number
        fixed = self._ready if settled else [piece for piece in self._ready if piece.epoch < current]
        if not fixed:
            return []
        self._ready = [] if settled else [piece for piece in self._ready if piece.epoch == current]
        offsets = [0 if self._raw_time else epoch.offset or 0 for epoch in self.clock.epochs]
        return merged(fixed, offsets)

    def _is_catching_up(self) -> bool:
        """Say whether much waits to be read, so that the constant is better chosen when the newest frame is seen."""
        open_ = self.clock.current.offset is None
        return open_ and self._behind_since > 0 and time.monotonic() - self._behind_since < _CATCH_UP_S

    # What happens to clocks

    def hear(self, event: str, time_ns: int) -> None:
        """Take one of QMP's events, by its name and time (UTC ns)."""
        if event == "STOP":
            self.stop(time_ns)
        elif event == "RESUME":
            self.resume(time_ns)
        elif event == "RESET":
            self.reset()

    def stop(self, time_ns: int) -> None:
        """The VM was stopped at `time_ns`: what its files hold now was written before."""
        if self._stop is not None:
            return
        late = time.time_ns() - time_ns > _PROMPT_NS
        offset = self.clock.guess()
        if late and offset is not None:
            self._stop = _Stop(time_ns, time_ns - offset)
            self.drain(self.channels)
        else:
            self.drain(self.channels)
            self._stop = _Stop(time_ns, None)

    def _while_stopped(
        self, channel: Channel, batch: FrameBatch, sighting: Sighting | None, stop: _Stop
    ) -> list[Piece]:
        early = 0
        if stop.stamp is not None and channel.seconds is not None:
            early = int(np.searchsorted(batch.time_ns, stop.stamp - channel.seconds, side="right"))
        if early < len(batch):
            self._parked.append(_Parked(channel, batch.select(slice(early, None)), sighting))
        return self._take(channel, batch.select(slice(0, early)), None) if early else []

    def resume(self, time_ns: int) -> None:
        """The VM went on at `time_ns`: its clock stood still since it was stopped."""
        stop, self._stop = self._stop, None
        if stop is None:
            return
        offset = self.clock.guess()
        prior = None if offset is None else offset + time_ns - stop.time_ns
        self.clock.begin("the VM was stopped and went on", prior=prior)
        parked, self._parked = self._parked, []
        for one in parked:
            # Frames of the time while it stood still bear its last stamp: they say nothing of the new constant.
            sighting = one.sighting if one.sighting and one.sighting.seen > time_ns else None
            self._orderer.keep(self._take(one.channel, one.batch, sighting))

    def reset(self) -> None:
        """The VM was reset."""
        self.drain(self.channels)
        self.clock.begin("the VM was reset", prior=self.clock.guess(), exact=True)

    def _look_at_the_host(self) -> None:
        step = self._host_clock.step_ns()
        if not step:
            return
        offset = self.clock.guess()
        self.clock.begin(
            f"the host's clock was moved by {step / 1e9:+.3f} s",
            prior=None if offset is None else offset + step,
            exact=True,
            follows=step > 0,
        )


def _labelled(channel: Channel, batch: FrameBatch, seconds: int) -> FrameBatch:
    count = len(batch)
    return replace(
        batch,
        time_ns=batch.time_ns + seconds,
        interface=np.full(count, channel.interface, np.uint16),
        direction=np.full(count, channel.direction, np.uint8),
    )
