"""A VM's stamps mapped to the host's clock: one constant an epoch, found by bracketing, never moved.

QEMU stamps a packet with its virtual clock since the VM's start plus whole seconds fixed when the filter was made
(net/dump.c). The virtual clock runs with the host's monotonic clock while the VM runs and stands still while it
does not. Within an epoch, true time - stamp is therefore one constant, and every look at the file bounds it: a
record that was seen cannot be younger than that moment, and the last record of a file cannot be much older than
the file's last write.

Owns the arithmetic only. Must never read a clock or a file: sightings and times come in.
"""

from __future__ import annotations

from dataclasses import dataclass, field

NS = 1_000_000_000
HOLD_NS = 300_000_000
# A bracket this narrow needs no more packets.
_NARROW_NS = 100_000
# What usually lies between a write and our noticing it, at best of several.
_WAKE_UP_NS = 100_000
_SETTLE_NS = 60_000_000
# The stamp is taken before the write; a busy host may run something else between the two.
_TOLERANCE_NS = 3_000_000
_LATE_WRITES = 3


@dataclass(frozen=True, slots=True)
class Sighting:
    """What one reading tells the clock; all in ns, host times UTC.

    The record stamped `last_stamp` was there at `seen`; where the reading ended exactly on a record, `written` is the
    kernel's time of the last write, which was that record's, early by up to a tick (else None).
    """

    last_stamp: int
    seen: int
    written: int | None = None


@dataclass(slots=True)
class Bracket:
    """Bounds of true time - stamp: `upper` is strict, `lower` may be late by what lies between stamp and write."""

    lower: int | None = None
    upper: int | None = None

    def add(self, sighting: Sighting) -> None:
        """Take one sighting."""
        upper = sighting.seen - sighting.last_stamp
        self.upper = upper if self.upper is None else min(self.upper, upper)
        if sighting.written is not None:
            lower = sighting.written - sighting.last_stamp
            self.lower = lower if self.lower is None else max(self.lower, lower)

    @property
    def width(self) -> int | None:
        """How far the bounds lie apart; None while a side is open."""
        if self.lower is None or self.upper is None:
            return None
        return max(0, self.upper - self.lower)

    def estimate(self, tick: int) -> tuple[int, int]:
        """Return the constant and how far off it may be; `tick` is how early the kernel's times of writes may be.

        It lies near `upper` where frames were seen as they came: the shortest of several wake-ups is short. Where
        they lay for longer than a tick before they were seen, it lies within a tick after `lower`.
        """
        assert self.upper is not None
        if self.lower is None:
            return self.upper, HOLD_NS
        below = max(0, self.upper - self.lower)
        if below > tick:
            return self.lower + tick // 2, tick // 2
        back = min(_WAKE_UP_NS, below // 2)
        return self.upper - back, max(below - back, back, 1_000)


@dataclass(slots=True)
class Epoch:
    """A stretch of one constant. `offset` is None while it is still open; `reason` is why it began.

    `first_stamp` and `last_stamp` are those of its frames; `follows` says that true time went on from the epoch
    before, so that no frame of this one can be older than the last of that one.
    """

    reason: str
    follows: bool = True
    prior: int | None = None
    prior_exact: bool = False
    bracket: Bracket = field(default_factory=Bracket)
    first_seen: int | None = None
    first_stamp: int | None = None
    last_stamp: int | None = None
    offset: int | None = None
    bound: int = 0

    @property
    def end_ns(self) -> int | None:
        """When its last frame was; None while that is not known."""
        return None if self.offset is None or self.last_stamp is None else self.offset + self.last_stamp

    def fix(self, tick: int) -> None:
        """Choose the constant for good.

        A prior that is exact is kept as long as nothing seen contradicts it: then intervals stay QEMU's own across
        epochs. One that is not serves where nothing was seen.
        """
        bracket = self.bracket
        if bracket.upper is None:
            self.offset, self.bound = self.prior or 0, HOLD_NS
            return
        self.offset, self.bound = bracket.estimate(tick)
        if self.prior is None or not self.prior_exact or self.prior > bracket.upper:
            return
        if bracket.lower is None or self.prior > bracket.lower - _TOLERANCE_NS:
            self.offset = self.prior

    def ready(self, now: int) -> bool:
        """Say whether enough was seen, or enough time has passed, to choose."""
        if self.first_seen is None:
            return False
        waited = now - self.first_seen
        width = self.bracket.width
        narrow = width is not None and width <= _NARROW_NS
        return waited >= HOLD_NS or (narrow and waited >= _SETTLE_NS)


class Clock:
    """One VM's clock: epochs in order. Stamps given to it are those of one filter, the others' seconds removed."""

    def __init__(self, *, steady: bool = True, tick_ns: int = 10_000_000) -> None:
        self.epochs: list[Epoch] = [Epoch("attach")]
        self.steady = steady
        self._tick = tick_ns
        self._late = 0

    def __repr__(self) -> str:
        current = self.current
        return f"<Clock epoch {len(self.epochs) - 1} ({current.reason}) offset={current.offset}>"

    @property
    def current(self) -> Epoch:
        """The epoch that new packets belong to."""
        return self.epochs[-1]

    @property
    def number(self) -> int:
        """Which epoch that is."""
        return len(self.epochs) - 1

    def describe(self) -> str:
        """Say how true the times are, for those who read the file."""
        epoch = self.epochs[0]
        if not self.steady:
            return "times only roughly the host's: the VM runs with -icount"
        if epoch.offset is None:
            return "times by the host's clock"
        return f"times by the host's clock, within {max(epoch.bound, 1000) / 1e6:.3g} ms"

    def guess(self) -> int | None:
        """Return the constant of the current epoch, or the best guess at it; None while nothing was seen."""
        epoch = self.current
        if epoch.offset is not None:
            return epoch.offset
        return epoch.prior if epoch.bracket.upper is None else epoch.bracket.estimate(self._tick)[0]

    @property
    def is_sure(self) -> bool:
        """Whether the guess is good to much less than a second."""
        epoch = self.current
        return epoch.offset is not None or epoch.bracket.width is not None

    def sight(self, sighting: Sighting) -> None:
        """Take a sighting of the current epoch; begin a new one where it contradicts what was fixed."""
        epoch = self.current
        if epoch.offset is not None and self.steady and self._contradicts(epoch, sighting):
            self.begin("the VM's clock jumped", prior=epoch.offset, exact=True)
            epoch = self.current
        if epoch.first_seen is None:
            epoch.first_seen = sighting.seen
        if epoch.offset is None:
            epoch.bracket.add(sighting)

    def notice(self, now: int) -> None:
        """Frames of the current epoch came that say nothing of its constant: they wait no longer than others."""
        if self.current.first_seen is None:
            self.current.first_seen = now

    def _contradicts(self, epoch: Epoch, sighting: Sighting) -> bool:
        assert epoch.offset is not None
        stamp, seen, written = sighting.last_stamp, sighting.seen, sighting.written
        allowed = _TOLERANCE_NS + epoch.bound
        if seen - stamp < epoch.offset - allowed:
            return True
        if written is None:
            return False
        # One late write is a busy host; several in a row are a clock that stood still.
        self._late = self._late + 1 if written - stamp > epoch.offset + allowed else 0
        return self._late >= _LATE_WRITES

    def begin(
        self, reason: str, *, prior: int | None = None, exact: bool = False, follows: bool = True
    ) -> None:
        """Start a new epoch; `prior` is what its constant should be, exactly or if nothing more is learnt.

        `follows` is false where true time itself was set back.
        """
        if self.current.first_seen is None and self.current.offset is None:
            self.current.reason = reason
            self.current.follows = follows and self.current.follows
            if prior is not None:
                self.current.prior, self.current.prior_exact = prior, exact
            return
        self.end()
        self._late = 0
        self.epochs.append(Epoch(reason, follows, prior, exact))

    def contains(self, first_stamp: int, last_stamp: int) -> None:
        """Learn of frames of the current epoch, from their first stamp to their last."""
        epoch = self.current
        known = (epoch.first_stamp, epoch.last_stamp)
        epoch.first_stamp = first_stamp if known[0] is None else min(known[0], first_stamp)
        epoch.last_stamp = last_stamp if known[1] is None else max(known[1], last_stamp)

    def end(self) -> None:
        """Choose the constant with what there is: nothing more will be seen."""
        if self.current.offset is None:
            self._fix()

    def _fix(self) -> None:
        """Choose the current epoch's constant, not so early that its frames come before the last epoch's."""
        epoch = self.current
        epoch.fix(self._tick)
        before = self.epochs[-2].end_ns if len(self.epochs) > 1 and epoch.follows else None
        if before is not None and epoch.first_stamp is not None and epoch.offset is not None:
            epoch.offset = max(epoch.offset, before - epoch.first_stamp)

    def settle(self, now: int) -> bool:
        """Fix the current epoch if it is time; return whether its packets may go on."""
        epoch = self.current
        if epoch.offset is None and epoch.ready(now):
            self._fix()
        return epoch.offset is not None


def whole_seconds(sighting: Sighting, offset: int) -> int:
    """Return the ns, a whole number of seconds, to add to a filter's stamps so that `offset` holds for them too."""
    true = sighting.written if sighting.written is not None else sighting.seen
    return round((true - sighting.last_stamp - offset) / NS) * NS
