"""A monitor that this qmon holds and relays to others, until the monitor or this qmon's wish to hold it ends.

Owns the relay, the next one where it fails, and the order of a hand-over. Must never give up the monitor because
relaying fails: those who were served join again through the next relay.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from qmon.monitor.relay import OnReply, Relay
from qmon.text import described

if TYPE_CHECKING:
    from qmon.monitor.connection import Connection
    from qmon.monitor.sharing import Lock

# Between a relay that failed and the next.
PAUSE_S = 1.0


class Holding:
    """One monitor held; `until_closed` does the work. `on_failure` hears why a relay failed."""

    def __init__(
        self, connection: Connection, lock: Lock, *, on_reply: OnReply, on_failure: Callable[[str], None]
    ) -> None:
        self._connection = connection
        self._lock = lock
        self._on_reply = on_reply
        self._on_failure = on_failure
        self._ending = False
        self._relay = self._new_relay()

    def __repr__(self) -> str:
        return f"<Holding {self._connection} {self._relay or 'without a relay'}>"

    def tell(self, event: Mapping[str, object]) -> None:
        """Pass an event on to every client; never blocks."""
        if self._relay is not None:
            self._relay.tell(event)

    async def until_closed(self, on_ending: Callable[[], None]) -> str:
        """Relay until the connection has ended, and return why; cancelled, leave the monitor to the next qmon.

        `on_ending` is called first, for nothing may be sent any more.
        """
        reason = None
        async with asyncio.TaskGroup() as tasks:
            relaying = tasks.create_task(self._relay_on(), name="relay a monitor")
            try:
                reason = await self._connection.wait_closed()
                if self._relay is not None:
                    self._relay.tell_lost(reason)
            finally:
                self._ending = True
                on_ending()
                await self._hand_over()
                relaying.cancel()
        return reason

    async def _hand_over(self) -> None:
        # In this order: the next holder finds the lock free and the monitor without a client.
        try:
            if self._relay is not None:
                await self._relay.drain()
            await self._connection.close()
        finally:
            self._lock.release()
        relay, self._relay = self._relay, None
        if relay is not None:
            await relay.hang_up()

    async def _relay_on(self) -> None:
        while self._relay is not None:
            try:
                await self._relay.serve()
            except Exception as problem:  # noqa: BLE001 (a fault of ours, which is told)
                self._on_failure(described(problem))
            if self._ending:
                return
            self._relay.close()
            self._relay = None
            await asyncio.sleep(PAUSE_S)
            self._relay = self._new_relay()

    def _new_relay(self) -> Relay | None:
        try:
            listener = self._lock.listen()
        except OSError:  # No room for a socket, for one: the monitor is held all the same, for us alone.
            return None
        return Relay(self._connection, listener, on_reply=self._on_reply)
