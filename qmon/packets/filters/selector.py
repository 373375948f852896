"""What every filter is, whatever language it was written in: a `Selector`, a mask over a batch of frames.

Owns the shape that commands, recordings and the dashboard use, how selectors are put together, and the error that says
where an expression is wrong. Must never know a language: `filters.words` turns a user's words into one of these.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from qmon.errors import UsageError
from qmon.packets.batch import Direction, FrameBatch, Interface
from qmon.packets.copying import I64, Mask
from qmon.text import plain

if TYPE_CHECKING:
    from qmon.packets.store.packet_store import PacketStore

# So much of an expression is repeated in a message.
_EXCERPT = 60


class Selector(ABC):
    """Says of packets whether they are meant.

    `expression` is what the user wrote, "" where nobody wrote anything; `language` is what people are told it is.
    """

    language: ClassVar[str]

    @property
    @abstractmethod
    def expression(self) -> str:
        """The user's words."""

    @abstractmethod
    def mask(self, batch: FrameBatch, interfaces: Sequence[Interface]) -> Mask:
        """Return which frames are meant, as a mask of shape (n,); `interfaces` are those of the batch's source."""

    def require(self, interfaces: Sequence[Interface]) -> None:  # noqa: B027  (most can match anywhere)
        """UsageError if nothing can match on any of these interfaces (as tcpdump says of a file)."""

    def seqs(self, store: PacketStore, start: int, stop: int) -> I64:
        """Return the numbers of the packets meant among a store's `start` … `stop - 1`, ascending.

        Reads all of their frames: a selector that can do with the store's rows overrides this.
        """
        stop = min(stop, store.next_seq)
        batch = store.batch(start, stop)
        # What was evicted in the meantime is missing at the beginning.
        return stop - len(batch) + np.flatnonzero(self.mask(batch, store.interfaces))


@dataclass(frozen=True, slots=True)
class OneWay(Selector):
    """The frames that go in one direction."""

    language: ClassVar[str] = "direction"
    direction: Direction

    @property
    def expression(self) -> str:
        """Nobody wrote it."""
        return ""

    def mask(self, batch: FrameBatch, interfaces: Sequence[Interface]) -> Mask:  # noqa: ARG002
        """See `Selector.mask`."""
        mask: Mask = batch.direction == self.direction
        return mask


@dataclass(frozen=True, slots=True)
class AllOf(Selector):
    """What every one of several selectors means; everything, if there is none."""

    language: ClassVar[str] = "filter"
    parts: tuple[Selector, ...]

    @property
    def expression(self) -> str:
        """Those that were written, joined."""
        written = [part.expression for part in self.parts if part.expression]
        return written[0] if len(written) == 1 else " and ".join(f"({one})" for one in written)

    def mask(self, batch: FrameBatch, interfaces: Sequence[Interface]) -> Mask:
        """See `Selector.mask`."""
        result = np.ones(len(batch), np.bool_)
        for part in self.parts:
            result &= part.mask(batch, interfaces)
        return result

    def require(self, interfaces: Sequence[Interface]) -> None:
        """See `Selector.require`."""
        for part in self.parts:
            part.require(interfaces)


class WrongExpression(UsageError):
    """An expression that its language does not know.

    `at` is the place in `expression` where it goes wrong (its length: something is missing at the end), None where that
    cannot be told; `word` is what stands there. `reason` says why in a few words, for a line below the expression.
    """

    def __init__(
        self, language: str, expression: str, reason: str, *, hint: str, at: int | None = None, word: str = ""
    ) -> None:
        reason = plain(reason)
        if at is not None and at >= len(expression):
            reason = "something is missing at its end"
        elif word and word not in reason:
            reason = f"{reason} at {plain(word)!r}"
        self.expression, self.reason, self.at, self.word = expression, reason, at, word
        super().__init__(f"the {language} {excerpt(expression, at)!r} is wrong: {reason}", hint=hint)


def excerpt(expression: str, at: int | None = None) -> str:
    """Return an expression as it is repeated in a message: plain, and where it is long only what is around `at`."""
    if len(expression) <= _EXCERPT:
        return plain(expression)
    start = max(0, min((at or 0) - _EXCERPT // 2, len(expression) - _EXCERPT))
    stop = start + _EXCERPT
    return f"{'…' if start else ''}{plain(expression[start:stop])}{'…' if stop < len(expression) else ''}"
