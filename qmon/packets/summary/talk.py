"""What was said in a conversation so far, by which later packets of it are named.

A packet read alone has none of it: then only its own bytes count.
"""

from __future__ import annotations

from dataclasses import dataclass, field

# Conversations of which something is kept; when there are more, all is learned anew.
_MOST = 20_000


@dataclass(slots=True)
class Talk:
    """One conversation.

    `tls` is the version a Server Hello chose, `ssh` whether a banner of version 2 was seen, `contexts` the protocols
    that a DCE/RPC Bind gave numbers, and `speaks` what everything after an opening belongs to.
    """

    tls: str = ""
    ssh: bool = False
    speaks: str = ""
    contexts: dict[int, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.tls or self.ssh or self.speaks or self.contexts)


class Talks:
    """The conversations of one source, by a number that both directions share."""

    def __init__(self) -> None:
        self._known: dict[int, Talk] = {}
        self._blank = Talk()
        self.speaking: dict[int, str] = {}

    def __repr__(self) -> str:
        return f"<Talks of {len(self._known)} conversations>"

    def of(self, flow: int) -> Talk:
        """Return what is known; it may be added to, and is kept by `learned`."""
        return self._known.get(flow) or self._blank

    def learned(self, flow: int, talk: Talk) -> bool:
        """Keep what was added, if anything; return whether the conversation was found to speak something just now."""
        if talk is self._blank:
            if not talk:
                return False
            if len(self._known) >= _MOST:
                self._known.clear()
                self.speaking.clear()
            self._known[flow] = talk
            self._blank = Talk()
        if talk.speaks and flow not in self.speaking:
            self.speaking[flow] = talk.speaks
            return True
        return False
